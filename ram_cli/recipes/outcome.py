"""What a training leaves behind, and its tests on classes that it has not seen."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ram_cli.datasets import Dataset, SearchSet, is_search_set, load_search_set
from ram_cli.engine import Position, RunFolder, Runtime
from ram_cli.engine.collectives import by_first
from ram_cli.errors import DataError
from ram_cli.models import Embedder, load_model, read_provenance
from ram_cli.progress import Reporter, TableData
from ram_cli.recipes.blocks import VectorBlocks
from ram_cli.recipes.common import chosen_fit, open_dataset, worker_count
from ram_cli.recipes.comparison import Comparison, Side
from ram_cli.recipes.landmarks import LandmarkTest
from ram_cli.recipes.rows import ResultRow, test_tables
from ram_cli.settings import DistillSettings, TrainSettings


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a finished training leaves behind.

    Attributes:
        run: The run folder.
        model: The model folder to use: the best validated one, else the final one.
        validation: Metrics of that model, in percent; empty without validation.
        best_epoch: Epoch of the best validation, counted from 1.
        last_validation: Metrics after the last epoch, in percent.
        epochs: Epochs trained.
        steps: Optimiser steps taken.
        seconds: Time spent, over all restarts.
        tests: Results on the test datasets.
    """

    run: Path
    model: Path
    validation: Mapping[str, float]
    best_epoch: int | None
    last_validation: Mapping[str, float]
    epochs: int
    steps: int
    seconds: float
    tests: list[ResultRow] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The result as one JSON document."""
        return {
            "run": str(self.run),
            "model": str(self.model),
            "validation": dict(self.validation),
            "best_epoch": self.best_epoch,
            "last_validation": dict(self.last_validation),
            "epochs": self.epochs,
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "tests": [row.to_json() for row in self.tests],
        }

    def tables(self) -> list[TableData]:
        """The validation of the model to use, that of the last epoch, and the tests."""
        shown = []
        if self.validation:
            told = {f"{self.best_epoch}": self.validation}
            if self.best_epoch != self.epochs:
                told = {
                    f"{self.best_epoch}, kept": self.validation,
                    f"{self.epochs}, the last": self.last_validation,
                }
            columns = ["epoch", *self.validation]
            rows = [
                [epoch, *(_shown(metrics[name]) for name in self.validation)]
                for epoch, metrics in told.items()
            ]
            shown.append(
                TableData("validation", columns, rows, numeric=set(range(1, len(columns))))
            )
        return [*shown, *test_tables(self.tests)]

    def notes(self) -> list[str]:
        """Where the model is."""
        steps = "step" if self.steps == 1 else "steps"
        best = f", best of epoch {self.best_epoch}" if self.best_epoch else ""
        return [
            f"model: {self.model}{best}",
            f"run: {self.run} ({self.steps} {steps}, {self.seconds:.0f} s)",
        ]


def _shown(value: float | None) -> str:
    """A metric as it is printed; a model folder has none where nothing could be found."""
    return "–" if value is None or math.isnan(value) else f"{value:.1f}"


def finished(run: RunFolder, position: Position) -> TrainingResult:
    """The result of a training that has come to its end."""
    best = position.best_epoch is not None
    return TrainingResult(
        run=run.path,
        model=run.best if best else run.final,
        validation=read_provenance(run.best).get("metrics", {}) if best else {},
        best_epoch=position.best_epoch,
        last_validation=position.metrics,
        epochs=position.epoch,
        steps=position.step,
        seconds=position.seconds,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Tests:
    """What to test on after training: datasets by their test classes, sets that are searched."""

    datasets: Sequence[Dataset]
    searches: Sequence[SearchSet]

    __test__ = False  # not a test case, whatever pytest takes it for


def open_tests(
    settings: TrainSettings | DistillSettings, trained_on: Dataset, reporter: Reporter
) -> Tests:
    """What to test on after training, opened now, so that what is missing is told before it.

    A dataset trained on by `--final` that has no test classes, as landmarks have none, is left out
    where others are named.

    Args:
        settings: Of the training.
        trained_on: Its dataset, which need not be opened again.
        reporter: Told what the others hold.

    Raises:
        DataError: One is missing, or has no test classes.
    """
    searches = [
        by_first(
            partial(
                load_search_set,
                name,
                settings.data_root,
                skip_unreadable=settings.skip_unreadable,
                reporter=reporter,
            )
        )
        for name in settings.test_datasets
        if is_search_set(name)
    ]
    datasets = []
    for name in settings.test_datasets:
        if is_search_set(name):
            continue
        same = name == settings.dataset
        data = trained_on if same else open_dataset(name, settings, reporter)
        if len(data.test):
            datasets.append(data)
        elif settings.final and same and len(settings.test_datasets) > 1:
            reporter.note(f"{data.name} has no test classes; only the others are tested on")
        else:
            raise DataError(
                f"{data.name} has no test classes. Leave --final and it out, and name others with "
                "--test-datasets."
            )
    return Tests(datasets, searches)


def test_afterwards(
    result: TrainingResult,
    tests: Tests,
    settings: TrainSettings | DistillSettings,
    runtime: Runtime,
    reporter: Reporter,
    pairs: Callable[[Embedder], Sequence[tuple[Side, Side]]],
) -> TrainingResult:
    """Test the trained model once, on classes that neither training nor validation has seen.

    Args:
        result: Of the training.
        tests: What to test on.
        settings: Of the training.
        runtime: Where and how to compute.
        reporter: Told of the progress.
        pairs: Gives the query and gallery side of every search, from the trained model.
    """
    if not tests.datasets and not tests.searches:
        return result
    workers = worker_count(settings.workers, runtime)
    comparison = Comparison(runtime, workers=workers, reporter=reporter)
    sides = pairs(load_model(result.model))
    for data in tests.datasets:
        comparison.fits[data.test.name] = chosen_fit(settings.fit, data)
    rows = [
        comparison.row(query, gallery, data.test)
        for data in tests.datasets
        for query, gallery in sides
    ]
    blocks = VectorBlocks(settings.data_root, runtime, workers=workers, reporter=reporter)
    landmarks = LandmarkTest(comparison, blocks)
    rows += [
        row
        for search in tests.searches
        for query, gallery in sides
        for row in landmarks.rows(query, gallery, search)
    ]
    return replace(result, tests=rows)
