"""How long work reports itself, without knowing about terminals.

The command line passes a reporter that draws bars; everything else passes `SILENT` or its own.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TableData:
    """One table of a report, as text; the command line lays it out.

    Attributes:
        title: What the table shows.
        columns: Heading of each column.
        rows: Cells of each row, one per column.
        numeric: Indices of the columns that hold numbers and are set flush right.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    numeric: set[int] = field(default_factory=set)


class Task(Protocol):
    """One piece of long work."""

    def advance(self, amount: int = 1, **values: float | str) -> None:
        """Report `amount` more units done, with the latest named values (loss, mAP, …)."""


class Reporter(Protocol):
    """Receiver of progress and remarks."""

    def task(
        self, description: str, total: int | None, unit: str = "images", done: int = 0
    ) -> AbstractContextManager[Task]:
        """Open a piece of work of `total` units, `done` of them already behind it."""
        ...

    def note(self, message: str) -> None:
        """Say something a person may want to know."""

    def warn(self, message: str) -> None:
        """Say something a person should act on."""


class _SilentTask:
    def advance(self, amount: int = 1, **values: float | str) -> None:
        """Ignore progress."""


class _SilentReporter:
    @contextmanager
    def task(
        self, description: str, total: int | None, unit: str = "images", done: int = 0
    ) -> Iterator[Task]:
        """Open a task that ignores its progress."""
        yield _SilentTask()

    def note(self, message: str) -> None:
        """Ignore a remark."""

    def warn(self, message: str) -> None:
        """Ignore a warning."""


SILENT: Reporter = _SilentReporter()
"""Reporter that says nothing."""
