"""The part of `ram train` and `ram distill` that is the same: a network, an objective, a run."""

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from accelerate.utils import set_seed
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ram_cli.datasets import Dataset
from ram_cli.engine import (
    FitPlan,
    Objective,
    Position,
    RunFolder,
    Runtime,
    Trainer,
    build_optimiser,
    build_schedule,
    make_accelerator,
    total_steps,
)
from ram_cli.engine.collectives import first_one_first
from ram_cli.engine.fit import Validate, Watch
from ram_cli.errors import ConfigError, OutputError
from ram_cli.evaluation.extract import place
from ram_cli.models import (
    Embedder,
    freeze_batchnorm_statistics,
    save_model,
    share_batchnorm_statistics,
)
from ram_cli.processes import process_count
from ram_cli.progress import Reporter
from ram_cli.recipes.common import (
    PLACE_FIELDS,
    choose_run_folder,
    chosen_fit,
    provenance,
    worker_count,
)
from ram_cli.recipes.copies import NONE
from ram_cli.settings import DistillSettings, TrainSettings

TrainingSettings = TrainSettings | DistillSettings
Training = TypeVar("Training", TrainSettings, DistillSettings)

MAY_CHANGE = PLACE_FIELDS | {
    "dataset",  # may have moved; its content is compared
    "teacher",  # likewise
    "skip_unreadable",
    "weights",
    "test_datasets",
    "precision",
    "engine",
    "log_every",
    "log_with",
    "comment",
    "save_every",
    "checkpoint_minutes",
}
"""Settings that a run may be resumed with other values of."""


def as_final(settings: Training) -> Training:
    """What `--final` means: no class is held back, and the dataset's own test comes at the end.

    Nothing is chosen by the test classes: the run has a fixed length, and its last weights count.
    """
    if not settings.final:
        return settings
    tests = dict.fromkeys((settings.dataset or "", *settings.test_datasets))
    return settings.model_copy(update={"val": False, "test_datasets": tuple(tests)})


@contextmanager
def open_run(settings: TrainingSettings, network: str) -> Iterator[RunFolder]:
    """Hold the folder of a new run, or of the one to go on with, while it is worked in.

    Raises:
        ConfigError: A run to go on with began with other settings.
        OutputError: The folder is taken, or cannot be written.
    """
    if settings.resume is not None:
        run = RunFolder(settings.resume)
        _check_as_begun(settings, run)
    else:
        run = choose_run_folder(settings, settings.output, settings.dataset or "dataset", network)
        run.check_free()
    with run.lock():
        yield run


def changed_settings(settings: TrainingSettings, run: RunFolder) -> dict[str, tuple[Any, Any]]:
    """What a run began with and what is said now, by setting, where they must not differ and do."""
    began = tomllib.loads(run.config.read_text("utf-8")).get(settings.table, {})
    now = tomllib.loads(settings.to_toml())[settings.table]
    return {
        name: (began[name], now[name])
        for name in now
        if name in began and name not in MAY_CHANGE and now[name] != began[name]
    }


def _check_as_begun(settings: TrainingSettings, run: RunFolder) -> None:
    """Refuse what would make a run end as neither its old nor its new settings say."""
    faults = [
        f"{name}: {now} here, but {run.path} began with {began}. Leave it as it was, "
        f"or start a new run with --config {run.config}."
        for name, (began, now) in changed_settings(settings, run).items()
    ]
    if settings.output not in (None, run.path):
        faults.append(f"output: {run.path} goes on in its own folder. Leave --output out.")
    if faults:
        raise ConfigError(faults)


def train_network(
    settings: TrainingSettings,
    run: RunFolder,
    model: Embedder,
    objective: Objective,
    dataset: Dataset,
    runtime: Runtime,
    reporter: Reporter,
    *,
    validate: Validate | None,
    record: Mapping[str, Any],
    copies: str = NONE,
    watch: Watch | None = None,
) -> Position:
    """Train `model` in `run` as the settings say, from where the run stands.

    Args:
        settings: Of the command.
        run: Held by this process.
        model: The network, moved to the runtime's device.
        objective: What to optimise.
        dataset: What is trained on, for the record.
        runtime: Where and how to compute.
        reporter: Told of the progress.
        validate: Metrics between epochs.
        record: More facts for the model folder, such as the teacher.
        copies: Identity of the copies that stand for the images, see `training_images`.
        watch: Told of every validation; what it raises ends the training.
    """
    model.config = replace(model.config, fit=chosen_fit(settings.fit, dataset))
    if copies != NONE:
        record = {**record, "image_copies": copies}
    with first_one_first():
        _begin(settings, run, dataset, record, copies)
    if fallback := run.fallback():
        reporter.warn(fallback)
    # Here, before the first step: another memory format takes other kernels, whose last bits
    # differ, and a resumed run must take the same ones as the run it goes on with.
    place(model, runtime)
    if settings.freeze_bn:
        freeze_batchnorm_statistics(model)
    elif process_count() > 1:
        model = _with_shared_statistics(model, runtime)
    if settings.batch_size < process_count():
        reporter.warn(
            f"batch_size: {settings.batch_size} images leave some of {process_count()} processes "
            "without work. Use a larger --batch-size, and a smaller --accumulate."
        )
    tracker = None if settings.log_with == "none" else settings.log_with
    optimiser, schedule = _optimisation(settings, model, objective)

    def write_model(network: nn.Module, folder: Path, metrics: Mapping[str, float]) -> None:
        assert isinstance(network, Embedder)
        save_model(network, folder, provenance=provenance(settings, dataset, metrics, **record))

    plan = FitPlan(
        epochs=settings.epochs,
        accumulate=settings.accumulate,
        val_every=settings.val_every,
        save_every=settings.save_every,
        checkpoint_minutes=settings.checkpoint_minutes,
        log_every=settings.log_every,
        workers=worker_count(settings.workers, runtime),
    )
    trainer = Trainer(
        make_accelerator(runtime, folder=run.path, tracker=tracker),
        model,
        optimiser,
        schedule,
        objective,
        plan,
        run,
        save_model=write_model,
        validate=validate,
        watch=watch,
        reporter=reporter,
    )
    return trainer.fit()


def _begin(
    settings: TrainingSettings,
    run: RunFolder,
    dataset: Dataset,
    record: Mapping[str, Any],
    copies: str,
) -> None:
    """Claim the folder of a new run; hold one that goes on to what it began with."""
    hashes = {"dataset": dataset.content_hash}
    if "teacher" in record:
        hashes["teacher"] = record["teacher"]["hash"]
    if settings.resume is None:
        run.claim(settings.to_toml(), hashes | {"copies": copies})
    if not run.began_with("copies", copies):
        raise OutputError(
            f"the copies of images that {run.path} began with are gone, or are others now. Make "
            "them again with ram prepare --cache-size, or start a new run."
        )
    for name, digest in hashes.items():
        if not run.began_with(name, digest):
            raise OutputError(
                f"the {name} {getattr(settings, name)} is not as it was when {run.path} began. "
                "Restore it, or start a new run."
            )


def _with_shared_statistics(model: Embedder, runtime: Runtime) -> Embedder:
    """Let batch normalisation see the batches of all processes, as one process would."""
    if runtime.device.type != "cuda":
        raise ConfigError(
            "freeze_bn: processes on a CPU cannot share the statistics of a batch. Leave "
            "--no-freeze-bn out, or use one process."
        )
    return share_batchnorm_statistics(model)


def wants_copies(settings: TrainingSettings, run: RunFolder) -> bool:
    """Whether a training may read copies of images: as asked for, or as it began."""
    return settings.image_copies and run.first("copies") != NONE


def _optimisation(
    settings: TrainingSettings, model: Embedder, objective: Objective
) -> tuple[Optimizer, LRScheduler]:
    """Optimiser and schedule, planned for exactly the steps that will be taken."""
    optimiser = build_optimiser(
        model.parameter_groups(settings.lr, settings.weight_decay),
        settings.optimizer,
        settings.lr,
        settings.weight_decay,
        settings.momentum,
    )
    steps = total_steps(objective, settings.epochs, settings.accumulate)
    schedule = build_schedule(
        optimiser, settings.scheduler, settings.lr, steps, max(1, steps // settings.epochs)
    )
    return optimiser, schedule


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch, before networks draw their first weights."""
    set_seed(seed)
