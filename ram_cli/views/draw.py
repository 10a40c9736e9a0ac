"""The random draw of one training item: where to crop, how to recolour, how much to mix.

A draw is made once and applied to four images: student and teacher view, each of the anchor image
and of its mixup partner. Boxes are therefore relative to the image, and colours are factors.
"""

import math
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ram_cli.views.randomness import Stream, generator
from ram_cli.views.spec import ViewKey

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
"""Columns of `Draws.factors`, and the values in `Draws.order`."""

CROP_SCALE: Final = (0.08, 1.0)
CROP_RATIO: Final = (3 / 4, 4 / 3)
JITTER: Final = (0.4, 0.4, 0.4, 0.1)
_TRIES = 10
# Below half a grey level an image no longer shows in a mixture: it is left out altogether.
_INVISIBLE = 0.5 / 255

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels, the last two exclusive."""


@dataclass(frozen=True, slots=True)
class Draws:
    """`K` draws for one item.

    Attributes:
        boxes: Left, top, right, bottom of the crops as fractions of width and height, `[K, 4]`.
        flips: Whether to mirror left and right, `[K]`.
        factors: Brightness, contrast and saturation as multipliers, hue as turns of the colour
            circle (-0.5..0.5), `[K, 4]`.
        order: The four colour operations in the order in which they run, `[K, 4]`.
        weights: Mixup weight λ of the anchor image, `[K]`; the partner has 1 - λ.
    """

    boxes: NDArray[np.float64]
    flips: NDArray[np.bool_]
    factors: NDArray[np.float32]
    order: NDArray[np.int64]
    weights: NDArray[np.float32]


def draw_views(
    key: ViewKey,
    seed: int,
    views: int,
    height: int,
    width: int,
    *,
    mixup_alpha: float = 0.0,
) -> Draws:
    """Draw the views of one item (RAML, section 3.3; mixup: arXiv 1710.09412).

    Args:
        key: The item; randomness depends on its epoch and position only.
        seed: Seed of the run.
        views: `K`.
        height: Height of the anchor image in pixels; with `width` it bounds the crop's aspect.
        width: Width of the anchor image in pixels.
        mixup_alpha: Both parameters of the Beta distribution of λ; 0 for no mixup. λ is set to 0
            or 1 where the other image would contribute less than half a grey level.
    """
    random = generator(Stream.DRAW, seed, key.epoch, key.position)
    boxes = _crop_boxes(random.random((views, _TRIES, 4)), height, width)
    flips = random.random(views) < 0.5
    factors = _factors(random.random((views, 4)))
    order = np.argsort(random.random((views, 4)), axis=1)
    weights = np.ones(views, dtype=np.float32)
    if mixup_alpha > 0 and key.partner >= 0:
        weights = random.beta(mixup_alpha, mixup_alpha, views).astype(np.float32)
        weights[weights < _INVISIBLE] = 0
        weights[weights > 1 - _INVISIBLE] = 1
    return Draws(boxes, flips, factors, order, weights)


def pixel_box(relative: NDArray[np.float64], height: int, width: int) -> Box:
    """Whole pixels of a relative box `[4]` in an image of that size, at least one a side."""
    x1, y1, x2, y2 = relative.tolist()
    left = min(round(x1 * width), width - 1)
    top = min(round(y1 * height), height - 1)
    return left, top, max(round(x2 * width), left + 1), max(round(y2 * height), top + 1)


def _crop_boxes(uniform: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Random resized crops as relative boxes `[K, 4]`, from numbers in 0..1 `[K, tries, 4]`.

    Area and log-aspect are uniform; the first try that fits counts, else the largest centred crop
    of an allowed aspect.
    """
    area, aspect, across, down = np.moveaxis(uniform, 2, 0)  # each [K, tries]
    area = height * width * (CROP_SCALE[0] + area * (CROP_SCALE[1] - CROP_SCALE[0]))
    low, high = np.log(CROP_RATIO)
    aspect = np.exp(low + aspect * (high - low))
    crop_width, crop_height = np.round(np.sqrt(area * aspect)), np.round(np.sqrt(area / aspect))
    fits = (crop_width > 0) & (crop_width <= width) & (crop_height > 0) & (crop_height <= height)
    left = np.floor(across * (width - crop_width + 1))
    top = np.floor(down * (height - crop_height + 1))
    boxes = np.stack((left, top, left + crop_width, top + crop_height), axis=2)
    first = np.take_along_axis(boxes, fits.argmax(axis=1)[:, None, None], axis=1)[:, 0]  # [K, 4]
    chosen = np.where(fits.any(axis=1)[:, None], first, _centre_box(height, width))
    relative: NDArray[np.float64] = chosen / (width, height, width, height)
    return relative


def _centre_box(height: int, width: int) -> NDArray[np.float64]:
    """Largest centred crop of an allowed aspect, in pixels, `[4]`."""
    crop_width = min(width, round(height * CROP_RATIO[1]))
    crop_height = min(height, round(width / CROP_RATIO[0]))
    left, top = (width - crop_width) // 2, (height - crop_height) // 2
    return np.array((left, top, left + crop_width, top + crop_height), dtype=np.float64)


def _factors(uniform: NDArray[np.float64]) -> NDArray[np.float32]:
    """Colour factors `[K, 4]` from numbers in 0..1 `[K, 4]`."""
    centre = np.array((1, 1, 1, 0))
    factors: NDArray[np.float64] = centre + (2 * uniform - 1) * JITTER
    return factors.astype(np.float32)


def smallest_crop(size: int) -> int:
    """Shorter side in pixels from which even the smallest crop is no smaller than `size`."""
    return math.ceil(size / math.sqrt(CROP_SCALE[0] * CROP_RATIO[0]))
