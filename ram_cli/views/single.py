"""Training views of one network at one size, for symmetric training."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ram_cli.views.coupled import load_kernels
from ram_cli.views.draw import draw_views, pixel_box, smallest_crop
from ram_cli.views.loading import ImageLoader
from ram_cli.views.resize import crop_resize, padded
from ram_cli.views.spec import ViewKey

if TYPE_CHECKING:
    from ram_cli.datasets import ImageSet


class SingleViews(Dataset[Tensor]):
    """One RandomResizedCrop and flip per item; an item is asked for by its `ViewKey`.

    Args:
        images: The images; a box is cropped first.
        size: Side of the views in pixels.
        seed: Seed of the run.
        jitter: Whether to change the colours too.
        cache_bytes: Most bytes of decoded pixels to keep per worker, see `ImageLoader`.
    """

    def __init__(
        self,
        images: "ImageSet",
        size: int,
        seed: int,
        *,
        jitter: bool = False,
        cache_bytes: int = 0,
    ) -> None:
        self.size, self.seed, self.jitter = size, seed, jitter
        self._loader = ImageLoader(images, smallest_crop(size), cache_bytes)
        if jitter:
            load_kernels()

    def __len__(self) -> int:
        return len(self._loader)

    def __getitem__(self, key: ViewKey) -> Tensor:
        """The view of one item, uint8 `[3, size, size]`; raises UnreadableImageError."""
        pixels = self._loader.load(key.image)
        height, width = pixels.shape[:2]
        draws = draw_views(key, self.seed, 1, height, width)
        if self.jitter:
            pixels = padded(pixels)
        region = crop_resize(pixels, pixel_box(draws.boxes[0], height, width), self.size)
        if self.jitter:
            from ram_cli.views.kernels import jitter_mix

            view = np.empty((3, self.size, self.size), np.uint8)
            jitter_mix(
                region,
                region,
                np.float32(1),
                draws.order[0],
                draws.factors[0],
                draws.flips[0],
                view,
            )
            return torch.from_numpy(view)
        if draws.flips[0]:
            region = region[:, ::-1]
        return torch.from_numpy(np.ascontiguousarray(region.transpose(2, 0, 1)))
