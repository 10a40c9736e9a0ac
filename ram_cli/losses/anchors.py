"""Anchors of an embedding space: centres of a product quantiser, found by k-means.

Everything is computed on the CPU from the seed, so the same vectors give the same anchors on every
device and in every restart.

Letters: N vectors, D their dimension, P subspaces of D / P dimensions each, A anchors per subspace.
"""

import numpy as np
import torch
from torch import Tensor

from ram_cli.errors import ConfigError

PUBLISHED_SUBSPACE = 64
"""Dimensions of a subspace: 2,048 dimensions were cut into 32."""
ROUNDS = 10
VECTORS_PER_ANCHOR = 1000
"""Vectors per anchor that are clustered, at most; more hardly move the centres."""
BLOCK_DISTANCES = 4_000_000
"""Most distances held at once."""


def subspaces_for(dimension: int, wanted: int | None = None) -> int:
    """Number P of subspaces: as asked for, else as many of 64 dimensions as divide D evenly.

    Raises:
        ConfigError: D cannot be cut into so many equal parts.
    """
    if wanted is None:
        most = max(1, dimension // PUBLISHED_SUBSPACE)
        return next(count for count in range(most, 0, -1) if dimension % count == 0)
    if dimension % wanted:
        fitting = [str(n) for n in range(1, dimension + 1) if dimension % n == 0]
        raise ConfigError(
            f"subspaces: {dimension} dimensions cannot be cut into {wanted} equal parts. "
            f"Choose one of {', '.join(fitting)}."
        )
    return wanted


def product_anchors(
    vectors: Tensor, anchors: int = 256, subspaces: int | None = None, *, seed: int = 0
) -> Tensor:
    """Anchors of every subspace, each of unit length.

    Wu et al., arXiv 2403.00648: vectors are cut into P parts, and each part is clustered.

    Args:
        vectors: `[N, D]` teacher's vectors of the training images.
        anchors: A; cut to N.
        subspaces: P; None for subspaces of 64 dimensions, as published.
        seed: Start of every random draw.

    Returns:
        `[P, A, D / P]`, float32, on the device of `vectors`.

    Raises:
        ConfigError: D cannot be cut into so many equal parts.
    """
    parts = subspaces_for(vectors.shape[1], subspaces)
    cut = vectors.detach().to("cpu", torch.float32).reshape(len(vectors), parts, -1)
    # [N, P, D / P] parts
    found = [
        k_means(cut[:, part].contiguous(), min(anchors, len(vectors)), seed=(seed, part))
        for part in range(parts)
    ]
    centres = torch.nn.functional.normalize(torch.stack(found), dim=-1)
    return centres.to(vectors.device)


def k_means(
    vectors: Tensor, count: int, *, seed: int | tuple[int, ...] = 0, rounds: int = ROUNDS
) -> Tensor:
    """Centres of `count` clusters by Lloyd's rounds from a k-means++ start.

    A cluster that runs empty takes the vector farthest from its centre.

    Args:
        vectors: `[N, d]`, float32, on the CPU; N ≥ `count`.
        count: Clusters.
        seed: Of the start, and of the sample where there are very many vectors.
        rounds: Rounds at most; it ends before where nothing changes.

    Returns:
        `[count, d]`.
    """
    random = np.random.default_rng(seed)
    most = count * VECTORS_PER_ANCHOR
    if len(vectors) > most:
        chosen = np.sort(random.choice(len(vectors), most, replace=False))
        vectors = vectors[torch.from_numpy(chosen)]
    centres = _spread_start(vectors, count, random)
    before = torch.full((len(vectors),), -1)
    for _ in range(rounds):
        nearest, distances = _assign(vectors, centres)
        if torch.equal(nearest, before):
            break
        before = nearest
        centres = _means(vectors, nearest, distances, count)
    return centres


def _spread_start(vectors: Tensor, count: int, random: np.random.Generator) -> Tensor:
    """Vectors to start from, each drawn with a chance ∝ its squared distance to those before."""
    chosen = [int(random.integers(len(vectors)))]
    distances = (vectors - vectors[chosen[0]]).square().sum(dim=1)
    while len(chosen) < count:
        upto = distances.double().cumsum(0).numpy()
        if upto[-1] <= 0:  # as many different vectors as there are, are taken
            chosen += [position for position in range(len(vectors)) if position not in chosen]
            chosen = chosen[:count]
            break
        drawn = int(np.searchsorted(upto, random.random() * upto[-1], side="right"))
        chosen.append(min(drawn, len(vectors) - 1))
        distances = distances.minimum((vectors - vectors[chosen[-1]]).square().sum(dim=1))
    return vectors[torch.tensor(chosen)].clone()


def _assign(vectors: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest centre `[N]` of every vector, and the squared distance to it `[N]`."""
    step = max(1, BLOCK_DISTANCES // len(centres))
    lengths = centres.square().sum(dim=1)
    nearest, distances = [], []
    for block in torch.split(vectors, step):
        best = (lengths - 2 * block @ centres.T).min(dim=1)
        nearest.append(best.indices)
        distances.append(best.values + block.square().sum(dim=1))
    return torch.cat(nearest), torch.cat(distances)


def _means(vectors: Tensor, nearest: Tensor, distances: Tensor, count: int) -> Tensor:
    """Mean of every cluster; empty ones take the farthest vectors instead."""
    sums = torch.zeros(count, vectors.shape[1]).index_add_(0, nearest, vectors)
    sizes = torch.bincount(nearest, minlength=count)
    centres = sums / sizes.clamp(min=1).unsqueeze(1)
    empty = (sizes == 0).nonzero().squeeze(1)
    if len(empty):
        farthest = distances.argsort(descending=True, stable=True)[: len(empty)]
        centres[empty] = vectors[farthest]
    return centres
