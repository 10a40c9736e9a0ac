"""Atomic writes: a file or folder is either there, whole and durable, or not there at all."""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from ram_cli.errors import OutputError

TEMPORARY_PREFIX = ".incomplete-"
"""Name that unfinished files and folders carry; they may be deleted at any time."""

_FSYNC_THREADS = 16


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is fsynced and renamed onto `path`.

    Raises:
        OutputError: The disk is full, or the folder cannot be written.
    """
    path = Path(path)
    with _output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=TEMPORARY_PREFIX, suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _show(temporary, _umask())
            _fsync(temporary)
            temporary.replace(path)
            _fsync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path | str, *, keep: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the place of `path`.

    Everything inside is fsynced first. An older folder at `path` is moved aside and removed only
    once the new one stands in its place, so at least one of the two exists, whole, at any instant.

    Args:
        path: Where the folder shall stand.
        keep: Leave the older one beside it, see `previous_folder`, until the next is written.

    Raises:
        OutputError: The disk is full, or the folder cannot be written.
    """
    path = Path(path)
    with _output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=path.parent))
        try:
            yield temporary
            inside, mask = [temporary, *temporary.rglob("*")], _umask()
            for one in inside:
                _show(one, mask)
            with ThreadPoolExecutor(_FSYNC_THREADS) as pool:  # disks take many at once
                list(pool.map(_fsync, inside))
            _swap(temporary, path, keep=keep)
            _fsync(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8, atomically.

    Raises:
        OutputError: The disk is full, the folder cannot be written, or the text holds the name of a
            file that is no text.
    """
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        part = error.object[max(0, error.start - 20) : error.end + 20]
        shown = part.encode("ascii", "backslashreplace").decode()
        raise OutputError(
            f"cannot write {path}: {shown!r} holds bytes that are no UTF-8 text. Rename that file "
            "or folder."
        ) from error
    write_bytes(path, content)


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write `content`, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def check_writable(path: Path | str) -> None:
    """Refuse the place of a file before the work that it would hold is done; nothing is left there.

    Raises:
        OutputError: It is a folder, or its folder, or that in which it would be made, cannot be
            written.
    """
    path = Path(path)
    with _output_errors(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "")
        folder = path.parent
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        with tempfile.NamedTemporaryFile(prefix=TEMPORARY_PREFIX, dir=folder):
            pass


def path_part(name: str, most: int = 200) -> str:
    """The start of a name that leaves room for more in the 255 bytes of one part of a path.

    Args:
        name: Any name of a file or folder.
        most: Bytes of it to keep, at most.
    """
    while len(os.fsencode(name)) > most:
        name = name[:-1]
    return name


def previous_folder(path: Path) -> Path:
    """Where the folder that `path` replaced lies: for an instant, or as long as it is kept."""
    return path.with_name(f"{path.name}.previous")


def _swap(new: Path, path: Path, *, keep: bool) -> None:
    """Put `new` at `path`; whoever is killed in between leaves `<path>.previous`, whole."""
    aside = previous_folder(path)
    if path.exists():
        if aside.exists():
            shutil.rmtree(aside)
        path.rename(aside)
    new.rename(path)
    if aside.exists() and not keep:
        shutil.rmtree(aside)


@contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OutputError(
                f"no space left on the disk of {path}. Free some, then run again."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise OutputError(
                f"cannot write {path}: {error.strerror}. Choose another folder."
            ) from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise OutputError(
                f"cannot write {path}: a file is in the way. Choose another folder."
            ) from error
        if error.errno == errno.EISDIR:
            raise OutputError(f"cannot write {path}: it is a folder. Name a file.") from error
        raise


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _show(path: Path, mask: int) -> None:
    """Let those see a file or folder who may see what a program usually writes.

    Temporary ones, and the files that safetensors writes, are for their owner alone.
    """
    if path.is_symlink():
        return
    present = stat.S_IMODE(path.stat().st_mode)
    wanted = present | ((0o777 if path.is_dir() else 0o666) & ~mask)
    if wanted != present:
        with suppress(PermissionError):  # a file system that keeps no such modes
            path.chmod(wanted)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
