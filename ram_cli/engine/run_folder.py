"""The folder of one training run: settings, log, checkpoints, model folders, and who holds it."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ram_cli.datasets.locking import try_hold
from ram_cli.engine.integrity import find_damage, seal
from ram_cli.errors import CheckpointError, OutputError
from ram_cli.files import TEMPORARY_PREFIX, atomic_folder, previous_folder, write_text
from ram_cli.processes import is_first

POSITION_FILE = "position.json"
LOCK_FILE = ".lock"
HASH_SUFFIX = ".sha256"


@dataclass(frozen=True, slots=True)
class Position:
    """How far a run has come; everything counted from 0 is the next thing to do."""

    epoch: int = 0
    batch: int = 0
    """Batches of this epoch already trained on."""
    step: int = 0
    """Optimiser steps taken in the whole run."""
    best_score: float | None = None
    best_epoch: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    """Latest validation metrics."""
    seconds: float = 0.0
    """Time spent training so far, over all restarts."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths inside a run folder, and the rules by which they are written.

    Layout: `config.toml`, `log.jsonl`, `tensorboard/`, `checkpoints/last/`,
    `checkpoints/last.previous/`, `best/`, `final/`.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The resolved settings."""
        return self.path / "config.toml"

    @property
    def best(self) -> Path:
        """Model folder of the best validated epoch."""
        return self.path / "best"

    @property
    def final(self) -> Path:
        """Model folder after the last step."""
        return self.path / "final"

    @property
    def last(self) -> Path:
        """Newest checkpoint."""
        return self.path / "checkpoints" / "last"

    def claim(self, config: str, hashes: Mapping[str, str]) -> None:
        """Start a new run here.

        Args:
            config: The resolved settings, TOML.
            hashes: Content hashes by name, such as `dataset`, by which a change is noticed.

        Raises:
            OutputError: The folder holds something already, or cannot be written.
        """
        if not is_first():
            return
        self.check_free()
        for name, digest in hashes.items():
            write_text(self._hash_file(name), digest + "\n")
        write_text(self.config, config)

    def began_with(self, name: str, digest: str) -> bool:
        """Tell whether `name` is what the run began with; true if that was never written."""
        return self.first(name) in (None, digest)

    def first(self, name: str) -> str | None:
        """Content hash of `name` when the run began, None if it was never written."""
        path = self._hash_file(name)
        return path.read_text("utf-8").strip() if path.exists() else None

    def _hash_file(self, name: str) -> Path:
        return self.path / f"{name}{HASH_SUFFIX}"

    def check_free(self) -> None:
        """Find out early whether a new run could start here.

        Raises:
            OutputError: The folder holds something already.
        """
        if not is_first():
            return
        if self.path.is_file():
            raise OutputError(f"{self.path} is a file. Choose another --output.")
        if self.config.exists():
            raise OutputError(
                f"{self.path} already holds a run. Continue it with --resume {self.path}, "
                "or choose another --output."
            )
        if self.path.exists() and any(self._foreign()):
            raise OutputError(f"{self.path} is not empty. Choose another --output.")

    def _foreign(self) -> Iterator[Path]:
        return (
            p
            for p in self.path.iterdir()
            if not p.name.startswith((TEMPORARY_PREFIX, LOCK_FILE))
            and not p.name.endswith(HASH_SUFFIX)
        )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder; the hold ends with the process, however it ends.

        The first process of a job holds it for all of them. A folder in which nothing was begun
        goes away again.

        Raises:
            OutputError: Another process is training here, or the folder cannot be written.
        """
        if not is_first():
            yield
            return
        if (hold := try_hold(self.path / LOCK_FILE)) is None:
            raise OutputError(
                f"another process is training in {self.path}. Wait for it, or choose another "
                "--output."
            )
        try:
            yield
        finally:
            self._leave_if_empty()
            hold.release()

    def _leave_if_empty(self) -> None:
        with suppress(OSError):  # a person may have removed it meanwhile
            if [p.name for p in self.path.iterdir()] == [LOCK_FILE]:
                (self.path / LOCK_FILE).unlink()
                self.path.rmdir()

    @property
    def previous(self) -> Path:
        """The checkpoint before the newest, to fall back on."""
        return previous_folder(self.last)

    def save_checkpoint(self, position: Position, write: Callable[[Path], None]) -> None:
        """Make what `write(folder)` puts down the newest checkpoint, atomically; keep one before.

        Raises:
            OutputError: The disk is full, or the folder cannot be written.
        """
        with atomic_folder(self.last, keep=True) as folder:
            write(folder)
            (folder / POSITION_FILE).write_text(json.dumps(asdict(position), indent=1) + "\n")
            seal(folder)
            # A damaged one must not take the place of the good one that the run went on from.
            if self.last.exists() and find_damage(self.last):
                shutil.rmtree(self.last)

    def checkpoint(self) -> tuple[Path, Position] | None:
        """Newest undamaged checkpoint and its position, or None before the first.

        Raises:
            CheckpointError: There are checkpoints, but all of them are damaged.
        """
        found = [folder for folder in (self.last, self.previous) if folder.exists()]
        damage = {}
        for folder in found:
            damage[folder] = find_damage(folder)
            if damage[folder] is None:
                return folder, _read_position(folder / POSITION_FILE)
        if not found:
            return None
        told = "; ".join(f"{folder}: {fault}" for folder, fault in damage.items())
        raise CheckpointError(
            f"no undamaged checkpoint is left ({told}). Restore one from a copy, or start a new "
            f"run with --config {self.config} --output FOLDER."
        )

    def fallback(self) -> str | None:
        """One line that says which checkpoint a run falls back on and why; None if it need not."""
        if not self.last.exists() or (damage := find_damage(self.last)) is None:
            return None
        found = self.checkpoint()
        if found is None:  # it went away meanwhile
            return None
        return (
            f"the checkpoint {self.last} is damaged: {damage}. Going on from the one before it, "
            f"after step {found[1].step}."
        )


def _read_position(path: Path) -> Position:
    try:
        values: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return Position(**values)
    except (ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"damaged checkpoint: {path} ({error}).") from error
