"""Views for embedding without augmentation: centre crops, and whole images by their longer side.

All of them resample with Pillow's antialiased Lanczos filter, as both published systems do.
"""

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ram_cli.views.loading import ImageLoader

if TYPE_CHECKING:
    from ram_cli.datasets import ImageSet

MARGIN = 8 / 7
"""Shorter side before the centre crop, as a multiple of the crop."""

DRAFT_GAP = 2.0
"""A JPEG may be decoded at a fraction that is still this many times larger than the target."""


def centre_crop_size(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height, in pixels, that an image is resized to before its centre crop.

    The shorter side becomes `size * 8 / 7`; the other keeps the aspect. Halves round to even.
    """
    factor = (size + size / 7) / min(width, height)
    return round(width * factor), round(height * factor)


def evaluation_view(image: NDArray[np.uint8], size: int) -> Tensor:
    """Resize the shorter side to `size * 8 / 7` and crop the centre (RAML, section 4).

    Args:
        image: uint8 `[H, W, 3]`.
        size: Side of the crop in pixels.

    Returns:
        uint8 `[3, size, size]`.
    """
    height, width = image.shape[:2]
    resized_width, resized_height = centre_crop_size(width, height, size)
    resized = Image.fromarray(image).resize(
        (resized_width, resized_height), Image.Resampling.LANCZOS
    )
    left, top = round((resized_width - size) / 2), round((resized_height - size) / 2)
    return _to_tensor(resized.crop((left, top, left + size, top + size)))


def rescaled_view(
    image: NDArray[np.uint8], size: int, side: Literal["longer", "shorter"] = "longer"
) -> Tensor:
    """Resize so that the longer or shorter side has `size` pixels, also upwards.

    Args:
        image: uint8 `[H, W, 3]`.
        size: Length of that side in pixels.
        side: Which side.

    Returns:
        uint8 `[3, h, w]`.
    """
    height, width = image.shape[:2]
    factor = size / (max(width, height) if side == "longer" else min(width, height))
    target = max(1, round(width * factor)), max(1, round(height * factor))
    return _to_tensor(Image.fromarray(image).resize(target, Image.Resampling.LANCZOS))


def landmark_view(image: NDArray[np.uint8], size: int, full_side: int | None = None) -> Tensor:
    """Shrink to a longer side of `size` pixels, as in the landmark benchmarks; never enlarge.

    A query is cropped to its box first and then shrunk by the factor that its whole image would
    be shrunk by, so that gallery and query show an object at the same scale.

    Args:
        image: uint8 `[H, W, 3]`, the whole image or the crop.
        size: Longer side of the whole image in pixels.
        full_side: Longer side of the whole image that `image` was cropped from, in pixels.

    Returns:
        uint8 `[3, h, w]`.
    """
    longer = max(image.shape[:2])
    target = size if full_side is None else size * longer / full_side
    shrunk = Image.fromarray(image)
    shrunk.thumbnail((target, target), Image.Resampling.LANCZOS)
    return _to_tensor(shrunk)


class EvaluationViews(Dataset[Tensor]):
    """Centre crops of an image set, in its order; item `i` is uint8 `[3, size, size]`.

    Args:
        images: The images; a box is cropped first.
        size: Side of the crops in pixels.
    """

    def __init__(self, images: "ImageSet", size: int) -> None:
        self.size = size
        self._loader = ImageLoader(images, min_side=round(size * MARGIN * DRAFT_GAP))

    def __len__(self) -> int:
        return len(self._loader)

    def __getitem__(self, index: int) -> Tensor:
        """View `index`; raises UnreadableImageError."""
        return evaluation_view(self._loader.load(index), self.size)


class LandmarkViews(Dataset[Tensor]):
    """Whole images or box crops by the longer side; item `i` is uint8 `[3, h, w]`.

    Args:
        images: The images; where there is a box, the item is a query: cropped, then scaled.
        size: Longer side of whole images in pixels.
    """

    def __init__(self, images: "ImageSet", size: int) -> None:
        self.size = size
        self._loader = ImageLoader(images)

    def __len__(self) -> int:
        return len(self._loader)

    def __getitem__(self, index: int) -> Tensor:
        """View `index`; raises UnreadableImageError."""
        pixels, full_size = self._loader.load_with_size(index)
        return landmark_view(pixels, self.size, max(full_size))


def _to_tensor(image: Image.Image) -> Tensor:
    """uint8 `[3, h, w]`, contiguous."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
