"""What a run writes down as it goes: one JSON object per line, and the trackers of accelerate."""

import json
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from ram_cli.files import write_text

TRACKER_FOLDER = "tensorboard"


class RunLog:
    """`log.jsonl` and `tensorboard/` of a run folder.

    Every record carries its optimiser `step`. A resumed run drops the records past the checkpoint
    it starts from, because those steps are taken again.

    Args:
        folder: The run folder, which is the accelerator's project folder too.
        accelerator: Its trackers receive every number as `kind/name`.
        resume_step: Last optimiser step to keep; None starts a new log.
    """

    def __init__(
        self, folder: Path, accelerator: Accelerator, *, resume_step: int | None = None
    ) -> None:
        self.path = folder / "log.jsonl"
        self._accelerator = accelerator
        if resume_step is not None:
            self._drop_after(resume_step)
        purge = None if resume_step is None else resume_step + 1
        accelerator.init_trackers(
            TRACKER_FOLDER, init_kwargs={"tensorboard": {"purge_step": purge}}
        )
        self._file = self.path.open("a", encoding="utf-8")

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Append one record."""
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
        self._file.close()
        self._accelerator.end_training()

    def _drop_after(self, step: int) -> None:
        if not self.path.exists():
            return
        kept = [line for line in self.path.read_text("utf-8").splitlines() if _step(line) <= step]
        write_text(self.path, "".join(line + "\n" for line in kept))


def _step(line: str) -> float:
    """Step of a record; a line cut short by a crash counts as past every step."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
