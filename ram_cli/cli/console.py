"""The only user of rich: reports go to stdout, progress and remarks to stderr."""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ram_cli.cli.columns import column_widths
from ram_cli.cli.meter import Meter
from ram_cli.cli.text import printable, printable_json, shortened, values_line
from ram_cli.errors import OutputError
from ram_cli.progress import TableData, Task

INTERVAL = 10.0
"""Seconds between two lines of a task where there is no terminal to draw on."""
LONGEST_DESCRIPTION = 26


class Report(Protocol):
    """What a recipe returns."""

    def to_json(self) -> dict[str, Any]:
        """Return the document that `--json` prints."""
        ...

    def tables(self) -> list[TableData]:
        """Return the tables to print."""
        ...

    def notes(self) -> list[str]:
        """Return the remarks that go with the tables."""
        ...


class _MeterTask:
    def __init__(self, meter: Meter, changed: Callable[[], None]) -> None:
        self._meter, self._changed = meter, changed

    def advance(self, amount: int = 1, **values: float | str) -> None:
        """Count `amount` more units, with the latest values."""
        self._meter.advance(amount, **values)
        self._changed()


class ConsoleReporter:
    """Draws bars where stderr is a terminal, and prints a line now and then where it is not.

    Args:
        stream: Where to report; stderr, if left out.
        clock: Seconds, from any start.
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = Console(file=stream or sys.stderr, highlight=False)
        self._clock = clock
        self._meters: list[Meter] = []
        self._live: Live | None = None
        self._noted: set[str] = set()

    @contextmanager
    def task(
        self, description: str, total: int | None, unit: str = "images", done: int = 0
    ) -> Iterator[Task]:
        """Open a piece of work of `total` units, `done` of them already behind it."""
        meter = Meter(printable(description), total, unit, done, clock=self._clock)
        self._meters.append(meter)
        drawing = self._draws() if self._console.is_terminal else self._lines(meter)
        try:
            with drawing as changed:
                yield _MeterTask(meter, changed)
        finally:
            self._meters.remove(meter)

    def note(self, message: str) -> None:
        """Say something a person may want to know, once."""
        if message not in self._noted:  # a demo opens the same dataset in each of its parts
            self._noted.add(message)
            self._say("", message)

    def warn(self, message: str) -> None:
        """Say something a person should act on."""
        self._say("warning: ", message, style="yellow")

    def fail(self, message: str, kind: str = "error") -> None:
        """Say why the command stops, one line per fault."""
        self._say(f"{kind}: ", message, style="bold red")

    def _say(self, label: str, message: str, style: str = "") -> None:
        for line in message.splitlines():
            self._console.print(Text.assemble((label, style), printable(line)), soft_wrap=True)

    @contextmanager
    def _draws(self) -> Iterator[Callable[[], None]]:
        """Keep the bars of all open tasks on the terminal; the outermost task takes them away."""
        if self._live is not None:
            yield _nothing
            return
        with Live(
            console=self._console, get_renderable=self._bars, refresh_per_second=4, transient=True
        ) as self._live:
            try:
                yield _nothing
            finally:
                self._live = None

    def _bars(self) -> Table:
        return bars(list(self._meters), self._console.width)

    @contextmanager
    def _lines(self, meter: Meter) -> Iterator[Callable[[], None]]:
        last = self._clock()

        def changed() -> None:
            nonlocal last
            # The line that closes the task follows at once on the last unit.
            if meter.done != meter.total and self._clock() - last >= INTERVAL:
                last = self._clock()
                self._say("", line_of(meter))

        yield changed
        self._say("", line_of(meter))


def _nothing() -> None:
    """Leave the drawing to the refreshing thread."""


def line_of(meter: Meter) -> str:
    """Return the state of a task as one line of text."""
    counts = f"{meter.counts()} {meter.unit}"
    parts = [meter.description, counts, meter.speed(), meter.times(), values_line(meter.values)]
    return ", ".join(part for part in parts if part)


def bars(meters: Sequence[Meter], width: int) -> Table:
    """Lay out open tasks, each as a line with a bar and, below it, its latest values.

    Args:
        meters: Open tasks, outermost first.
        width: Width of the terminal, characters.
    """
    grid = Table.grid(padding=(0, 1))
    grid.width = width
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1, no_wrap=True)
    for _ in range(3):
        grid.add_column(no_wrap=True, justify="right")
    for meter in meters:
        grid.add_row(
            Text(shortened(meter.description, LONGEST_DESCRIPTION)),
            ProgressBar(total=meter.total, completed=meter.done, pulse=meter.total is None),
            meter.counts(),
            meter.speed(),
            meter.times(),
        )
    lines = Table.grid()
    lines.add_column(no_wrap=True, overflow="ellipsis")
    lines.add_row(grid)
    for meter in meters:
        if meter.values:
            lines.add_row(Text(f"  {values_line(meter.values)}", style="dim"))
    return lines


def show(report: Report, *, as_json: bool, reporter: ConsoleReporter) -> None:
    """Print a report: tables, or one JSON document, on stdout; remarks on stderr.

    Args:
        report: What a recipe returned.
        as_json: Whether to print JSON.
        reporter: Receiver of the remarks.

    Raises:
        OutputError: The file that stdout leads to cannot be written.
    """
    try:
        if sys.stdout is None:  # closed before the call: nobody reads
            pass
        elif as_json:
            document = json.dumps(_plain(report.to_json()), indent=2, ensure_ascii=False)
            sys.stdout.write(f"{printable_json(document)}\n")
        else:
            _print_tables(report.tables())
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read has read enough
        raise
    except OSError as error:
        raise OutputError(f"cannot write to standard output: {error.strerror}.") from error
    for note in report.notes():
        reporter.note(note)


def _print_tables(tables: Sequence[TableData]) -> None:
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = 10_000  # a file or a pipe has no width to fit into
    for table in tables:
        if console.is_terminal:
            console.print(_laid_out(table, console.width))
        else:
            with console.capture() as printed:
                console.print(_laid_out(table, console.width))
            # Cells are filled up to the width of their column, the last one as well.
            console.out("\n".join(line.rstrip() for line in printed.get().splitlines()))
        console.print()


def _laid_out(table: TableData, available: int) -> Table:
    laid_out = Table(
        title=Text(printable(table.title)), title_justify="left", title_style="bold", box=None
    )
    head = [printable(column) for column in table.columns]
    rows = [[printable(cell) for cell in row] for row in table.rows]
    widths = column_widths([head, *rows], available)
    for place, (column, width) in enumerate(zip(head, widths, strict=True)):
        justify: Any = "right" if place in table.numeric else "left"
        laid_out.add_column(Text(column), justify=justify, overflow="fold", width=width)
    for row in rows:
        laid_out.add_row(*(Text(cell) for cell in row))
    return laid_out


def _plain(value: Any) -> Any:
    """Return `value` as JSON can hold it: no NaN, no arrays, no paths."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    return str(value)
