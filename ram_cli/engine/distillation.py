"""Objectives with a teacher: coupled views, and plain views against vectors computed once.

Letters: B images in a batch, K views per image, D embedding dimension, N training images.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ram_cli.engine.collectives import Join
from ram_cli.engine.inference import Embed
from ram_cli.engine.objective import EpochState, alone
from ram_cli.engine.runtime import Runtime
from ram_cli.engine.shaped import PlainViews, ShapedBatch, collate_shaped, embed_shaped
from ram_cli.views import (
    CoupledBatch,
    CoupledViews,
    DeferredBatch,
    Fit,
    InputSpec,
    ViewKey,
    bucket_shapes,
    collate_coupled,
    collate_deferred,
    instance_plan,
    shape_batches,
)

if TYPE_CHECKING:
    from ram_cli.datasets import ImageSet

LossFunction = Callable[..., dict[str, Tensor]]


class CoupledObjective:
    """Student and teacher see the same random regions, each at its own size (RAML, section 3).

    Views are random, so the teacher embeds every batch; it does so outside the autograd graph.

    Args:
        images: Training images; labels are not looked at.
        teacher: Fixed network, in eval mode on the runtime's device, or as `fast_inference` gives
            it.
        student_spec: Input of the student; its size is that of the student's views.
        teacher_spec: Input of the teacher.
        function: Loss of `[B, K, D]` student and teacher vectors, returning its parts.
        weights: Further arguments of `function` by name.
        views: K.
        batch_size: B.
        images_per_epoch: Images to show per epoch, at most.
        mixup_alpha: Beta parameter of mixup; 0 for none.
        seed: Seed of every random draw.
        runtime: Where and in which precision to compute.
        cache_bytes: Decoded pixels that each loading process may keep.
        on_device: Make the views on the runtime's device, see `obstacle_to_device_views`.
    """

    def __init__(
        self,
        images: "ImageSet",
        teacher: Embed,
        student_spec: InputSpec,
        teacher_spec: InputSpec,
        function: LossFunction,
        weights: Mapping[str, float],
        *,
        views: int,
        batch_size: int,
        images_per_epoch: int,
        mixup_alpha: float,
        seed: int,
        runtime: Runtime,
        cache_bytes: int = 0,
        on_device: bool = False,
    ) -> None:
        self.collate: Callable[..., Any] = collate_deferred if on_device else collate_coupled
        self.teacher, self.student_spec, self.teacher_spec = teacher, student_spec, teacher_spec
        self.function, self.weights, self.views = function, dict(weights), views
        self.count_images, self.batch_size, self.seed = len(images), batch_size, seed
        self.images_per_epoch, self.mixup = images_per_epoch, mixup_alpha > 0
        self.runtime = runtime
        self.dataset = CoupledViews(
            images,
            student_spec.size,
            teacher_spec.size,
            views,
            seed,
            mixup_alpha=mixup_alpha,
            on_device=on_device,
            cache_bytes=cache_bytes,
        )

    def prepare(self, model: nn.Module, epoch: int) -> EpochState:
        """Nothing to compute ahead."""
        return {}

    def batches(self, epoch: int, state: EpochState) -> list[list[ViewKey]]:
        """Random images, each with its mixup partner."""
        return instance_plan(
            self.count_images,
            self.batch_size,
            seed=self.seed,
            epoch=epoch,
            images_per_epoch=self.images_per_epoch,
            partners=self.mixup,
        )

    def batch_count(self, epoch: int) -> int:
        """The same in every epoch."""
        return math.ceil(self.image_count(epoch) / self.batch_size)

    def image_count(self, epoch: int) -> int:
        """The same in every epoch."""
        return min(self.count_images, self.images_per_epoch)

    def count(self, keys: Sequence[ViewKey]) -> int:
        """All of them."""
        return len(keys)

    def loss(
        self, model: nn.Module, batch: CoupledBatch | DeferredBatch, join: Join = alone
    ) -> dict[str, Tensor]:
        """Parts of the distillation loss."""
        student_views, teacher_views = batch.inputs(
            self.student_spec, self.teacher_spec, self.runtime.device
        )  # [B * K, 3, Q, Q], [B * K, 3, R, R]
        with torch.no_grad(), self.runtime.autocast():
            teacher = self.teacher(teacher_views)
        student = model(student_views)
        shape = (len(batch), self.views, -1)
        return self.function(join(student.view(shape)), join(teacher.view(shape)), **self.weights)


class VectorsObjective:
    """The student's plain views are compared with the teacher's vectors of the same images.

    Nothing is random before the teacher, so its vectors are computed once, by whoever builds this.

    Args:
        images: Training images, N.
        teacher_vectors: `[N, D]`, unit length.
        student_spec: Input of the student.
        function: Loss of `[B, D]` student and teacher vectors, returning its parts.
        weights: Further arguments of `function` by name.
        fit: Whether the student sees the centre of an image or the whole of it.
        batch_size: B.
        images_per_epoch: Images to show per epoch, at most.
        seed: Seed of the order.
        runtime: Where to compute.
    """

    collate = staticmethod(collate_shaped)

    def __init__(
        self,
        images: "ImageSet",
        teacher_vectors: Tensor,
        student_spec: InputSpec,
        function: LossFunction,
        weights: Mapping[str, float],
        *,
        fit: Fit = "crop",
        batch_size: int,
        images_per_epoch: int,
        seed: int,
        runtime: Runtime,
    ) -> None:
        self.teacher_vectors = teacher_vectors.to(runtime.device)
        self.student_spec, self.runtime = student_spec, runtime
        self.function, self.weights = function, dict(weights)
        self.count_images, self.batch_size, self.seed = len(images), batch_size, seed
        self.images_per_epoch = images_per_epoch
        self.shapes = bucket_shapes(images, student_spec.size) if fit == "whole" else None
        self.dataset = PlainViews(images, student_spec.size, fit)

    def prepare(self, model: nn.Module, epoch: int) -> EpochState:
        """Nothing to compute ahead."""
        return {}

    def batches(self, epoch: int, state: EpochState) -> list[list[ViewKey]]:
        """Random images without partners."""
        return self._batches(epoch)

    def _batches(self, epoch: int) -> list[list[ViewKey]]:
        plan = instance_plan(
            self.count_images,
            self.batch_size,
            seed=self.seed,
            epoch=epoch,
            images_per_epoch=self.images_per_epoch,
            partners=False,
        )
        keys = [key for batch in plan for key in batch]
        return shape_batches(keys, self.shapes, self.batch_size, seed=self.seed, epoch=epoch)

    def batch_count(self, epoch: int) -> int:
        """May differ between epochs by the shapes that images happen to have."""
        return len(self._batches(epoch))

    def image_count(self, epoch: int) -> int:
        """The same in every epoch."""
        return min(self.count_images, self.images_per_epoch)

    def count(self, keys: Sequence[ViewKey]) -> int:
        """All of them."""
        return len(keys)

    def loss(self, model: nn.Module, batch: ShapedBatch, join: Join = alone) -> dict[str, Tensor]:
        """Parts of the loss."""
        device = self.runtime.device
        student = join(embed_shaped(model, batch, self.student_spec, device))
        teacher = self.teacher_vectors[join(batch.images).to(device)]
        return self.function(student, teacher, **self.weights)
