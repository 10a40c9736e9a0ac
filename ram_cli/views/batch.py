"""Samples and batches of coupled views, and how they become the inputs of two networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from ram_cli.views.photometric import Photometric, jitter_mix_batch
from ram_cli.views.spec import InputSpec
from ram_cli.views.tensors import coefficients, normalise


@dataclass(frozen=True, slots=True)
class CoupledSample:
    """The `K` coupled views of one image; with a `B` in front in `CoupledBatch`.

    Attributes:
        student: Finished views, uint8 `[K, 3, Q, Q]`; or, on the device path, crops of anchor and
            partner, uint8 `[K, 2, Q, Q, 3]`.
        teacher: The same at size `R`.
        image: Index of the anchor image, int64 `[]`.
        photometric: What is left to do on the device path, `K` rows; None when finished.
    """

    student: Tensor
    teacher: Tensor
    image: Tensor
    photometric: Photometric | None = None


@dataclass(frozen=True, slots=True)
class CoupledBatch:
    """The coupled views of `B` images.

    Attributes:
        student: uint8 `[B, K, 3, Q, Q]`, or `[B, K, 2, Q, Q, 3]` on the device path.
        teacher: uint8 `[B, K, 3, R, R]`, or `[B, K, 2, R, R, 3]` on the device path.
        images: Indices of the anchor images, int64 `[B]`.
        photometric: `[B, K, …]` on the device path, else None.
    """

    student: Tensor
    teacher: Tensor
    images: Tensor
    photometric: Photometric | None = None

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
            _inputs(batch.student, batch.photometric, student_spec, dtype),
            _inputs(batch.teacher, batch.photometric, teacher_spec, dtype),
        )

    def to(self, device: torch.device | str, **options: Any) -> "CoupledBatch":
        """Move to `device`; the options are those of `Tensor.to`."""
        photometric = self.photometric
        return CoupledBatch(
            self.student.to(device, **options),
            self.teacher.to(device, **options),
            self.images.to(device, **options),
            None if photometric is None else photometric.to(device, **options),
        )

    def pin_memory(self) -> "CoupledBatch":
        """Copy to page-locked memory, for `DataLoader(pin_memory=True)`."""
        photometric = self.photometric
        return CoupledBatch(
            self.student.pin_memory(),
            self.teacher.pin_memory(),
            self.images.pin_memory(),
            None if photometric is None else photometric.map(Tensor.pin_memory),
        )


def collate_coupled(samples: Sequence[CoupledSample]) -> CoupledBatch:
    """Stack the samples of one data set into a batch, for `DataLoader(collate_fn=...)`."""
    parts = [sample.photometric for sample in samples if sample.photometric is not None]
    return CoupledBatch(
        default_collate([sample.student for sample in samples]),
        default_collate([sample.teacher for sample in samples]),
        default_collate([sample.image for sample in samples]),
        Photometric.stack(parts) if parts else None,
    )


def _inputs(
    views: Tensor, photometric: Photometric | None, spec: InputSpec, dtype: torch.dtype
) -> Tensor:
    """Normalised `[B * K, 3, S, S]` from finished views or from crops with work left to do."""
    rows = views.flatten(0, 1)  # [B * K, 3, S, S] or [B * K, 2, S, S, 3]
    if photometric is not None:
        rows = jitter_mix_batch(rows, photometric.map(lambda part: part.flatten(0, 1)))
    elif rows.device.type == "cpu":
        return _normalise_on_cpu(rows, spec).to(dtype)
    return normalise(rows, spec, dtype)


def _normalise_on_cpu(rows: Tensor, spec: InputSpec) -> Tensor:
    """`normalise` several times as fast, with the kernels that made the views."""
    from ram_cli.views.kernels import standardise

    factors, offsets = coefficients(spec)
    result = standardise(rows.contiguous().numpy(), factors.numpy(), offsets.numpy())
    return torch.from_numpy(result).permute(0, 3, 1, 2)
