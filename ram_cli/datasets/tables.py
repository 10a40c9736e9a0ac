"""Helpers of the parsers: text tables of numbers and paths, and the published halves."""

from collections.abc import Sequence
from pathlib import Path

from ram_cli.datasets.images import Split
from ram_cli.datasets.listing import NamedClass
from ram_cli.errors import DataError


def read_columns(path: Path, count: int, *, header: Sequence[str] = ()) -> list[list[str]]:
    """Return the rows of a table separated by blanks; the last column may hold blanks.

    Args:
        path: The file, UTF-8.
        count: Number of columns.
        header: Titles that the first line must hold; none means that there is no such line.

    Raises:
        DataError: The file is missing, or a row or the header differs.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {(error.strerror or '').lower()}. Unpack the archive again."
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text. Unpack the archive again.") from error
    if header and (not lines or lines[0].split() != list(header)):
        raise DataError(f"{path} must begin with the line “{' '.join(header)}”.")
    rows = []
    for number, line in enumerate(lines[bool(header) :], start=1 + bool(header)):
        row = line.split(maxsplit=count - 1)
        if len(row) != count:
            raise DataError(f"{path}, line {number}: {count} columns are needed. Unpack it again.")
        rows.append(row)
    return rows


def class_number(text: str, path: Path) -> int:
    """Return a class number read from `path`.

    Raises:
        DataError: It is not a whole number.
    """
    if not text.isdecimal():
        raise DataError(f"{path}: {text!r} is not a class number. Unpack the archive again.")
    return int(text)


def halved_splits(
    train_val: Sequence[NamedClass], test: Sequence[NamedClass]
) -> dict[Split, list[NamedClass]]:
    """Return the published splits: validation classes are the second half of the training ones."""
    half = len(train_val) // 2
    return {"train": list(train_val[:half]), "val": list(train_val[half:]), "test": list(test)}
