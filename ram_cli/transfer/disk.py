"""Space on the disk, and errors of writing in words."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ram_cli.errors import OutputError


def free_bytes(folder: Path) -> int:
    """Space left on the disk of a folder."""
    return shutil.disk_usage(folder).free


def check_room(folder: Path, needed: float) -> None:
    """Refuse to begin what the disk cannot hold.

    Args:
        folder: An existing folder on that disk.
        needed: Bytes.

    Raises:
        OutputError: There is less space.
    """
    if (free := free_bytes(folder)) < needed:
        raise OutputError(
            f"no space on the disk of {folder}: {in_units(needed)} are needed, {in_units(free)} "
            "are free. Free some, or choose another folder."
        )


def in_units(size: float) -> str:
    """Return a number of bytes as a person says it: `1.15 GB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.0f} bytes"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what stops a file or folder from being written into an `OutputError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OutputError(
                f"no space left on the disk of {path}. Free some, then run again."
            ) from error
        raise OutputError(
            f"cannot write {path}: {error.strerror}. Choose another folder."
        ) from error
