"""Pairs of an anchor and an image that shows the same: what an epoch of training on tuples asks.

Letters: N images, Q pairs of an epoch, P listed pairs.
"""

import numpy as np
from numpy.typing import NDArray

from ram_cli.views.randomness import Stream, generator

Indices = NDArray[np.int64]


def label_pairs(labels: Indices, count: int, *, seed: int, epoch: int) -> Indices:
    """Random images, no image twice, each with a random other image of its class.

    Args:
        labels: Class of each image `[N]`; images alone in their class are passed over.
        count: Pairs to draw, at most.
        seed: Seed of the run.
        epoch: Counted from 0.

    Returns:
        Anchor and positive, `[Q, 2]`.

    Raises:
        ValueError: No class has two images.
    """
    by_class = np.argsort(labels, kind="stable")
    _, starts, sizes = np.unique(labels[by_class], return_index=True, return_counts=True)
    start, size = np.repeat(starts, sizes), np.repeat(sizes, sizes)  # of each place in by_class
    usable = np.flatnonzero(size > 1)
    if len(usable) == 0:
        raise ValueError("no class has two images")
    random = generator(Stream.PAIR_PLAN, seed, epoch)
    places = random.permutation(usable)[:count]
    start, size = start[places], size[places]
    partners = start + (places - start + random.integers(1, size)) % size
    return np.stack([by_class[places], by_class[partners]], axis=1)


def listed_pairs(pairs: Indices, count: int, *, seed: int, epoch: int) -> Indices:
    """Random rows of a list of pairs `[P, 2]`, no row twice: `[Q, 2]`, at most `count`."""
    return pairs[generator(Stream.PAIR_PLAN, seed, epoch).permutation(len(pairs))[:count]]


def pair_count(labels: Indices) -> int:
    """Pairs that `label_pairs` can draw: images that are not alone in their class."""
    _, sizes = np.unique(labels, return_counts=True)
    return int(sizes[sizes > 1].sum())
