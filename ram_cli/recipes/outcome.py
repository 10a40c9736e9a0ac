"""What a training leaves behind, and its tests on classes that it has not seen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ram_cli.datasets import Dataset, ImageSet
from ram_cli.engine import Position, RunFolder, Runtime
from ram_cli.errors import DataError
from ram_cli.models import Embedder, load_model
from ram_cli.progress import Reporter, TableData
from ram_cli.recipes.common import chosen_fit, open_dataset, worker_count
from ram_cli.recipes.comparison import Comparison
from ram_cli.recipes.rows import ResultRow, rows_table
from ram_cli.settings import DistillSettings, TrainSettings


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a finished training leaves behind.

    Attributes:
        run: The run folder.
        model: The model folder to use: the best validated one, else the final one.
        validation: Metrics of the last validation, in percent; empty without validation.
        best_epoch: Epoch of the best validation, counted from 1.
        steps: Optimiser steps taken.
        seconds: Time spent, over all restarts.
        tests: Results on the test datasets.
    """

    run: Path
    model: Path
    validation: Mapping[str, float]
    best_epoch: int | None
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
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "tests": [row.to_json() for row in self.tests],
        }

    def tables(self) -> list[TableData]:
        """The last validation, and the tests."""
        shown = []
        if self.validation:
            names = list(self.validation)
            values = [f"{self.validation[name]:.1f}" for name in names]
            shown.append(TableData("validation", names, [values], numeric=set(range(len(names)))))
        if self.tests:
            shown.append(rows_table("test", self.tests))
        return shown

    def notes(self) -> list[str]:
        """Where the model is."""
        best = f", best of epoch {self.best_epoch}" if self.best_epoch else ""
        return [
            f"model: {self.model}{best}",
            f"run: {self.run} ({self.steps} steps, {self.seconds:.0f} s)",
        ]


def finished(run: RunFolder, position: Position) -> TrainingResult:
    """The result of a training that has come to its end."""
    return TrainingResult(
        run=run.path,
        model=run.best if position.best_epoch is not None else run.final,
        validation=position.metrics,
        best_epoch=position.best_epoch,
        steps=position.step,
        seconds=position.seconds,
    )


def open_tests(settings: TrainSettings | DistillSettings, reporter: Reporter) -> list[Dataset]:
    """The datasets to test on after training, which is told now if one cannot be tested on.

    Raises:
        DataError: One is missing, or has no test classes.
    """
    tests = [open_dataset(name, settings, reporter) for name in settings.test_datasets]
    for data in tests:
        if len(data.test) == 0:
            raise DataError(
                f"{data.name} has no test classes. Leave --final and it out, and name others with "
                "--test-datasets."
            )
    return tests


def test_afterwards(
    result: TrainingResult,
    datasets: Sequence[Dataset],
    settings: TrainSettings | DistillSettings,
    runtime: Runtime,
    reporter: Reporter,
    rows: Callable[[Comparison, Embedder, ImageSet], list[ResultRow]],
) -> TrainingResult:
    """Test the trained model once, on classes that neither training nor validation has seen."""
    if not datasets:
        return result
    comparison = Comparison(
        runtime, workers=worker_count(settings.workers, runtime), reporter=reporter
    )
    trained = load_model(result.model)
    for data in datasets:
        comparison.fits[data.test.name] = chosen_fit(settings.fit, data)
    tests = [row for data in datasets for row in rows(comparison, trained, data.test)]
    return replace(result, tests=tests)
