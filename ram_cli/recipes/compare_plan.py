"""Which trainings a comparison is made of: every method from every seed, with one budget."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ram_cli.engine import RunFolder
from ram_cli.errors import ConfigError
from ram_cli.losses import METHODS, MethodEntry, MethodKind
from ram_cli.settings import CompareSettings, DistillSettings, did_you_mean
from ram_cli.settings.distillation import CoupledGroup, TuplesGroup
from ram_cli.settings.spaces import SpacesGroup

_OF_ALL_METHODS = frozenset(
    {"method", "symmetric", "lr", "optimizer", "scheduler", "momentum", "weight_decay"}
)
_OF_KIND: dict[MethodKind, frozenset[str]] = {
    "tuples": frozenset({"negatives", "negatives_from", "pool_size"}),
    "ranked": frozenset({"pool_size", "ranked_examples"}),
    "anchors": frozenset({"anchors", "subspaces"}),
}
OWN_FIELDS = _OF_ALL_METHODS | {
    *CoupledGroup.model_fields,
    *TuplesGroup.model_fields,
    *SpacesGroup.model_fields,
}
"""Settings that a method may have of its own; all others are the protocol."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One training of a comparison.

    Attributes:
        label: The method, or the name of a variant.
        settings: Of its `ram distill`.
        passes: Images that go through the student for each image of an epoch.
        folder: Where the run is.
    """

    label: str
    settings: DistillSettings
    passes: int
    folder: Path

    @property
    def seed(self) -> int:
        """What every random draw starts from."""
        return self.settings.seed

    @property
    def name(self) -> str:
        """Name of the run, unique in a comparison."""
        return self.folder.name

    @property
    def run(self) -> RunFolder:
        """The run folder."""
        return RunFolder(self.folder)

    def student_images(self, images: int) -> int:
        """Images that the student sees in the whole training, of `images` to train on."""
        settings = self.settings
        return settings.epochs * min(images, settings.images_per_epoch) * self.passes


def plan_runs(settings: CompareSettings, images: int) -> list[PlannedRun]:
    """Every training, seed by seed, so that a comparison cut short is one of fewer seeds.

    Args:
        settings: Of the command, with dataset and student named.
        images: Images to train on.

    Raises:
        ConfigError: A method cannot be trained as it is told to be; all faults are reported.
    """
    faults: list[str] = []
    runs = []
    for label in settings.methods:
        try:
            runs.append([_planned(settings, label, seed, images) for seed in settings.seeds])
        except ConfigError as error:
            faults += [f"{label}: {problem}" for problem in error.problems]
    if faults:
        raise ConfigError(faults)
    return [of_method[place] for place in range(len(settings.seeds)) for of_method in runs]


def protocol(settings: CompareSettings, seed: int = 0, **own: Any) -> DistillSettings:
    """What all trainings of a comparison share, as settings of `ram distill`.

    Args:
        settings: Of the command.
        seed: Of the training.
        own: Settings of the method alone.

    Raises:
        ConfigError: A value cannot be used.
    """
    shared = {
        name: value
        for name, value in settings.model_dump().items()
        if name in DistillSettings.model_fields
    }
    # Nothing of the tests is looked at before all trainings have ended.
    return DistillSettings.settled({**shared, "test_datasets": (), **own, "seed": seed})


def _planned(settings: CompareSettings, label: str, seed: int, images: int) -> PlannedRun:
    own: dict[str, Any] = {"method": label, **_own_fields(settings.own.get(label, {}))}
    distill = protocol(settings, seed, **own)
    _check_heard(own, METHODS[distill.method])
    passes = _passes(distill)
    if settings.budget == "images":
        distill = _counted_in_views(distill, passes, images)
    return PlannedRun(label, distill, passes, settings.output / "runs" / f"{label}-seed{seed}")


def _own_fields(said: dict[str, str]) -> dict[str, str]:
    """Settings of one method by field, published names included.

    Raises:
        ConfigError: There is no such setting, or all methods share it.
    """
    names = DistillSettings.names()
    faults = []
    for name in said:
        field = names.get(name)
        if field is None:
            faults.append(f"--set: unknown setting {name}{did_you_mean(name, OWN_FIELDS)}")
        elif field not in OWN_FIELDS:
            faults.append(f"--set: {name} is part of the protocol, the same for all methods")
    if faults:
        raise ConfigError(faults)
    return {names[name]: value for name, value in said.items()}


def _check_heard(own: Iterable[str], method: MethodEntry) -> None:
    """Refuse settings of a method that it would not look at.

    Raises:
        ConfigError: There are such.
    """
    views = {"views", "mixup_alpha"} if method.takes_views else set()
    heard = {*method.weights, *_OF_KIND.get(method.kind, ()), *views}
    faults = [
        f"--set: {method.name} has no {name}{did_you_mean(name, heard)}"
        + (f" It has {', '.join(sorted(heard))}." if heard else "")
        for name in own
        if name not in heard | _OF_ALL_METHODS
    ]
    if faults:
        raise ConfigError(faults)


def _passes(settings: DistillSettings) -> int:
    """Images that go through the student for each image that is trained on."""
    method = METHODS[settings.method]
    if method.takes_views:
        return settings.views or method.views or 1
    if not (settings.symmetric and method.runs_symmetric):
        return 1
    return 3 if method.kind == "ranked" else 2 + settings.negatives


def _counted_in_views(settings: DistillSettings, passes: int, images: int) -> DistillSettings:
    """The settings with epochs and batches of as many images as make the views that are asked for.

    Raises:
        ConfigError: A batch of so many views holds no whole number of images.
    """
    if settings.batch_size % passes:
        whole = -(-settings.batch_size // passes) * passes
        raise ConfigError(
            f"batch_size: {settings.batch_size} views are no whole number of images of {passes} "
            f"views each. Use --batch-size {whole}, other --views, or --budget steps."
        )
    views = min(images, settings.images_per_epoch)
    update = {
        "batch_size": settings.batch_size // passes,
        "images_per_epoch": max(1, views // passes),
    }
    return settings.model_copy(update=update)


def summary(settings: CompareSettings, runs: Sequence[PlannedRun], images: int) -> dict[str, Any]:
    """The protocol in a few values, for the head of a table.

    Args:
        settings: Of the command.
        runs: All trainings.
        images: Images to train on.
    """
    return {
        "teacher": settings.teacher,
        "student": settings.student,
        "trained on": settings.dataset,
        "seeds": list(settings.seeds),
        "epochs": settings.epochs,
        "budget": settings.budget,
        "per epoch": min(images, settings.images_per_epoch),
        "batch": settings.batch_size * settings.accumulate,
        "lr": settings.lr,
        "images": images,
        "runs": len(runs),
    }
