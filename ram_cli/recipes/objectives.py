"""What `ram distill` optimises: one builder per kind of method."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from ram_cli.datasets import Dataset, ImageSet
from ram_cli.engine import (
    CoupledObjective,
    LabelledTuples,
    Objective,
    RankedTuples,
    Runtime,
    TuplesObjective,
    TupleSource,
    VectorsObjective,
)
from ram_cli.engine.inference import fast_inference
from ram_cli.errors import ConfigError
from ram_cli.evaluation.extract import embed_images
from ram_cli.losses import METHODS, MethodEntry, MethodKind
from ram_cli.models import Embedder
from ram_cli.progress import Reporter
from ram_cli.recipes.common import cache_bytes, chosen_fit, training_pairs
from ram_cli.recipes.features import teacher_vectors
from ram_cli.recipes.spaces import LossFunction, space_loss
from ram_cli.settings import DistillSettings
from ram_cli.views import Fit, obstacle_to_device_views


@dataclass(frozen=True, slots=True, eq=False)
class Distillation:
    """All that an objective is built from.

    Attributes:
        settings: Of the command.
        student: The network to train.
        teacher: The network to follow.
        dataset: Where the training images come from.
        runtime: Where and in which precision to compute.
        workers: Processes that decode.
        reporter: Told of what takes long.
        shown: The images to train on as they are read, N; copies, where there are any.
    """

    settings: DistillSettings
    student: Embedder
    teacher: Embedder
    dataset: Dataset
    runtime: Runtime
    workers: int
    reporter: Reporter
    shown: ImageSet

    @property
    def method(self) -> MethodEntry:
        """The row of the table."""
        return METHODS[self.settings.method]

    @property
    def weights(self) -> dict[str, float]:
        """Further arguments of the method's function; what is left to it is left out."""
        said = {name: getattr(self.settings, name) for name in self.method.weights}
        return {name: value for name, value in said.items() if value is not None}

    @property
    def views(self) -> int:
        """Coupled views of an image; 0 for one plain view."""
        return coupled_views(self.settings)

    @property
    def images(self) -> ImageSet:
        """The images to train on, N."""
        return self.dataset.train if self.settings.val else self.dataset.train_val

    @property
    def fit(self) -> Fit:
        """What both networks see of an image, where it is not cropped at random."""
        return chosen_fit(self.settings.fit, self.dataset)

    def teacher_vectors(self, images: ImageSet) -> Tensor:
        """Vectors of the teacher `[N, D]`, those that are kept if there are any."""
        return teacher_vectors(
            self.teacher,
            images,
            self.dataset,
            self.settings.data_root,
            runtime=self.runtime,
            fit=self.fit,
            workers=self.workers,
            reporter=self.reporter,
        )

    def embed_by_student(self, network: nn.Module, indices: Sequence[int]) -> Tensor:
        """Vectors `[len(indices), D]` of training images by the student as it is now."""
        return embed_images(
            cast(Embedder, network),
            self.images.subset(indices),
            runtime=self.runtime,
            fit=self.fit,
            workers=self.workers,
            reporter=self.reporter,
            description="mine",
        )


def coupled_views(settings: DistillSettings) -> int:
    """Coupled views of an image; 0 for one plain view."""
    method = METHODS[settings.method]
    return (settings.views or method.views) if method.takes_views else 0


def largest_view(settings: DistillSettings, student: Embedder, teacher: Embedder) -> int:
    """Side in pixels of the largest view that is made of a training image."""
    sizes = [student.spec.size, *([teacher.spec.size] if coupled_views(settings) else [])]
    return max(sizes)


def build_objective(distillation: Distillation) -> Objective:
    """The objective of the method that the settings name.

    Raises:
        ConfigError: The method cannot work with the other settings.
    """
    method, settings = distillation.method, distillation.settings
    if settings.symmetric and not method.runs_symmetric:
        raise ConfigError(
            f"symmetric: {method.name} has no positives and negatives to embed by the student. "
            "Leave --symmetric out."
        )
    if settings.negatives_from and method.negatives is None:
        raise ConfigError(
            f"negatives_from: {method.name} chooses no negatives. Leave --negatives-from out."
        )
    return _BUILDERS[method.kind](distillation)


def _coupled(given: Distillation, function: LossFunction | None = None) -> Objective:
    settings, per_epoch = given.settings, given.settings.images_per_epoch
    teacher = fast_inference(
        given.teacher,
        given.runtime,
        size=given.teacher.spec.size,
        images=settings.epochs * min(len(given.shown), per_epoch) * given.views,
        reporter=given.reporter,
    )
    return CoupledObjective(
        given.shown,
        teacher,
        given.student.spec,
        given.teacher.spec,
        function or given.method.function,
        given.weights,
        views=given.views,
        batch_size=settings.batch_size,
        images_per_epoch=per_epoch,
        mixup_alpha=settings.mixup_alpha,
        seed=settings.seed,
        runtime=given.runtime,
        cache_bytes=cache_bytes(given.workers),
        on_device=_views_on_device(given),
    )


def _views_on_device(given: Distillation) -> bool:
    """Whether the GPU makes the views; if it has one, and cannot, say why."""
    obstacle = obstacle_to_device_views(given.runtime.device)
    if obstacle is not None and given.runtime.device.type == "cuda":
        given.reporter.note(f"views are made by the CPU, not by the GPU: {obstacle}")
    return obstacle is None


def _vectors(
    given: Distillation, vectors: Tensor | None = None, function: LossFunction | None = None
) -> Objective:
    settings = given.settings
    return VectorsObjective(
        given.shown,
        given.teacher_vectors(given.images) if vectors is None else vectors,
        given.student.spec,
        function or given.method.function,
        given.weights,
        fit=given.fit,
        batch_size=settings.batch_size,
        images_per_epoch=settings.images_per_epoch,
        seed=settings.seed,
        runtime=given.runtime,
    )


def _batch(given: Distillation) -> Objective:
    if given.settings.batch_size < 3:
        raise ConfigError(
            f"batch_size: {given.method.name} compares the images of a batch with each other, and "
            f"{given.settings.batch_size} are too few. Use 3 or more."
        )
    return _vectors(given)


def _space(given: Distillation) -> Objective:
    vectors = given.teacher_vectors(given.images).to(given.runtime.device)
    function = space_loss(given.method, given.settings, vectors, plain=given.views == 0)
    return _coupled(given, function) if given.views else _vectors(given, vectors, function)


def _tuples(given: Distillation) -> Objective:
    settings, method, images = given.settings, given.method, given.images
    negatives = settings.negatives if method.negatives else 0
    teacher = None
    if not settings.symmetric or method.looks_at_teacher:
        teacher = given.teacher_vectors(images)
    source = LabelledTuples(
        images.labels,
        given.embed_by_student,
        pairs=training_pairs(given.dataset, val=settings.val),
        queries=settings.images_per_epoch,
        negatives=negatives,
        mining=(settings.negatives_from or method.negatives) if negatives else None,
        pool_size=settings.pool_size,
        pool_vectors=None if settings.symmetric else teacher,
        seed=settings.seed,
        device=given.runtime.device,
    )
    return _over(source, teacher, given)


def _ranked(given: Distillation) -> Objective:
    settings = given.settings
    teacher = given.teacher_vectors(given.images)
    source = RankedTuples(
        teacher,
        queries=settings.images_per_epoch,
        pool_size=settings.pool_size,
        top=settings.ranked_examples,
        seed=settings.seed,
        device=given.runtime.device,
    )
    return _over(source, teacher, given)


def _over(source: TupleSource, teacher: Tensor | None, given: Distillation) -> Objective:
    return TuplesObjective(
        given.shown,
        source,
        given.student.spec,
        given.method.function,
        given.weights,
        teacher_vectors=teacher,
        symmetric=given.settings.symmetric,
        fit=given.fit,
        batch_size=given.settings.batch_size,
        seed=given.settings.seed,
        runtime=given.runtime,
    )


_BUILDERS: dict[MethodKind, Callable[[Distillation], Objective]] = {
    "coupled": _coupled,
    "vectors": _vectors,
    "batch": _batch,
    "tuples": _tuples,
    "ranked": _ranked,
    "neighbours": _space,
    "anchors": _space,
}
