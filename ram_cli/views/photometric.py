"""Colour jitter, mixup and mirroring of whole batches in torch, for the accelerator.

The arithmetic is that of `kernels`, in float32 on values 0..255, without the rounding at the end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from ram_cli.views.draw import BRIGHTNESS, CONTRAST, HUE, SATURATION, Draws

_LUMA = (0.2989, 0.587, 0.114)
# Bounds the float32 intermediates: some 600 MB for views of 448 pixels.
_PAIRS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Photometric:
    """What is left to do to `N` pairs of crops, rows as in `Draws`.

    Attributes:
        flips: bool `[N]`.
        factors: float32 `[N, 4]`.
        order: int64 `[N, 4]`, kept in host memory, so that picking rows never waits for the device.
        weights: float32 `[N]`.
    """

    flips: Tensor
    factors: Tensor
    order: Tensor
    weights: Tensor

    @classmethod
    def of(cls, draws: Draws) -> "Photometric":
        """The photometric part of `K` draws."""
        return cls(
            torch.from_numpy(draws.flips),
            torch.from_numpy(draws.factors),
            torch.from_numpy(draws.order),
            torch.from_numpy(draws.weights),
        )

    @classmethod
    def stack(cls, parts: Sequence["Photometric"]) -> "Photometric":
        """Put one dimension in front, in shared memory where this is a worker process."""
        return cls(
            *(default_collate([getattr(part, name) for part in parts]) for name in cls.__slots__)
        )

    def map(self, function: Callable[[Tensor], Tensor]) -> "Photometric":
        """Apply `function` to every tensor."""
        return Photometric(
            function(self.flips),
            function(self.factors),
            function(self.order),
            function(self.weights),
        )

    def rows(self, rows: slice) -> "Photometric":
        """Only these rows."""
        return self.map(lambda part: part[rows])

    def to(self, device: torch.device | str, **options: Any) -> "Photometric":
        """Move everything but the order to `device`."""
        return Photometric(
            self.flips.to(device, **options),
            self.factors.to(device, **options),
            self.order,
            self.weights.to(device, **options),
        )


def jitter_mix_batch(crops: Tensor, photometric: Photometric) -> Tensor:
    """Recolour pairs of crops alike, mix each pair, mirror the results.

    Args:
        crops: uint8 `[N, 2, S, S, 3]`, anchor and partner.
        photometric: `N` rows, on the device of `crops`.

    Returns:
        float32 `[N, 3, S, S]` in 0..255, channels_last.
    """
    slices = [slice(i, i + _PAIRS_AT_ONCE) for i in range(0, len(crops), _PAIRS_AT_ONCE)]
    parts = [_jitter_mix_part(crops[rows], photometric.rows(rows)) for rows in slices]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _jitter_mix_part(crops: Tensor, photometric: Photometric) -> Tensor:
    images = crops.flatten(0, 1).permute(0, 3, 1, 2).float()  # [2N, 3, S, S], channels_last
    # Anchor and partner of a pair are neighbouring rows.
    factors = photometric.factors.repeat_interleave(2, dim=0)  # [2N, 4]
    order = photometric.order.repeat_interleave(2, dim=0)  # [2N, 4]
    for step in range(4):
        images = _recolour(images, order[:, step], factors)
    anchors, partners = images[0::2], images[1::2]
    mixed = partners.lerp(anchors, photometric.weights.view(-1, 1, 1, 1))
    return torch.where(photometric.flips.view(-1, 1, 1, 1), mixed.flip(-1), mixed)


def _recolour(images: Tensor, operations: Tensor, factors: Tensor) -> Tensor:
    """Run one operation per row: images `[N, 3, S, S]`, operations `[N]`, factors `[N, 4]`."""
    result = torch.empty_like(images)
    for operation, function in _OPERATIONS.items():
        rows = (operations == operation).nonzero().flatten()
        if len(rows):
            rows = rows.to(images.device, non_blocking=True)
            factor = factors[rows, operation].view(-1, 1, 1, 1)
            result.index_copy_(0, rows, function(images[rows], factor))
    return result


def _brightness(images: Tensor, factor: Tensor) -> Tensor:
    return (images * factor).clamp_(0, 255)


def _contrast(images: Tensor, factor: Tensor) -> Tensor:
    mean = _grey(images).mean(dim=(1, 2, 3), keepdim=True)
    return mean.lerp(images, factor).clamp_(0, 255)


def _saturation(images: Tensor, factor: Tensor) -> Tensor:
    return _grey(images).lerp(images, factor).clamp_(0, 255)


def _hue(images: Tensor, turns: Tensor) -> Tensor:
    """Rotate the hue by `turns` of the colour circle (HSV), without branches."""
    red, green, blue = images.unbind(1)  # each [N, S, S]
    top, bottom = images.amax(dim=1), images.amin(dim=1)
    chroma = top - bottom
    is_red, is_green = top == red, top == green
    difference = torch.where(is_red, green - blue, torch.where(is_green, blue - red, red - green))
    sector = torch.where(is_red, 0.0, torch.where(is_green, 2.0, 4.0))
    divisor = torch.where(chroma > 0, chroma, 1.0)
    hue = (sector + difference / divisor + turns.view(-1, 1, 1) * 6).remainder_(6)
    channels = ((hue - 3).abs() - 1, 2 - (hue - 2).abs(), 2 - (hue - 4).abs())
    return torch.stack([bottom + chroma * channel.clamp_(0, 1) for channel in channels], dim=1)


def _grey(images: Tensor) -> Tensor:
    """Luma `[N, 1, S, S]`."""
    grey = _LUMA[0] * images[:, 0:1]
    return grey.add(images[:, 1:2], alpha=_LUMA[1]).add(images[:, 2:3], alpha=_LUMA[2])


_OPERATIONS: dict[int, Callable[[Tensor, Tensor], Tensor]] = {
    BRIGHTNESS: _brightness,
    CONTRAST: _contrast,
    SATURATION: _saturation,
    HUE: _hue,
}
