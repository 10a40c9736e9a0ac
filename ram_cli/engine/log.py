"""What a run writes down as it goes: one JSON object per line, and the trackers of accelerate."""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from ram_cli.files import write_text
from ram_cli.processes import is_first

TRACKER_FOLDER = "tensorboard"


class RunLog:
    """`log.jsonl` and `tensorboard/` of a run folder.

    Every record carries its optimiser `step`. A resumed run drops the records past the checkpoint
    it starts from, because those steps are taken again.

    Args:
        folder: The run folder, which is the accelerator's project folder too.
        accelerator: Its trackers receive every number as `kind/name`.
        resume_step: Last optimiser step to keep of what an earlier start has written; 0 keeps none.
    """

    def __init__(self, folder: Path, accelerator: Accelerator, *, resume_step: int) -> None:
        self.path = folder / "log.jsonl"
        self._accelerator = accelerator
        if is_first():
            self._drop_after(resume_step)
        accelerator.init_trackers(
            TRACKER_FOLDER, init_kwargs={"tensorboard": {"purge_step": resume_step + 1}}
        )
        self._file = self.path.open("a", encoding="utf-8") if is_first() else None

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Append one record; the first process of a job does."""
        if self._file is None:
            return
        self._file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        self._file.flush()
        numbers = {
            f"{kind}/{name}": value
            for name, value in values.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        self._accelerator.log(numbers, step=step)

    def close(self) -> None:
        """Flush and close everything."""
        if self._file is not None:
            self._file.close()
        # Not `end_training`, after which the processes of a job could say no more to each other.
        for tracker in self._accelerator.trackers:
            tracker.finish()

    def _drop_after(self, step: int) -> None:
        if not self.path.exists():
            return
        kept = [line for line in self.path.read_text("utf-8").splitlines() if _step(line) <= step]
        write_text(self.path, "".join(line + "\n" for line in kept))


class StepWindow:
    """Means over the steps since the last record in the log."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.sums: dict[str, float] = {}
        self.steps = self.images = 0
        self.lr = math.nan
        self.since = time.monotonic()

    def add(self, values: Mapping[str, float], images: int, lr: float) -> None:
        """Take in one optimiser step, taken at the learning rate `lr`."""
        self.lr = lr
        self.steps += 1
        self.images += images
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def report(self, log: RunLog, epoch: int, step: int, every: int, *, last: bool) -> None:
        """Write a record every `every` steps, counted over the whole run, and at the `last` one."""
        if step % every and not last:
            return
        means = {name: value / self.steps for name, value in self.sums.items()}
        rate = self.images / max(time.monotonic() - self.since, 1e-9)
        log.write("train", step, epoch=epoch, lr=self.lr, images_per_second=rate, **means)
        self._clear()


def _step(line: str) -> float:
    """Step of a record; a line cut short by a crash counts as past every step."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return float("inf")
