"""Coupled views made by the accelerator: cut, resized, recoloured, mixed and normalised by Triton.

The arithmetic is that of the CPU path in float32: bilinear with antialiasing, across and then down,
each rounded to whole grey levels as Pillow does; then the colour operations in the order drawn,
mixup and mirroring. No sum is taken in an order that varies, so that the same batch gives the same
views again.
Import this module only where Triton is: it compiles for GPUs alone.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 1024
"""Pixels that a program works on."""
_PAIRS_AT_ONCE = 128
"""Bounds the crops that are held: some 150 MB for views of 448 pixels."""
COLUMNS = 5
"""Of a row of the table of crops: first byte, bytes of a row of the image, height, width, used."""


@triton.jit
def _crop_resize(pixels, crops, resized, side, block: tl.constexpr):
    """Crop `i` of the table to uint8 `[3, side, side]`; one that is not used is left as it is."""
    crop = tl.program_id(0)
    row = crops + crop * 5
    first = tl.load(row)
    stride = tl.load(row + 1)
    height = tl.load(row + 2).to(tl.int32)
    width = tl.load(row + 3).to(tl.int32)
    used = tl.load(row + 4)
    place = tl.program_id(1) * block + tl.arange(0, block)
    inside = place < side * side
    down = height.to(tl.float32) / side
    across = width.to(tl.float32) / side
    reach_y = tl.maximum(down, 1.0)
    reach_x = tl.maximum(across, 1.0)
    centre_y = ((place // side).to(tl.float32) + 0.5) * down
    centre_x = ((place % side).to(tl.float32) + 0.5) * across
    first_y = tl.maximum((centre_y - reach_y + 0.5).to(tl.int32), 0)
    first_x = tl.maximum((centre_x - reach_x + 0.5).to(tl.int32), 0)
    last_y = tl.minimum((centre_y + reach_y + 0.5).to(tl.int32), height)
    last_x = tl.minimum((centre_x + reach_x + 0.5).to(tl.int32), width)
    taps_y = tl.where(used > 0, (2 * reach_y).to(tl.int32) + 2, 0)
    taps_x = (2 * reach_x).to(tl.int32) + 2
    red = tl.zeros([block], tl.float32)
    green = tl.zeros([block], tl.float32)
    blue = tl.zeros([block], tl.float32)
    whole = tl.zeros([block], tl.float32)
    for tap_y in range(taps_y):
        y = first_y + tap_y
        near = inside & (y < last_y)
        line = pixels + first + y.to(tl.int64) * stride
        row_red = tl.zeros([block], tl.float32)
        row_green = tl.zeros([block], tl.float32)
        row_blue = tl.zeros([block], tl.float32)
        row_whole = tl.zeros([block], tl.float32)
        for tap_x in range(taps_x):
            x = first_x + tap_x
            weight = _triangle(x, centre_x, reach_x, last_x)
            wanted = near & (x < last_x)
            at = line + x * 3
            row_red += weight * tl.load(at, wanted, other=0).to(tl.float32)
            row_green += weight * tl.load(at + 1, wanted, other=0).to(tl.float32)
            row_blue += weight * tl.load(at + 2, wanted, other=0).to(tl.float32)
            row_whole += weight
        weight = _triangle(y, centre_y, reach_y, last_y)
        red += weight * _whole_level(row_red, row_whole)
        green += weight * _whole_level(row_green, row_whole)
        blue += weight * _whole_level(row_blue, row_whole)
        whole += weight
    area = side * side
    target = resized + crop.to(tl.int64) * 3 * area + place
    written = inside & (used > 0)
    tl.store(target, _whole_level(red, whole).to(tl.uint8), written)
    tl.store(target + area, _whole_level(green, whole).to(tl.uint8), written)
    tl.store(target + 2 * area, _whole_level(blue, whole).to(tl.uint8), written)


@triton.jit
def _triangle(place, centre, reach, end):
    """Weight of a source pixel; its sum over the pixels may differ from one."""
    weight = tl.maximum(1 - tl.abs(place.to(tl.float32) + 0.5 - centre) / reach, 0.0)
    return tl.where(place < end, weight, 0.0)


@triton.jit
def _whole_level(total, weight):
    return tl.floor(total / tl.where(weight > 0, weight, 1.0) + 0.5)


@triton.jit
def _grey(red, green, blue):
    return 0.2989 * red + 0.587 * green + 0.114 * blue


@triton.jit
def _clamped(value):
    return tl.minimum(tl.maximum(value, 0.0), 255.0)


@triton.jit
def _recolour(red, green, blue, operation, factor, mean):
    """One colour operation; of number -1, none. `mean` is that of the grey image, for contrast."""
    if operation == 0:  # brightness
        red = _clamped(red * factor)
        green = _clamped(green * factor)
        blue = _clamped(blue * factor)
    if operation == 1:  # contrast
        red = _clamped(mean + factor * (red - mean))
        green = _clamped(mean + factor * (green - mean))
        blue = _clamped(mean + factor * (blue - mean))
    if operation == 2:  # saturation
        grey = _grey(red, green, blue)
        red = _clamped(grey + factor * (red - grey))
        green = _clamped(grey + factor * (green - grey))
        blue = _clamped(grey + factor * (blue - grey))
    if operation == 3:  # hue, in turns of the colour circle
        top = tl.maximum(red, tl.maximum(green, blue))
        bottom = tl.minimum(red, tl.minimum(green, blue))
        chroma = top - bottom
        divisor = tl.where(chroma > 0, chroma, 1.0)
        by_blue = 4 + (red - green) / divisor
        by_green = 2 + (blue - red) / divisor
        by_red = (green - blue) / divisor
        hue = tl.where(top == red, by_red, tl.where(top == green, by_green, by_blue)) + 6 * factor
        hue = hue - 6 * tl.floor(hue / 6)
        red = bottom + chroma * tl.minimum(tl.maximum(tl.abs(hue - 3) - 1, 0.0), 1.0)
        green = bottom + chroma * tl.minimum(tl.maximum(2 - tl.abs(hue - 2), 0.0), 1.0)
        blue = bottom + chroma * tl.minimum(tl.maximum(2 - tl.abs(hue - 4), 0.0), 1.0)
    return red, green, blue


@triton.jit
def _mean_grey(resized, crops, order, factors, means, side, block: tl.constexpr):
    """Mean of the grey image before the contrast is changed, of each crop that is used."""
    crop = tl.program_id(0)
    pair = crop // 2
    area = side * side
    base = resized + crop.to(tl.int64) * 3 * area
    used = tl.load(crops + crop * 5 + 4)
    total = tl.zeros([block], tl.float32)
    for start in range(0, tl.where(used > 0, area, 0), block):
        place = start + tl.arange(0, block)
        inside = place < area
        red = tl.load(base + place, inside, other=0).to(tl.float32)
        green = tl.load(base + area + place, inside, other=0).to(tl.float32)
        blue = tl.load(base + 2 * area + place, inside, other=0).to(tl.float32)
        reached = 0
        for step in range(4):
            operation = tl.load(order + pair * 4 + step).to(tl.int32)
            reached = tl.where(operation == 1, 1, reached)
            factor = tl.load(factors + pair * 4 + operation)
            chosen = tl.where(reached == 1, -1, operation)
            red, green, blue = _recolour(red, green, blue, chosen, factor, 0.0)
        total += tl.where(inside, _grey(red, green, blue), 0.0)
    tl.store(means + crop, tl.sum(total) / area)


@triton.jit
def _recolour_mix(
    resized, crops, order, factors, means, weights, flips, scales, offsets, views, side,
    block: tl.constexpr,
):  # fmt: skip
    """View of pair `i`, normalised, `[side, side, 3]` in memory."""
    pair = tl.program_id(0)
    area = side * side
    place = tl.program_id(1) * block + tl.arange(0, block)
    inside = place < area
    line = place // side
    column = place % side
    mirrored = line * side + side - 1 - column
    source = tl.where(tl.load(flips + pair).to(tl.int32) > 0, mirrored, place)
    weight = tl.load(weights + pair)
    red = tl.zeros([block], tl.float32)
    green = tl.zeros([block], tl.float32)
    blue = tl.zeros([block], tl.float32)
    for slot in range(2):
        crop = pair * 2 + slot
        base = resized + crop.to(tl.int64) * 3 * area + source
        share = tl.where(slot == 0, weight, 1 - weight)
        wanted = inside & (tl.load(crops + crop * 5 + 4) > 0)
        mean = tl.load(means + crop)
        r = tl.load(base, wanted, other=0).to(tl.float32)
        g = tl.load(base + area, wanted, other=0).to(tl.float32)
        b = tl.load(base + 2 * area, wanted, other=0).to(tl.float32)
        for step in range(4):
            operation = tl.load(order + pair * 4 + step).to(tl.int32)
            factor = tl.load(factors + pair * 4 + operation)
            r, g, b = _recolour(r, g, b, operation, factor, mean)
        red += share * r
        green += share * g
        blue += share * b
    target = views + (pair.to(tl.int64) * area + place) * 3
    red = red * tl.load(scales) - tl.load(offsets)
    green = green * tl.load(scales + 1) - tl.load(offsets + 1)
    blue = blue * tl.load(scales + 2) - tl.load(offsets + 2)
    tl.store(target, red.to(views.dtype.element_ty), inside)
    tl.store(target + 1, green.to(views.dtype.element_ty), inside)
    tl.store(target + 2, blue.to(views.dtype.element_ty), inside)


def draw_on_device(
    pixels: Tensor,
    crops: Tensor,
    factors: Tensor,
    order: Tensor,
    flips: Tensor,
    weights: Tensor,
    size: int,
    scales: Tensor,
    offsets: Tensor,
    dtype: torch.dtype,
) -> Tensor:
    """Finished views of N pairs of crops; all tensors lie on one device and are contiguous.

    Args:
        pixels: uint8, the RGB pixels of all images one after the other.
        crops: int64 `[N, 2, 5]`, anchor and partner; columns as `COLUMNS` says.
        factors: float32 `[N, 4]`, by operation.
        order: int64 `[N, 4]`.
        flips: bool `[N]`.
        weights: float32 `[N]`, of the anchors.
        size: S in pixels.
        scales: float32 `[3]`; a grey level v becomes v * scale - offset.
        offsets: float32 `[3]`.
        dtype: Of the result.

    Returns:
        `[N, 3, S, S]`, channels_last.
    """
    count, area = len(weights), size * size
    views = torch.empty((count, size, size, 3), dtype=dtype, device=pixels.device)
    most = min(count, _PAIRS_AT_ONCE)
    resized = torch.empty((2 * most, 3, area), dtype=torch.uint8, device=pixels.device)
    means = torch.empty(2 * most, dtype=torch.float32, device=pixels.device)
    blocks = triton.cdiv(area, _BLOCK)
    for start in range(0, count, most):
        rows = slice(start, start + most)
        table, drawn = crops[rows], (order[rows], factors[rows])
        pairs = len(table)
        _crop_resize[(2 * pairs, blocks)](pixels, table, resized, size, block=_BLOCK)
        _mean_grey[(2 * pairs,)](resized, table, *drawn, means, size, block=_BLOCK)
        _recolour_mix[(pairs, blocks)](
            resized, table, *drawn, means, weights[rows], flips[rows], scales, offsets,
            views[rows], size, block=_BLOCK,
        )  # fmt: skip
    return views.permute(0, 3, 1, 2)
