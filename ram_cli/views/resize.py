"""Crop and resize on the CPU, by the fastest route that stays within one grey level of Pillow."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from ram_cli.views.draw import Box


def crop(pixels: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """Cut `box` out of uint8 `[H, W, 3]`; a contiguous copy, which resizes faster than a view."""
    left, top, right, bottom = box
    return np.ascontiguousarray(pixels[top:bottom, left:right])


def resize(region: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize uint8 `[h, w, 3]` to `[size, size, 3]`, bilinear with antialiasing.

    torch's vectorised 8-bit kernel uses Pillow's algorithm and, in channels_last layout, is about
    four times as fast.
    """
    image = torch.from_numpy(region).permute(2, 0, 1)[None]  # [1, 3, h, w], channels_last
    resized = interpolate(
        image, size=(size, size), mode="bilinear", align_corners=False, antialias=True
    )
    result: NDArray[np.uint8] = resized[0].permute(1, 2, 0).contiguous().numpy()
    return result
