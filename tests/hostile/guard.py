"""Watches code that reads hostile files: what it opens, starts and changes, and for how long."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from hypothesis import HealthCheck, Phase, settings

from ram_cli.errors import RamError

CASES = int(os.environ.get("RAM_TEST_CASES", "8"))
"""Hostile inputs per test; raise it to look harder."""
SECONDS = 30
"""After which a case counts as hanging."""

_STARTS = ("os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen",
           "pty.spawn", "socket.connect", "socket.bind", "ctypes.dlopen", "pickle.find_class",
           "webbrowser.open", "ftplib.connect", "urllib.Request")  # fmt: skip
_CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "os.chmod",
            "os.truncate", "os.chown", "os.utime", "shutil.rmtree", "shutil.move")  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_watching: list["_Watch"] = []


class _Watch:
    """Events of one case that must not be."""

    def __init__(self, folder: Path, allowed: frozenset[str]) -> None:
        self.folder, self.allowed = os.path.realpath(folder), allowed
        self.found: list[str] = []

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in self.allowed:
            return
        if event in _STARTS:
            self.found.append(f"{event} {arguments!r}"[:300])
        elif event in _CHANGES or (event == "open" and self._writes(arguments)):
            for path in arguments[: 2 if event in ("os.rename", "os.link") else 1]:
                named = isinstance(path, str | bytes | os.PathLike)
                if named and not self._inside(_under(path, arguments[-1])):
                    self.found.append(f"{event} {arguments!r}"[:300])

    def _writes(self, arguments: tuple[Any, ...]) -> bool:
        _, mode, flags = arguments
        if isinstance(mode, str):
            return any(letter in mode for letter in "wax+")
        return isinstance(flags, int) and bool(flags & _WRITING)

    def _inside(self, path: Any) -> bool:
        real = os.path.realpath(os.fsdecode(path))
        return real == self.folder or real.startswith((self.folder + os.sep, "/dev/null"))


def _under(path: Any, folder: Any) -> str:
    """A path that is relative to a folder opened before, as `shutil.rmtree` names files."""
    text = os.fsdecode(path)
    opened = f"/proc/self/fd/{folder}"
    relative = not text.startswith("/") and type(folder) is int and folder >= 0
    return str(Path(opened).readlink() / text) if relative and Path(opened).exists() else text


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching:
        _watching[-1].see(event, arguments)


sys.addaudithook(_hook)


@contextmanager
def refused_or_fine(
    folder: Path, allowed: frozenset[str] = frozenset(), *, lines: bool = False
) -> Iterator[list[str]]:
    """Let a block succeed or fail with one clear line; nothing else may happen.

    Args:
        folder: The only place in which it may write.
        allowed: Audit events that belong to the case.
        lines: Whether several faults may be told, each in a line.

    Yields:
        A list to which the line is added, if there was one.
    """
    said: list[str] = []
    watch = _Watch(folder, allowed)
    started = time.monotonic()
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS)
    _watching.append(watch)
    try:
        yield said
    except RamError as error:
        said.append(str(error))
    finally:
        _watching.pop()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert not watch.found, watch.found
    assert time.monotonic() - started < SECONDS
    for line in said:
        assert lines or "\n" not in line, line
        assert line.strip()


def _too_long(_number: int, _frame: FrameType | None) -> None:
    raise AssertionError(f"still at work after {SECONDS} s")


def fuzz(share: float = 1.0, *, shrink: bool = True) -> settings:
    """Settings of a fuzz test that takes `share` of the usual number of cases.

    Args:
        share: Of `CASES`.
        shrink: Whether to look for the smallest case that fails; not where a case is slow.
    """
    return settings(
        max_examples=max(3, round(CASES * share)),
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.function_scoped_fixture,
            HealthCheck.filter_too_much,
            HealthCheck.large_base_example,
        ],
    )


def mutated(content: bytes, changes: list[tuple[float, int, int]]) -> bytes:
    """Damage `content`: at a place (0..1), overwrite, cut, double or insert.

    Args:
        content: Bytes of a whole file.
        changes: Place, kind and value of each damage.
    """
    damaged = bytearray(content)
    for where, kind, value in changes:
        place = int(where * len(damaged))
        match kind % 5:
            case 0 if damaged:
                damaged[min(place, len(damaged) - 1)] = value
            case 1:
                del damaged[place:]
            case 2:
                damaged[place:place] = damaged[place : place + value]
            case 3:
                damaged[place : place + 8] = (value << 48).to_bytes(8, "little", signed=False)
            case _:
                del damaged[place : place + value]
    return bytes(damaged)


def replaced(value: Any, steps: list[float], new: Any) -> Any:
    """Put `new` in the place of a part of nested lists and dictionaries, found by `steps` in 0..1.

    Args:
        value: Not changed.
        steps: Which item to go down to at every level; fewer if there are no more levels.
        new: What to put there.
    """
    if not steps or not isinstance(value, dict | list) or not value:
        return new
    keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[min(int(steps[0] * len(keys)), len(keys) - 1)]
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = replaced(value[key], steps[1:], new)
    return copy
