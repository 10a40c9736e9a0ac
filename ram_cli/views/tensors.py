"""From pixels to what a network eats: normalisation and multi-scale resizing."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ram_cli.views.spec import InputSpec


def normalise(images: Tensor, spec: InputSpec, dtype: torch.dtype = torch.float32) -> Tensor:
    """Scale to 0..1, subtract the mean and divide by the standard deviation of `spec`.

    Args:
        images: RGB in 0..255, uint8 or float32, `[..., 3, H, W]`.
        spec: Whose mean and std to use; its size is not looked at.
        dtype: Floating type of the result. The arithmetic is float32 whatever it is.

    Returns:
        `[..., 3, H, W]` on the device of `images`; channels_last in memory when 4-d.
    """
    factors, offsets = (
        values[:, None, None].to(images.device, non_blocking=True) for values in coefficients(spec)
    )
    if images.dim() == 4:
        images = images.contiguous(memory_format=torch.channels_last)
    return images.mul(factors).sub_(offsets).to(dtype)


def coefficients(spec: InputSpec) -> tuple[Tensor, Tensor]:
    """Factors and offsets, float32 `[3]` each: a value v in 0..255 becomes v * factor - offset."""
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (spec.mean, spec.std))
    return (1 / (255 * std)).float(), (mean / std).float()


def resize_batch(images: Tensor, scale: float) -> Tensor:
    """Resize a batch by bilinear interpolation of the input tensor, for multi-scale embedding.

    Args:
        images: float `[B, 3, H, W]`, normalised.
        scale: Factor on both sides; 1 returns `images` itself.

    Returns:
        float `[B, 3, floor(H * scale), floor(W * scale)]`, at least one pixel a side.
    """
    if scale == 1:
        return images
    height, width = images.shape[-2:]
    if min(height, width) * scale < 1:
        size = max(1, int(height * scale)), max(1, int(width * scale))
        return interpolate(images, size=size, mode="bilinear", align_corners=False)
    return interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)
