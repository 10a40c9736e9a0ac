"""Whole images for training, in batches of one shape.

An image keeps its content and, nearly, its aspect; so that a batch can be one tensor, the aspect is
rounded to the nearest of a few. Those of cameras are among them, and are met exactly.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ram_cli.views.decode import stored_size
from ram_cli.views.evaluation import DRAFT_GAP
from ram_cli.views.loading import ImageLoader
from ram_cli.views.randomness import Stream, generator
from ram_cli.views.resize import resize_to
from ram_cli.views.spec import ViewKey

if TYPE_CHECKING:
    from ram_cli.datasets import ImageSet

Fit = Literal["crop", "whole"]
"""What of an image a network sees: its centre, as a square; or all of it, by its longer side."""

ASPECTS: Final = (1, 10 / 9, 5 / 4, 4 / 3, 3 / 2, 5 / 3, 16 / 9, 2, 9 / 4, 5 / 2, 14 / 5, 16 / 5, 4)
"""Longer over shorter side. An image is stretched along one side by less than 6.1 % up to 5 : 2,
and by less than 12 % up to 4 : 1."""


def bucket_shape(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width, in pixels, that an image gets: the longer side `size`, a rounded aspect.

    An image narrower than the narrowest of `ASPECTS` by more than half a step keeps its own.
    """
    aspect = max(height, width) / min(height, width)
    gaps = np.abs(np.log(np.divide(ASPECTS, aspect)))
    if gaps.min() <= np.log(1.25) / 2:
        aspect = float(ASPECTS[int(gaps.argmin())])
    shorter = max(1, round(size / aspect))
    return (size, shorter) if height > width else (shorter, size)


def shown_sizes(images: "ImageSet") -> NDArray[np.int64]:
    """Height and width in pixels of what is shown of every image, `[N, 2]`, at least 1.

    They tell images of one shape apart from others; what is known only of decoded images, such as
    the turn of a PNG, is left out.

    Raises:
        UnreadableImageError: The head of a file cannot be read.
    """
    if images.boxes is not None:
        sides = images.boxes[:, [3, 2]] - images.boxes[:, [1, 0]]
        return np.maximum(sides.round().astype(np.int64), 1)
    with ThreadPoolExecutor(8) as threads:
        sizes = list(threads.map(stored_size, map(images.path, range(len(images)))))
    return np.array(sizes, dtype=np.int64).reshape(-1, 2)


def exact_batches(images: "ImageSet", size: int, batch_size: int) -> list[list[int]]:
    """Batches of images that have one shape once their longer side has `size` pixels.

    Args:
        images: The images.
        size: Longer side in pixels.
        batch_size: Images in a batch of 224 x 224 pixels each; of larger ones so many fewer.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, (height, width) in enumerate(shown_sizes(images).tolist()):
        shrink = min(1.0, size / max(height, width))
        shape = max(1, round(height * shrink)), max(1, round(width * shrink))
        groups.setdefault(shape, []).append(index)
    batches = []
    for (height, width), group in groups.items():
        most = batch_of(height, width, batch_size)
        batches += [group[start : start + most] for start in range(0, len(group), most)]
    return batches


def batch_of(height: int, width: int, batch_size: int) -> int:
    """Images of a shape with the pixels of `batch_size` images of 224 x 224; at least 1."""
    return max(1, int(batch_size * 224 * 224 / (height * width)))


def bucket_shapes(images: "ImageSet", size: int) -> NDArray[np.int64]:
    """`bucket_shape` of every image of a set, `[N, 2]`, from the headers of the files.

    Raises:
        UnreadableImageError: A header cannot be read.
    """
    sizes = shown_sizes(images)
    shapes = [bucket_shape(height, width, size) for height, width in sizes.tolist()]
    return np.array(shapes, dtype=np.int64).reshape(-1, 2)


class WholeViews(Dataset[Tensor]):
    """Whole images in bucket shapes, without augmentation; item `i` is uint8 `[3, h, w]`.

    Args:
        images: The images; a box is cropped first.
        size: Longer side in pixels.
    """

    def __init__(self, images: "ImageSet", size: int) -> None:
        self.size = size
        self._loader = ImageLoader(images, min_side=round(size * DRAFT_GAP))

    def __len__(self) -> int:
        return len(self._loader)

    def __getitem__(self, index: int) -> Tensor:
        """View `index`; raises UnreadableImageError."""
        pixels = self._loader.load(index)
        height, width = pixels.shape[:2]
        return resize_to(pixels, bucket_shape(height, width, self.size))


def shape_batches(
    keys: Sequence[ViewKey],
    shapes: NDArray[np.int64] | None,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
) -> list[list[ViewKey]]:
    """Batches of keys whose images have one shape, in random order.

    Args:
        keys: The items of an epoch.
        shapes: Height and width of each image of the set `[N, 2]`; None where all are alike, and
            the keys stay in their order.
        batch_size: Keys in a batch; the last batch of a shape may be smaller.
        seed: Seed of the run.
        epoch: Counted from 0.
    """
    groups: dict[tuple[int, ...], list[ViewKey]] = {}
    for key in keys:
        shape = () if shapes is None else tuple(shapes[key.image].tolist())
        groups.setdefault(shape, []).append(key)
    batches = [
        group[start : start + batch_size]
        for group in groups.values()
        for start in range(0, len(group), batch_size)
    ]
    if shapes is None:
        return batches
    order = generator(Stream.SHAPE_ORDER, seed, epoch).permutation(len(batches))
    return [batches[place] for place in order]


def stack_by_shape(views: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Stack views uint8 `[3, h, w]` of equal shape.

    Returns:
        The places int64 `[b]` of the views of each shape, in the order of first appearance, and
        the stacked views `[b, 3, h, w]` of each shape.
    """
    places: dict[tuple[int, ...], list[int]] = {}
    for place, view in enumerate(views):
        places.setdefault(tuple(view.shape), []).append(place)
    return (
        [torch.tensor(chosen) for chosen in places.values()],
        [torch.stack([views[place] for place in chosen]) for chosen in places.values()],
    )
