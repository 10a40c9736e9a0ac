"""From uint8 images to what a network eats: normalisation and multi-scale resizing."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ram_cli.views.spec import InputSpec


def normalise(images: Tensor, spec: InputSpec, dtype: torch.dtype = torch.float32) -> Tensor:
    """Scale to 0..1, subtract the mean and divide by the standard deviation of `spec`.

    Args:
        images: uint8 `[..., 3, H, W]`, RGB.
        spec: Whose mean and std to use; its size is not looked at.
        dtype: Floating type of the result. The arithmetic is float32 whatever it is.

    Returns:
        `[..., 3, H, W]` on the device of `images`; channels_last in memory when 4-d.
    """
    mean = torch.tensor(spec.mean, dtype=torch.float32, device=images.device)[:, None, None]
    std = torch.tensor(spec.std, dtype=torch.float32, device=images.device)[:, None, None]
    if images.dim() == 4:
        images = images.contiguous(memory_format=torch.channels_last)
    return images.float().div_(255).sub_(mean).div_(std).to(dtype)


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
        size = (max(1, int(height * scale)), max(1, int(width * scale)))
        return interpolate(images, size=size, mode="bilinear", align_corners=False)
    return interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)
