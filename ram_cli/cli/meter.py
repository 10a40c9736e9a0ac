"""Counts the work of a task and tells how fast it goes, over the last half minute."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ram_cli.cli.text import count, duration

WINDOW = 30.0
"""Seconds over which the rate is taken: the start of the work, often slow, soon stops counting."""
FEWEST = 8
"""Steps it is taken over at least, however long they are: one of many trainings says little."""


@dataclass
class Meter:
    """Progress of one task.

    Attributes:
        description: What is done.
        total: Units to do; None if nobody knows.
        unit: What is counted.
        done: Units done, those of an earlier run included.
        values: Latest named values.
        clock: Seconds, from any start.
    """

    description: str
    total: int | None
    unit: str
    done: int
    values: dict[str, float | str] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._start = self.clock()
        self._marks = deque([(self._start, self.done)])

    def advance(self, amount: int = 1, **values: float | str) -> None:
        """Count `amount` more units and keep the latest values."""
        self.done += amount
        self.values = self.values | values  # a new one: the drawing thread may hold the old
        now = self.clock()
        self._marks.append((now, self.done))
        while len(self._marks) > FEWEST and now - self._marks[1][0] > WINDOW:
            self._marks.popleft()

    @property
    def elapsed(self) -> float:
        """Seconds since the task was opened."""
        return self.clock() - self._start

    @property
    def rate(self) -> float:
        """Units per second over the window; 0 before anything was done."""
        (start, before), (_, done) = self._marks[0], self._marks[-1]
        seconds = self.clock() - start
        return (done - before) / seconds if seconds > 0 else 0.0

    @property
    def remaining(self) -> float | None:
        """Seconds to go at this rate; None if nobody knows."""
        if self.total is None or not self.rate:
            return None
        return max(self.total - self.done, 0) / self.rate

    def counts(self) -> str:
        """Return `1,200/8,000`."""
        return f"{self.done:,}" if self.total is None else f"{self.done:,}/{self.total:,}"

    def speed(self) -> str:
        """Return `85.3 images/s`, or `32.1 s each` of what takes longer than a second."""
        rate = self.rate
        return f"{count(1 / rate)} s each" if 0 < rate < 1 else f"{count(rate)} {self.unit}/s"

    def times(self) -> str:
        """Return the time taken and the time to go, `0:14 ETA 1:20`."""
        left = self.remaining
        return duration(self.elapsed) + (f" ETA {duration(left)}" if left else "")
