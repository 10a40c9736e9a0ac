"""Samples and batches of coupled views, and how they become the inputs of two networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from ram_cli.views.spec import InputSpec
from ram_cli.views.tensors import coefficients, normalise


@dataclass(frozen=True, slots=True)
class CoupledSample:
    """The `K` coupled views of one image; with a `B` in front in `CoupledBatch`.

    Attributes:
        student: uint8 `[K, 3, Q, Q]`.
        teacher: The same at size `R`.
        image: Index of the anchor image, int64 `[]`.
    """

    student: Tensor
    teacher: Tensor
    image: Tensor


@dataclass(frozen=True, slots=True)
class CoupledBatch:
    """The coupled views of `B` images.

    Attributes:
        student: uint8 `[B, K, 3, Q, Q]`.
        teacher: uint8 `[B, K, 3, R, R]`.
        images: Indices of the anchor images, int64 `[B]`.
    """

    student: Tensor
    teacher: Tensor
    images: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def inputs(
        self,
        student_spec: InputSpec,
        teacher_spec: InputSpec,
        device: torch.device | str,
        dtype: torch.dtype = torch.float32,
    ) -> tuple[Tensor, Tensor]:
        """Network inputs, each normalised with the mean and std of its own network.

        Args:
            student_spec: Of the student; its size is that of the views.
            teacher_spec: Of the teacher.
            device: Where the result shall be.
            dtype: Of the result.

        Returns:
            Student views `[B * K, 3, Q, Q]` and teacher views `[B * K, 3, R, R]`, channels_last;
            view `k` of image `b` is row `b * K + k`.
        """
        batch = self.to(device, non_blocking=True)
        return (
            _inputs(batch.student, student_spec, dtype),
            _inputs(batch.teacher, teacher_spec, dtype),
        )

    def to(self, device: torch.device | str, **options: Any) -> "CoupledBatch":
        """Move to `device`; the options are those of `Tensor.to`."""
        return CoupledBatch(
            self.student.to(device, **options),
            self.teacher.to(device, **options),
            self.images.to(device, **options),
        )

    def pin_memory(self) -> "CoupledBatch":
        """Copy to page-locked memory, for `DataLoader(pin_memory=True)`."""
        return CoupledBatch(
            self.student.pin_memory(), self.teacher.pin_memory(), self.images.pin_memory()
        )


def collate_coupled(samples: Sequence[CoupledSample]) -> CoupledBatch:
    """Stack the samples of one data set into a batch, for `DataLoader(collate_fn=...)`."""
    return CoupledBatch(
        default_collate([sample.student for sample in samples]),
        default_collate([sample.teacher for sample in samples]),
        default_collate([sample.image for sample in samples]),
    )


def _inputs(views: Tensor, spec: InputSpec, dtype: torch.dtype) -> Tensor:
    """Normalised `[B * K, 3, S, S]` from finished views."""
    rows = views.flatten(0, 1)  # [B * K, 3, S, S]
    if rows.device.type == "cpu":
        return _normalise_on_cpu(rows, spec).to(dtype)
    return normalise(rows, spec, dtype)


def _normalise_on_cpu(rows: Tensor, spec: InputSpec) -> Tensor:
    """`normalise` several times as fast, with the kernels that made the views."""
    from ram_cli.views.kernels import standardise

    factors, offsets = coefficients(spec)
    result = standardise(rows.contiguous().numpy(), factors.numpy(), offsets.numpy())
    return torch.from_numpy(result).permute(0, 3, 1, 2)
