"""What `ram distill` optimises: one builder per kind of method."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ram_cli.datasets import Dataset, ImageSet
from ram_cli.engine import CoupledObjective, Objective, Runtime, VectorsObjective
from ram_cli.errors import ConfigError
from ram_cli.losses import METHODS, MethodEntry, MethodKind
from ram_cli.models import Embedder
from ram_cli.progress import Reporter
from ram_cli.recipes.common import CACHE_BYTES
from ram_cli.recipes.features import teacher_vectors
from ram_cli.settings import DistillSettings


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
    """

    settings: DistillSettings
    student: Embedder
    teacher: Embedder
    dataset: Dataset
    runtime: Runtime
    workers: int
    reporter: Reporter

    @property
    def method(self) -> MethodEntry:
        """The row of the table."""
        return METHODS[self.settings.method]

    @property
    def weights(self) -> dict[str, float]:
        """Further arguments of the method's function."""
        return {name: getattr(self.settings, name) for name in self.method.weights}

    @property
    def images(self) -> ImageSet:
        """The images to train on, N."""
        return self.dataset.train if self.settings.val else self.dataset.train_val

    def teacher_vectors(self, images: ImageSet) -> Tensor:
        """Vectors of the teacher `[N, D]`, those that are kept if there are any."""
        return teacher_vectors(
            self.teacher,
            images,
            self.dataset,
            self.settings.data_root,
            runtime=self.runtime,
            workers=self.workers,
            reporter=self.reporter,
        )


def build_objective(distillation: Distillation) -> Objective:
    """The objective of the method that the settings name.

    Raises:
        ConfigError: The method cannot work with the other settings.
    """
    return _BUILDERS[distillation.method.kind](distillation)


def _coupled(given: Distillation) -> Objective:
    settings = given.settings
    return CoupledObjective(
        given.images,
        given.teacher,
        given.student.spec,
        given.teacher.spec,
        given.method.function,
        given.weights,
        views=settings.views,
        batch_size=settings.batch_size,
        images_per_epoch=settings.images_per_epoch,
        mixup_alpha=settings.mixup_alpha,
        seed=settings.seed,
        runtime=given.runtime,
        cache_bytes=CACHE_BYTES // max(1, given.workers),
    )


def _vectors(given: Distillation) -> Objective:
    settings = given.settings
    return VectorsObjective(
        given.images,
        given.teacher_vectors(given.images),
        given.student.spec,
        given.method.function,
        given.weights,
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


_BUILDERS: dict[MethodKind, Callable[[Distillation], Objective]] = {
    "coupled": _coupled,
    "vectors": _vectors,
    "batch": _batch,
}
