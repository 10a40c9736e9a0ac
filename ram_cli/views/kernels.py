"""Colour jitter and mixup on one CPU core, fused: two uint8 crops in, one uint8 view out.

Every colour operation runs over one row of float32 planes that stays in the nearest cache, written
so that the compiler vectorises it; that is also why a pixel comes in four bytes. Values are 0..255;
each operation clamps to that range and nothing is rounded before the end, where halves go up.
Import this module only where it is needed: it brings in numba.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ram_cli.views.draw import BRIGHTNESS, CONTRAST, SATURATION

_ZERO: Final = np.float32(0)
_HALF: Final = np.float32(0.5)
_ONE: Final = np.float32(1)
_TWO: Final = np.float32(2)
_THREE: Final = np.float32(3)
_FOUR: Final = np.float32(4)
_SIX: Final = np.float32(6)
_TOP: Final = np.float32(255)
_BYTE: Final = np.int32(255)
_EIGHT: Final = np.int32(8)
_SIXTEEN: Final = np.int32(16)
_RED: Final = np.float32(0.2989)  # ITU-R 601 luma, as torchvision rounds it
_GREEN: Final = np.float32(0.587)
_BLUE: Final = np.float32(0.114)

Compiled = Callable[..., Any]
Pixels = NDArray[np.uint8]
Packed = NDArray[np.uint32]
Planes = NDArray[np.float32]
Order = NDArray[np.int64]


def _compiled(function: Compiled, cache: bool = False) -> Compiled:
    # No thread is ever started, so that a forked worker may call the kernels.
    compiled: Compiled = njit(cache=cache, nogil=True, fastmath=True, error_model="numpy")(function)
    return compiled


@_compiled
def _load(packed: Packed, planes: Planes) -> None:
    """Unpack a row uint32 `[W]` into float32 planes `[3, W]`."""
    red, green, blue = planes[0], planes[1], planes[2]
    for x in range(packed.shape[0]):
        pixel = np.int32(packed[x])
        red[x] = np.float32(pixel & _BYTE)
        green[x] = np.float32((pixel >> _EIGHT) & _BYTE)
        blue[x] = np.float32((pixel >> _SIXTEEN) & _BYTE)


@_compiled
def _scale(plane: Planes, factor: np.float32, offset: np.float32) -> None:
    for x in range(plane.shape[0]):
        plane[x] = max(_ZERO, min(_TOP, plane[x] * factor + offset))


@_compiled
def _saturate(planes: Planes, factor: np.float32) -> None:
    red, green, blue = planes[0], planes[1], planes[2]
    rest = _ONE - factor
    for x in range(red.shape[0]):
        grey = rest * (_RED * red[x] + _GREEN * green[x] + _BLUE * blue[x])
        red[x] = max(_ZERO, min(_TOP, red[x] * factor + grey))
        green[x] = max(_ZERO, min(_TOP, green[x] * factor + grey))
        blue[x] = max(_ZERO, min(_TOP, blue[x] * factor + grey))


@_compiled
def _turn_hue(planes: Planes, turns: np.float32) -> None:
    """Rotate the hue: to HSV and back, with selections in place of branches.

    Hue is kept multiplied by six times the chroma, so that nothing is divided.
    """
    reds, greens, blues = planes[0], planes[1], planes[2]
    shift = turns * _SIX
    for x in range(reds.shape[0]):
        red, green, blue = reds[x], greens[x], blues[x]
        top, bottom = max(red, max(green, blue)), min(red, min(green, blue))
        chroma = top - bottom
        is_red, is_green = top == red, top == green
        difference = green - blue if is_red else (blue - red if is_green else red - green)
        sector = _ZERO if is_red else (_TWO if is_green else _FOUR)
        circle, double = _SIX * chroma, _TWO * chroma
        hue = difference + chroma * (sector + shift)
        hue = hue + circle if hue < _ZERO else hue
        hue = hue - circle if hue >= circle else hue
        reds[x] = bottom + max(_ZERO, min(chroma, abs(hue - _THREE * chroma) - chroma))
        greens[x] = bottom + max(_ZERO, min(chroma, double - abs(hue - double)))
        blues[x] = bottom + max(_ZERO, min(chroma, double - abs(hue - _FOUR * chroma)))


@_compiled
def _grey_sum(planes: Planes) -> np.float32:
    red, green, blue = planes[0], planes[1], planes[2]
    total = _ZERO
    for x in range(red.shape[0]):
        total += _RED * red[x] + _GREEN * green[x] + _BLUE * blue[x]
    return total


@_compiled
def _recolour(planes: Planes, order: Order, factors: Planes, steps: int, mean: np.float32) -> None:
    """Run the first `steps` operations on one row `[3, W]`, in place."""
    for step in range(steps):
        operation = order[step]
        factor = factors[operation]
        if operation == BRIGHTNESS:
            for channel in range(3):
                _scale(planes[channel], factor, _ZERO)
        elif operation == CONTRAST:
            for channel in range(3):
                _scale(planes[channel], factor, (_ONE - factor) * mean)
        elif operation == SATURATION:
            _saturate(planes, factor)
        else:
            _turn_hue(planes, factor)


@_compiled
def _contrast_mean(packed: Packed, planes: Planes, order: Order, factors: Planes) -> np.float32:
    """Mean grey level of an image as the contrast operation will meet it."""
    steps = 0
    while order[steps] != CONTRAST:
        steps += 1
    total = 0.0
    for y in range(packed.shape[0]):
        _load(packed[y], planes)
        _recolour(planes, order, factors, steps, _ZERO)
        total += np.float64(_grey_sum(planes))
    return np.float32(total / (packed.shape[0] * packed.shape[1]))


@_compiled
def _store(plane: Planes, flip: bool, row: Pixels) -> None:
    width = plane.shape[0]
    if flip:
        for x in range(width):
            row[width - 1 - x] = np.uint8(np.int32(plane[x] + _HALF))
    else:
        for x in range(width):
            row[x] = np.uint8(np.int32(plane[x] + _HALF))


@_compiled
def _mix(anchor: Planes, partner: Planes, weight: np.float32) -> None:
    for x in range(anchor.shape[0]):
        anchor[x] = weight * anchor[x] + (_ONE - weight) * partner[x]


def _jitter_mix(
    anchor: Packed,
    partner: Packed,
    weight: np.float32,
    order: Order,
    factors: Planes,
    flip: bool,
    view: Pixels,
) -> None:
    height, width = view.shape[1:]
    planes, others = np.empty((3, width), np.float32), np.empty((3, width), np.float32)
    use_anchor, use_partner = weight > _ZERO, weight < _ONE
    anchor_mean = _contrast_mean(anchor, planes, order, factors) if use_anchor else _ZERO
    partner_mean = _contrast_mean(partner, others, order, factors) if use_partner else _ZERO
    for y in range(height):
        if use_anchor:
            _load(anchor[y], planes)
            _recolour(planes, order, factors, 4, anchor_mean)
        if use_partner:
            _load(partner[y], others)
            _recolour(others, order, factors, 4, partner_mean)
        for channel in range(3):
            if use_anchor and use_partner:
                _mix(planes[channel], others[channel], weight)
            _store(planes[channel] if use_anchor else others[channel], flip, view[channel, y])


def _standardise(views: Pixels, factors: Planes, offsets: Planes, result: Planes) -> None:
    for n in range(views.shape[0]):
        for y in range(views.shape[2]):
            red, green, blue = views[n, 0, y], views[n, 1, y], views[n, 2, y]
            row = result[n, y]
            for x in range(views.shape[3]):
                row[x, 0] = red[x] * factors[0] - offsets[0]
                row[x, 1] = green[x] * factors[1] - offsets[1]
                row[x, 2] = blue[x] * factors[2] - offsets[2]


def _cached_on_disk(function: Compiled, *arguments: Any) -> Compiled:
    """Compile, or load what an earlier process compiled; without a cache where none can be kept."""
    try:
        compiled = _compiled(function, cache=True)
        compiled(*arguments)
    except (RuntimeError, OSError):  # a read-only install without a home folder; a full disk
        compiled = _compiled(function)
        compiled(*arguments)
    return compiled


_jitter_mix_kernel: Final = _cached_on_disk(
    _jitter_mix,
    np.zeros((1, 1), np.uint32),
    np.zeros((1, 1), np.uint32),
    _HALF,
    np.arange(4),
    np.ones(4, np.float32),
    False,
    np.zeros((3, 1, 1), np.uint8),
)
_standardise_kernel: Final = _cached_on_disk(
    _standardise,
    np.zeros((1, 3, 1, 1), np.uint8),
    np.ones(3, np.float32),
    np.ones(3, np.float32),
    np.zeros((1, 1, 1, 3), np.float32),
)


def jitter_mix(
    anchor: Pixels,
    partner: Pixels,
    weight: np.float32,
    order: Order,
    factors: Planes,
    flip: bool,
    view: Pixels,
) -> None:
    """Recolour two crops alike, mix them, mirror the result and round it into `view`.

    Args:
        anchor: RGB and an unused byte, uint8 `[H, W, 4]`, C-contiguous; any shape where `weight`
            is 0.
        partner: As `anchor`; any shape where `weight` is 1.
        weight: λ of the anchor.
        order: Colour operations in the order in which they run, `[4]`.
        factors: Their factors, by operation, `[4]`.
        flip: Whether to mirror left and right.
        view: Result, uint8 `[3, H, W]`, C-contiguous.
    """
    _jitter_mix_kernel(
        _pack(anchor), _pack(partner), np.float32(weight), order, factors, bool(flip), view
    )


def standardise(views: Pixels, factors: Planes, offsets: Planes) -> Planes:
    """`views * factors - offsets` per channel, in channels_last layout, in one pass over memory.

    Args:
        views: uint8 `[N, 3, H, W]`, C-contiguous.
        factors: float32 `[3]`.
        offsets: float32 `[3]`.

    Returns:
        float32 `[N, H, W, 3]`.
    """
    count, _, height, width = views.shape
    result = np.empty((count, height, width, 3), np.float32)
    _standardise_kernel(views, factors, offsets, result)
    return result


def _pack(pixels: Pixels) -> Packed:
    """One integer per pixel, `[H, W]`, red in the lowest byte, without a copy."""
    return pixels.view(np.dtype("<u4"))[:, :, 0]
