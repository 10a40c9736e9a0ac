"""What a study leaves behind, and how its trials report themselves."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ram_cli.engine.study import TRIALS, TrialRecord
from ram_cli.progress import Reporter, TableData, Task

_HEADINGS = {"lr": "lr", "lambda_ts": "λ1", "lambda_ss": "λ2"}


def best_of(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """The complete trial with the highest score, the earliest of equals; None before the first."""
    complete = [r for r in records if r.state == "complete" and r.score is not None]
    return max(complete, key=lambda r: (r.score, -r.number), default=None)


@dataclass(frozen=True, slots=True)
class TuneResult:
    """All trials of a study.

    Attributes:
        output: Folder of the study.
        trials: In the order of their numbers.
        best: The best complete one, if any is complete.
        config: Its settings, a file for `ram distill --config`.
    """

    output: Path
    trials: Sequence[TrialRecord]
    best: TrialRecord | None
    config: Path | None

    def to_json(self) -> dict[str, Any]:
        """The result as one JSON document; scores are mAP in percent."""
        return {
            "output": str(self.output),
            "best": None if self.best is None else self._trial(self.best),
            "config": None if self.config is None else str(self.config),
            "trials": [self._trial(record) for record in self.trials],
        }

    def _trial(self, record: TrialRecord) -> dict[str, Any]:
        return {
            "number": record.number,
            "state": record.state,
            "values": dict(record.values),
            "map": record.score,
            "epochs": record.epochs,
            "run": str(self.output / TRIALS / f"{record.number:03d}"),
            **({"reason": record.reason} if record.reason else {}),
        }

    def tables(self) -> list[TableData]:
        """One row per trial."""
        names = [name for name in _HEADINGS if any(name in r.values for r in self.trials)]
        columns = ["trial", *(_HEADINGS[name] for name in names), "mAP", "epochs", "state", ""]
        rows = [
            [
                str(record.number),
                *(f"{record.values[n]:.4g}" if n in record.values else "" for n in names),
                "" if record.score is None else f"{record.score:.2f}",
                str(record.epochs),
                record.state,
                "best" if record is self.best else "",
            ]
            for record in self.trials
        ]
        title = "trials, by mAP on validation classes"
        return [TableData(title, columns, rows, numeric=set(range(len(columns) - 2)))]

    def notes(self) -> list[str]:
        """What is still under way, and what to do with the best settings."""
        lines = [
            f"trial {record.number} is {record.state} elsewhere"
            for record in self.trials
            if record.state in ("running", "waiting")
        ]
        if self.config is not None:
            lines.append(f"the final run: ram distill --config {self.config} --final")
        return lines


@dataclass(frozen=True, slots=True)
class TrialReporter:
    """Progress of one trial, without the remarks that every trial would repeat."""

    reporter: Reporter
    number: int

    def task(
        self, description: str, total: int | None, unit: str = "images", done: int = 0
    ) -> AbstractContextManager[Task]:
        """Open a piece of work under the trial's number."""
        return self.reporter.task(f"trial {self.number}: {description}", total, unit, done)

    def note(self, message: str) -> None:
        """Leave the remark out."""

    def warn(self, message: str) -> None:
        """Pass a warning on."""
        self.reporter.warn(f"trial {self.number}: {message}")
