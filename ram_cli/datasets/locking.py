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


_HANDLES: set[int] = set()
"""Open lock files of this process."""


def _let_go_in_child() -> None:
    """A process that decodes images outlives one that is killed by seconds: it must hold nothing.

    The parent's hold stands: it ends when the last copy of its handle is closed.
    """
    for handle in _HANDLES:
        os.close(handle)
    _HANDLES.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)


def _open(path: Path) -> int:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    _HANDLES.add(handle)
    return handle


def _close(handle: int) -> None:
    if handle in _HANDLES:  # not in a child, which has let go of it
        _HANDLES.remove(handle)
        os.close(handle)


@contextmanager
def held(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file `path`, waiting until nobody else does.

    Args:
        path: The file; it is made where it is missing, and stays.
        waiting: Called once if somebody else holds it.

    Raises:
        OutputError: The folder cannot be written.
    """
    handle = _open(path)
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
        _close(handle)


@dataclass(frozen=True, slots=True)
class Hold:
    """A lock file that is held until it is released, or the process ends."""

    handle: int

    def release(self) -> None:
        """Let others take it."""
        _close(self.handle)


def try_hold(path: Path) -> Hold | None:
    """Take the lock file `path`, if nobody holds it; return None if somebody does.

    Raises:
        OutputError: The folder cannot be written.
    """
    while True:
        handle = _open(path)
        try:
            _take(handle)
        except (BlockingIOError, PermissionError):
            _close(handle)
            return None
        if _is(handle, path):
            return Hold(handle)
        _close(handle)  # whoever held it has removed the file meanwhile


def _is(handle: int, path: Path) -> bool:
    """Whether the open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False
