"""What the models of a comparison find, each measured once, and its mean over the seeds."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ram_cli.datasets import Dataset
from ram_cli.files import write_text
from ram_cli.models import load_model, model_hash
from ram_cli.recipes.compare_plan import PlannedRun
from ram_cli.recipes.comparison import Comparison, Side
from ram_cli.recipes.outcome import TrainingResult

METRICS = {"asym_map": "map", "asym_r1": "recall_at_1", "sym_map": "map", "sym_r1": "recall_at_1"}
"""Metrics of a comparison, and what a row of a test calls them."""

Measured = dict[str, dict[str, float]]
"""Metrics and cost by dataset."""


@dataclass(frozen=True, slots=True)
class CompareRow:
    """One line of the table: a method over its seeds, or the teacher.

    Attributes:
        dataset: Dataset and split.
        label: Method, variant, or what the teacher is asked to do.
        values: Metrics in percent and `train_seconds`, each a list over `seeds`.
        seeds: Seeds whose training ended; empty for the teacher.
        student_images: Images that the student saw in a training.
        gmac: 10⁹ multiply-adds of a query.
        milliseconds: Time of a query.
        failures: Why a training did not end, by seed.
    """

    dataset: str
    label: str
    values: Mapping[str, Sequence[float]]
    seeds: Sequence[int] = ()
    student_images: int = 0
    gmac: float = math.nan
    milliseconds: float = math.nan
    failures: Mapping[int, str] = field(default_factory=dict)

    @property
    def is_teacher(self) -> bool:
        """Whether it is a baseline that nothing was trained for."""
        return not self.seeds and not self.failures

    def mean(self, name: str) -> float:
        """Mean over the seeds; NaN where there is none."""
        values = self.values.get(name, ())
        return statistics.fmean(values) if values else math.nan

    def std(self, name: str) -> float:
        """Standard deviation over the seeds (of a sample); NaN for fewer than two."""
        values = self.values.get(name, ())
        return statistics.stdev(values) if len(values) > 1 else math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """Measures models on test classes, and writes down what it has measured.

    Attributes:
        comparison: Embeds and searches.
        teacher: Gallery network.
        datasets: Whose test images to search.
        folder: Where results are kept, one file per model.
    """

    comparison: Comparison
    teacher: Side
    datasets: Sequence[Dataset]
    folder: Path

    def baselines(self, query_size: int) -> list[CompareRow]:
        """The teacher with large queries, and with queries of the student's size."""
        model = self.teacher.model
        sizes = [self.teacher.size]
        if query_size != self.teacher.size and model.backbone.takes_size(query_size):
            sizes.append(query_size)
        rows = []
        for size in sizes:
            measured = self._kept(f"teacher-{size}", self.teacher.at(size))
            rows += [
                CompareRow(
                    name,
                    f"teacher, queries of {size} px",
                    {metric: [of[metric]] for metric in METRICS},
                    gmac=of["query_gmac"],
                    milliseconds=of["query_ms"],
                )
                for name, of in measured.items()
            ]
        return rows

    def student(self, planned: PlannedRun, result: TrainingResult) -> Measured:
        """Results of the student that a training ended with."""
        model = load_model(result.model)
        side = Side(planned.name, model, model.spec.size)
        measured = self._kept(planned.name, side)
        self.comparison.forget(side)
        return measured

    def _kept(self, name: str, query: Side) -> Measured:
        """Results that were written down for exactly these models and images, else new ones."""
        path = self.folder / f"{name}.json"
        key = {
            "query": [model_hash(query.model), query.size],
            "gallery": [model_hash(self.teacher.model), self.teacher.size],
            "content": {data.name: data.content_hash for data in self.datasets},
            "computed on": self.comparison.runtime.describe(),
        }
        try:
            found = json.loads(path.read_text("utf-8"))
            if found["key"] == key:
                return {str(data): dict(of) for data, of in found["measured"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass  # not there, or not ours: measured anew and written over
        measured = {data.test.name: self._measure(query, data) for data in self.datasets}
        document = {"key": key, "measured": measured}
        write_text(path, json.dumps(document, indent=1) + "\n")
        return measured

    def _measure(self, query: Side, data: Dataset) -> dict[str, float]:
        asym = self.comparison.row(query, self.teacher, data.test).to_json()
        sym = self.comparison.row(query, query, data.test).to_json()
        sides = {"asym": asym, "sym": sym}
        found = {name: sides[name.split("_")[0]][key] for name, key in METRICS.items()}
        return {**found, "query_gmac": asym["query_gmac"], "query_ms": asym["query_ms"]}


def gather(
    planned: Sequence[PlannedRun],
    results: Mapping[str, TrainingResult],
    measured: Mapping[str, Measured],
    failures: Mapping[str, str],
    datasets: Sequence[str],
    images: int,
) -> list[CompareRow]:
    """One row per dataset and method: the best first, failed ones last.

    Args:
        planned: All trainings.
        results: Of those that ended, by name.
        measured: What their models find, by name.
        failures: Why the others did not end, by name.
        datasets: Names of the test images.
        images: Images trained on.
    """
    rows = []
    for dataset in datasets:
        of_dataset = []
        for label in dict.fromkeys(run.label for run in planned):
            own = [run for run in planned if run.label == label]
            ended = [run for run in own if run.name in measured]
            found = [measured[run.name][dataset] for run in ended]
            values = {name: [of[name] for of in found] for name in METRICS}
            values["train_seconds"] = [results[run.name].seconds for run in ended]
            of_dataset.append(
                CompareRow(
                    dataset,
                    label,
                    values,
                    [run.seed for run in ended],
                    own[0].student_images(images),
                    found[0]["query_gmac"] if found else math.nan,
                    statistics.median(of["query_ms"] for of in found) if found else math.nan,
                    {run.seed: failures[run.name] for run in own if run.name in failures},
                )
            )
        rows += sorted(of_dataset, key=_rank)
    return rows


def _rank(row: CompareRow) -> float:
    score = row.mean("asym_map")
    return math.inf if math.isnan(score) else -score


def row_json(row: CompareRow) -> dict[str, Any]:
    """The row with means, deviations and the values of every seed."""
    names = [*METRICS, "train_seconds"]
    return {
        "dataset": row.dataset,
        "label": row.label,
        "teacher": row.is_teacher,
        "seeds": list(row.seeds),
        **{name: row.mean(name) for name in names},
        **{f"{name}_std": row.std(name) for name in names},
        "by_seed": {name: list(row.values.get(name, ())) for name in names},
        "student_images": row.student_images,
        "query_gmac": row.gmac,
        "query_ms": row.milliseconds,
        "failures": {str(seed): why for seed, why in row.failures.items()},
    }
