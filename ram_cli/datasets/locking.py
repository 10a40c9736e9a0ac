"""One process at a time; the hold ends with the process, however it ends."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ram_cli.transfer import writing

_PAUSE_SECONDS = 0.2

if sys.platform == "win32":
    import msvcrt

    def _take(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def held(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file `path`, waiting until nobody else does.

    Args:
        path: The file; it is made where it is missing, and stays.
        waiting: Called once if somebody else holds it.

    Raises:
        OutputError: The folder cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        told = False
        while True:
            try:
                _take(handle)
                break
            except (BlockingIOError, PermissionError):
                if not told:
                    waiting()
                told = True
                time.sleep(_PAUSE_SECONDS)
        yield
    finally:
        os.close(handle)


@dataclass(frozen=True, slots=True)
class Hold:
    """A lock file that is held until it is released, or the process ends."""

    handle: int

    def release(self) -> None:
        """Let others take it."""
        os.close(self.handle)


def try_hold(path: Path) -> Hold | None:
    """Take the lock file `path`, if nobody holds it; return None if somebody does.

    Raises:
        OutputError: The folder cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _take(handle)
    except (BlockingIOError, PermissionError):
        os.close(handle)
        return None
    return Hold(handle)
