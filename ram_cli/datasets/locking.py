"""One process at a time; the hold ends with the process, however it ends.

File systems without locks, as some of clusters are, let everyone pass.
"""

import errno
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


_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def _took(handle: int) -> bool:
    """Whether the open lock file is held now, or cannot be held by anyone."""
    try:
        _take(handle)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


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
        path: The file; it is made where it is missing. Its holder may remove it.
        waiting: Called once if somebody else holds it.

    Raises:
        OutputError: The folder cannot be written.
    """
    told = False
    while (hold := try_hold(path)) is None:
        if not told:
            waiting()
        told = True
        time.sleep(_PAUSE_SECONDS)
    try:
        yield
    finally:
        hold.release()


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
            taken = _took(handle)
        except BaseException:
            _close(handle)
            raise
        if not taken:
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
