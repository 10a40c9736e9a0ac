"""Helpers of the parsers: text tables of numbers and paths, and the published halves."""

from collections.abc import Sequence
from pathlib import Path

from ram_cli.datasets.images import Split
from ram_cli.datasets.listing import NamedClass
from ram_cli.errors import DataError


def read_columns(
    path: Path, count: int, *, header: Sequence[str] = (), counted: bool = False
) -> list[list[str]]:
    """Return the rows of a table separated by blanks; the last column may hold blanks.

    Args:
        path: The file, UTF-8.
        count: Number of columns.
        header: Titles that the first line must hold; none means that there is no such line.
        counted: Whether the number of rows stands in a line above all others.

    Raises:
        DataError: The file is missing, or a row, the header or the number of rows differs.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {(error.strerror or '').lower()}. Unpack the archive again."
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text. Unpack the archive again.") from error
    above = int(counted)
    if header and (len(lines) <= above or lines[above].split() != list(header)):
        first = "begin with" if not above else "hold, below the number of its rows,"
        raise DataError(f"{path} must {first} the line “{' '.join(header)}”.")
    above += bool(header)
    rows = []
    for number, line in enumerate(lines[above:], start=1 + above):
        row = line.split(maxsplit=count - 1)
        if len(row) != count:
            raise DataError(f"{path}, line {number}: {count} columns are needed. Unpack it again.")
        rows.append(row)
    if counted and lines[0].strip() != str(len(rows)):
        raise DataError(
            f"{path} holds {len(rows)} rows, but says {lines[0].strip()!r}. Unpack it again."
        )
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
