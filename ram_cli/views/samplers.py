"""Epoch plans: which images an epoch shows, in which batches.

A plan is a pure function of (seed, epoch), computed at once by every process; a run resumes inside
an epoch by slicing the list of batches.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ram_cli.views.randomness import Stream, generator
from ram_cli.views.spec import ViewKey


@dataclass(frozen=True, slots=True)
class ClassPlan:
    """The batches of an epoch of class-balanced training.

    Attributes:
        batches: Keys; the images of one class follow each other, and no batch holds a class twice.
        excluded_classes: Classes with a single image, which can form no positive pair.
        repeated_classes: Classes that show an image more than once per batch, having too few.
    """

    batches: list[list[ViewKey]]
    excluded_classes: int
    repeated_classes: int


def instance_plan(
    count: int,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    images_per_epoch: int | None = None,
    partners: bool = True,
) -> list[list[ViewKey]]:
    """Random images without replacement, each with a random partner other than itself.

    Args:
        count: Images to draw from; a set of one has no partner to give.
        batch_size: Images per batch; the last batch may be smaller.
        seed: Seed of the run.
        epoch: Counted from 0.
        images_per_epoch: Images to show, at most; None for all.
        partners: Whether to draw partners for mixup.

    Raises:
        ValueError: A size is not positive.
    """
    shown = count if images_per_epoch is None else min(count, images_per_epoch)
    if shown < 1 or batch_size < 1:
        raise ValueError(f"no plan for {shown} images in batches of {batch_size}")
    random = generator(Stream.INSTANCE_PLAN, seed, epoch)
    images = random.permutation(count)[:shown]
    chosen = np.full(shown, -1)
    if partners and count > 1:
        chosen = (images + random.integers(1, count, shown)) % count
    return _batches(images, chosen, epoch, batch_size)


def class_plan(
    labels: NDArray[np.int64],
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    images_per_class: int = 4,
    images_per_epoch: int | None = None,
) -> ClassPlan:
    """Batches of several images of each of several classes (RAML, section 4, symmetric training).

    Every class shuffles its images and cuts them into groups of `M = images_per_class`, so that no
    image is shown twice; a remainder waits for another epoch. Only a class with fewer than `M`
    images fills its one group by repeating some, none of them more than once more than another. A
    batch takes groups of different classes, drawn in proportion to the groups they have left; the
    epoch ends when too few classes are left for a batch.

    Args:
        labels: Class of each image, `[N]`.
        batch_size: Images per batch, a multiple of `M`. With fewer classes than groups in a batch,
            batches have one group of each.
        seed: Seed of the run.
        epoch: Counted from 0.
        images_per_class: `M`, at least 2.
        images_per_epoch: Images to show, at most, but never less than a batch; None for all.

    Raises:
        ValueError: The sizes do not fit together, or no class has two images.
    """
    size = images_per_class
    if size < 2 or batch_size < size or batch_size % size:
        raise ValueError(f"batches of {batch_size} images do not hold groups of {size}")
    random = generator(Stream.CLASS_PLAN, seed, epoch)
    by_class = np.argsort(labels, kind="stable")
    members = np.split(by_class, np.flatnonzero(np.diff(labels[by_class])) + 1)
    usable = [images for images in members if len(images) > 1]
    if not usable:
        raise ValueError("no class has two images")
    groups = [_groups(random.permutation(images), size) for images in usable]
    per_batch = min(batch_size // size, len(usable))
    most = None if images_per_epoch is None else max(1, images_per_epoch // (per_batch * size))
    chosen = _draw_batches([len(of_class) for of_class in groups], per_batch, most, random)
    images = np.stack([groups[index].pop() for batch in chosen for index in batch]).ravel()
    return ClassPlan(
        _batches(images, np.full(len(images), -1), epoch, per_batch * size),
        excluded_classes=len(members) - len(usable),
        repeated_classes=sum(len(images) < size for images in usable),
    )


def _groups(images: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Cut shuffled images into groups; fewer than one group's worth are repeated in turn."""
    if len(images) < size:
        return [np.resize(images, size)]
    return list(images[: len(images) // size * size].reshape(-1, size))


def _draw_batches(
    counts: list[int], per_batch: int, most: int | None, random: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Class indices `[per_batch]` of at most `most` batches, while enough classes have a group."""
    left = np.array(counts, dtype=np.float64)
    batches: list[NDArray[np.int64]] = []
    while np.count_nonzero(left) >= per_batch and len(batches) != most:
        # Weighted drawing without replacement: the largest log(u) / weight (Efraimidis, Spirakis).
        keys = np.full(len(left), -np.inf)
        np.divide(np.log(random.random(len(left))), left, out=keys, where=left > 0)
        chosen = np.argsort(-keys, kind="stable")[:per_batch]
        left[chosen] -= 1
        batches.append(chosen)
    return batches


def _batches(
    images: NDArray[np.int64], partners: NDArray[np.int64], epoch: int, batch_size: int
) -> list[list[ViewKey]]:
    keys = [
        ViewKey(image, epoch, position, partner)
        for position, (image, partner) in enumerate(
            zip(images.tolist(), partners.tolist(), strict=True)
        )
    ]
    return [keys[start : start + batch_size] for start in range(0, len(keys), batch_size)]
