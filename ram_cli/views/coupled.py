"""Coupled views: the same random region and recolouring at the sizes of student and teacher.

Per image, `K` draws of RandomResizedCrop, flip and ColorJitter, then mixup with one other image
that got the same draw; student and teacher see the result at their own sizes (RAML, arXiv
2210.05463, section 3.3). The partner is cropped at the same place relative to its own size.

On the CPU path a worker finishes the views. On the device path it only decodes both images, and
`DeferredBatch.inputs` makes the views on the accelerator.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ram_cli.views.batch import CoupledSample
from ram_cli.views.deferred import DeferredSample, deferred_sample
from ram_cli.views.draw import Draws, draw_views, pixel_box, smallest_crop
from ram_cli.views.loading import ImageLoader
from ram_cli.views.resize import crop_resize, padded
from ram_cli.views.spec import ViewKey

if TYPE_CHECKING:
    from ram_cli.datasets import ImageSet

Pixels = NDArray[np.uint8]

_UNUSED: Pixels = np.zeros((0, 1, 4), np.uint8)


class CoupledViews(Dataset[CoupledSample | DeferredSample]):
    """Coupled views of an image set; an item is asked for by its `ViewKey`.

    Args:
        images: The images; a box is cropped first.
        student_size: `Q` in pixels.
        teacher_size: `R` in pixels.
        views: `K`.
        seed: Seed of the run.
        mixup_alpha: Both parameters of the Beta distribution of the mixup weight; 0 for no mixup.
        on_device: Leave everything but decoding to `DeferredBatch.inputs`.
        cache_bytes: Most bytes of decoded pixels to keep per worker, see `ImageLoader`.
    """

    def __init__(
        self,
        images: "ImageSet",
        student_size: int,
        teacher_size: int,
        views: int,
        seed: int,
        mixup_alpha: float = 0.2,
        on_device: bool = False,
        cache_bytes: int = 0,
    ) -> None:
        self.sizes, self.views, self.seed = (student_size, teacher_size), views, seed
        self.mixup_alpha, self.on_device = mixup_alpha, on_device
        self._loader = ImageLoader(images, smallest_crop(max(self.sizes)), cache_bytes)
        if not on_device:
            load_kernels()  # compiled once here, not again in every worker

    def __len__(self) -> int:
        return len(self._loader)

    def __getitem__(self, key: ViewKey) -> CoupledSample | DeferredSample:
        """The views of one item; raises UnreadableImageError."""
        anchor = self._loader.load(key.image)
        height, width = anchor.shape[:2]
        draws = draw_views(key, self.seed, self.views, height, width, mixup_alpha=self.mixup_alpha)
        mixed = bool((draws.weights < 1).any())
        partner = self._loader.load(key.partner) if mixed else None
        if self.on_device:
            return deferred_sample(key.image, draws, anchor, partner, self.sizes)
        student, teacher = finished_views(
            draws, anchor, anchor if partner is None else partner, self.sizes
        )
        return CoupledSample(
            torch.from_numpy(student), torch.from_numpy(teacher), torch.tensor(key.image)
        )


def load_kernels() -> None:
    """Import, and if need be compile, the kernels of the CPU path."""
    import ram_cli.views.kernels  # noqa: F401


def finished_views(
    draws: Draws, anchor: Pixels, partner: Pixels, sizes: tuple[int, int]
) -> tuple[Pixels, Pixels]:
    """Apply draws to an anchor and its partner, on the CPU.

    Args:
        draws: `K` draws.
        anchor: uint8 `[H, W, 3]`.
        partner: uint8 `[H', W', 3]`; read only where a weight is below 1.
        sizes: `Q` and `R` in pixels.

    Returns:
        uint8 `[K, 3, Q, Q]` and `[K, 3, R, R]`. Each is rounded twice, halves up: after resizing,
        and at the end.
    """
    from ram_cli.views.kernels import jitter_mix

    anchor = padded(anchor)
    partner = padded(partner) if (draws.weights < 1).any() else anchor
    views = tuple(np.empty((len(draws.flips), 3, size, size), np.uint8) for size in sizes)
    for k, weight in enumerate(draws.weights):
        pairs = _cut(draws, k, anchor, partner, sizes)
        for view, (of_anchor, of_partner) in zip(views, pairs, strict=True):
            jitter_mix(
                of_anchor,
                of_partner,
                weight,
                draws.order[k],
                draws.factors[k],
                draws.flips[k],
                view[k],
            )
    return views[0], views[1]


def _cut(
    draws: Draws, k: int, anchor: Pixels, partner: Pixels, sizes: tuple[int, int]
) -> list[list[Pixels]]:
    """Crops of draw `k` by size, then by anchor and partner; `_UNUSED` for an image of weight 0."""
    weight = draws.weights[k]
    pairs: list[list[Pixels]] = [[_UNUSED, _UNUSED] for _ in sizes]
    for slot, (image, used) in enumerate(((anchor, weight > 0), (partner, weight < 1))):
        if used:
            box = pixel_box(draws.boxes[k], *image.shape[:2])
            for pair, size in zip(pairs, sizes, strict=True):
                pair[slot] = crop_resize(image, box, size)
    return pairs
