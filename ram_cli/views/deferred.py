"""Coupled views that are still to be made, by the accelerator: pixels, and what to do with them.

A worker only decodes; the crops of an image have many times its bytes, and are never sent. Of an
image so large that its crops are smaller, the worker sends those.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ram_cli.views.draw import Box, Draws, pixel_box
from ram_cli.views.resize import crop_resize
from ram_cli.views.spec import InputSpec
from ram_cli.views.tensors import coefficients

Pixels = NDArray[np.uint8]

_COLUMNS = 5
"""Of a crop: its first byte, bytes of a row of its image, height, width, whether it is used."""


@dataclass(frozen=True, slots=True)
class DeferredSample:
    """The `K` coupled views of one image, or of the `B` images of a `DeferredBatch`: N = B * K.

    Attributes:
        pixels: uint8 `[bytes]`, RGB images one after the other.
        student: int64 `[N, 2, 5]`, where in `pixels` the crops of anchor and partner lie.
        teacher: The same for the views of the teacher.
        factors: float32 `[N, 4]`, as in `Draws`.
        order: int64 `[N, 4]`.
        flips: bool `[N]`.
        weights: float32 `[N]`.
        images: Indices of the anchor images, int64 `[B]`; of a sample, one.
    """

    pixels: Tensor
    student: Tensor
    teacher: Tensor
    factors: Tensor
    order: Tensor
    flips: Tensor
    weights: Tensor
    images: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """All of them, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __reduce__(self) -> tuple[Any, ...]:
        # Between processes a tensor costs a handshake for a file, an array only its bytes.
        parts = {name: part.numpy() for name, part in self.tensors().items()}
        return _restored, (type(self), parts | {"pixels": self.pixels})


def _restored(kind: type["DeferredSample"], parts: dict[str, Any]) -> "DeferredSample":
    return kind(**{name: torch.as_tensor(part) for name, part in parts.items()})


@dataclass(frozen=True, slots=True)
class DeferredBatch(DeferredSample):
    """The coupled views of `B` images, `K` of each."""

    def __len__(self) -> int:
        return len(self.images)

    def inputs(
        self,
        student_spec: InputSpec,
        teacher_spec: InputSpec,
        device: torch.device | str,
        dtype: torch.dtype = torch.float32,
    ) -> tuple[Tensor, Tensor]:
        """Network inputs, made on the device; see `CoupledBatch.inputs`."""
        batch = self.to(device, non_blocking=True)
        return (
            batch._views(batch.student, student_spec, dtype),
            batch._views(batch.teacher, teacher_spec, dtype),
        )

    def _views(self, crops: Tensor, spec: InputSpec, dtype: torch.dtype) -> Tensor:
        from ram_cli.views.device_kernels import draw_on_device

        scales, offsets = (
            values.to(crops.device, non_blocking=True) for values in coefficients(spec)
        )
        return draw_on_device(
            self.pixels,
            crops,
            self.factors,
            self.order,
            self.flips,
            self.weights,
            spec.size,
            scales,
            offsets,
            dtype,
        )

    def to(self, device: torch.device | str, **options: Any) -> "DeferredBatch":
        """Move to `device`; the options are those of `Tensor.to`."""
        return DeferredBatch(
            **{name: part.to(device, **options) for name, part in self.tensors().items()}
        )

    def pin_memory(self) -> "DeferredBatch":
        """Copy to page-locked memory, for `DataLoader(pin_memory=True)`."""
        return DeferredBatch(**{name: part.pin_memory() for name, part in self.tensors().items()})


def collate_deferred(samples: Sequence[DeferredSample]) -> DeferredBatch:
    """Put the samples of one data set one behind the other, for `DataLoader(collate_fn=...)`."""
    parts = [sample.tensors() for sample in samples]
    first = 0
    for part in parts:
        for side in ("student", "teacher"):
            crops = part[side].clone()
            crops[..., 0] += first
            part[side] = crops
        first += len(part["pixels"])
    return DeferredBatch(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def deferred_sample(
    index: int, draws: Draws, anchor: Pixels, partner: Pixels | None, sizes: tuple[int, int]
) -> DeferredSample:
    """What the accelerator needs for the views of one image.

    Args:
        index: Of the anchor image.
        draws: `K` draws.
        anchor: uint8 `[H, W, 3]`, C-contiguous.
        partner: uint8 `[H', W', 3]`; None where no weight is below 1.
        sizes: `Q` and `R` in pixels.
    """
    images = [anchor] if partner is None else [anchor, partner]
    boxes = [
        [pixel_box(draws.boxes[k], *image.shape[:2]) for image in images]
        for k in range(len(draws.weights))
    ]
    used = np.stack((draws.weights > 0, draws.weights < 1), axis=1)  # [K, 2]
    whole = sum(image.nbytes for image in images)
    if whole <= int(used.sum()) * sum(3 * size * size for size in sizes):
        pixels, student = _whole_images(images, boxes, used)
        teacher = student
    else:
        pixels, (student, teacher) = _finished_crops(images, boxes, used, sizes)
    return DeferredSample(
        torch.from_numpy(pixels),
        torch.from_numpy(student),
        torch.from_numpy(teacher),
        torch.from_numpy(draws.factors),
        torch.from_numpy(draws.order),
        torch.from_numpy(draws.flips),
        torch.from_numpy(draws.weights),
        torch.tensor([index]),
    )


def _whole_images(
    images: list[Pixels], boxes: list[list[Box]], used: NDArray[np.bool_]
) -> tuple[Pixels, NDArray[np.int64]]:
    table = np.zeros((*used.shape, _COLUMNS), np.int64)
    first = 0
    for slot, image in enumerate(images):
        stride = 3 * image.shape[1]
        for k, pair in enumerate(boxes):
            left, top, right, bottom = pair[slot]
            start = first + top * stride + 3 * left
            table[k, slot] = (start, stride, bottom - top, right - left, used[k, slot])
        first += image.nbytes
    return np.concatenate([image.reshape(-1) for image in images]), table


def _finished_crops(
    images: list[Pixels],
    boxes: list[list[Box]],
    used: NDArray[np.bool_],
    sizes: tuple[int, int],
) -> tuple[Pixels, list[NDArray[np.int64]]]:
    parts, tables, first = [], [], 0
    for size in sizes:
        table = np.zeros((*used.shape, _COLUMNS), np.int64)
        for k, slot in zip(*np.nonzero(used), strict=True):
            crop = crop_resize(images[slot], boxes[k][slot], size)
            parts.append(crop.reshape(-1))
            table[k, slot] = (first, 3 * size, size, size, True)
            first += crop.nbytes
        tables.append(table)
    return np.concatenate(parts), tables
