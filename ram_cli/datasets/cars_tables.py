"""Cars196 from parquet files, as copies on the Hub hold it: image bytes beside labels.

A copy may number the models as it likes. Which model an image shows is told by its *name*, and the
published number follows from that, so that the split by model is the published one.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ram_cli.datasets.cars import CARS_LIST, LIST_HEADER, car_names
from ram_cli.errors import DataError
from ram_cli.files import write_text
from ram_cli.progress import Reporter
from ram_cli.transfer import check_room, writing

INSTALL = 'pip install "ram-cli[parquet]"'
_BATCH_ROWS = 64
_SUFFIXES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp", b"BM": ".bmp"}


def has_reader() -> bool:
    """Whether the library that reads parquet is installed."""
    from importlib.util import find_spec

    return find_spec("pyarrow") is not None


def write_cars(tables: Sequence[Path], folder: Path, reporter: Reporter) -> None:
    """Write the images of parquet files to `folder`/car_ims, and `cars_list.txt` beside them.

    The original training and test parts are joined: both show all models.

    Args:
        tables: The files.
        folder: An existing folder.
        reporter: Told of the progress.

    Raises:
        DataError: pyarrow is missing, or a file is damaged or holds no named cars.
        OutputError: The disk is full.
    """
    if not has_reader():
        raise DataError(f"parquet files are read by pyarrow, which is missing: {INSTALL}")
    check_room(folder, sum(table.stat().st_size for table in tables))
    lines = [" ".join(LIST_HEADER)]
    with writing(folder):
        (folder / "car_ims").mkdir()
    opened = [_opened(table) for table in sorted(tables, key=lambda table: table.name)]
    total = sum(file.metadata.num_rows for _, file in opened)
    with reporter.task("writing images", total) as task:
        for table, file in opened:
            part = "test" if table.name.startswith("test") else "train"
            for number, content in _rows(table, file):
                path = f"car_ims/{len(lines):06d}{_suffix(content, table)}"
                lines.append(f"{number} {part} {path}")
                with writing(folder):
                    (folder / path).write_bytes(content)
                task.advance()
    write_text(folder / CARS_LIST, "\n".join(lines) + "\n")


def _opened(table: Path) -> tuple[Path, Any]:
    from pyarrow import ArrowException, parquet

    try:
        return table, parquet.ParquetFile(table)
    except (ArrowException, OSError) as error:
        raise _damaged(table, error) from error


def _rows(table: Path, file: Any) -> Iterator[tuple[int, bytes]]:
    """Published number of the model, and bytes, of every image of a file."""
    from pyarrow import ArrowException

    image, label, numbers = _columns(table, file)
    try:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=[image, label]):
            values = batch.column(batch.schema.get_field_index(label)).to_pylist()
            images = batch.column(batch.schema.get_field_index(image)).to_pylist()
            for value, content in zip(values, images, strict=True):
                yield _number(table, value, numbers), (content or {}).get("bytes") or b""
    except (ArrowException, OSError) as error:
        raise _damaged(table, error) from error


def _columns(table: Path, file: Any) -> tuple[str, str, Mapping[int, int] | None]:
    """Which column holds the images, which the labels, and what whole-number labels mean.

    None for the meaning: labels are names themselves.
    """
    from pyarrow import types

    schema = file.schema_arrow
    image = next(
        (
            field.name
            for field in schema
            if types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
        ),
        None,
    )
    if image is None:
        raise DataError(f"{table} has no column of images.")
    for name, names in _named_labels(schema).items():
        if name in schema.names:
            return image, name, {value: _published(table, text) for value, text in enumerate(names)}
    texts = [field.name for field in schema if str(field.type) in ("string", "large_string")]
    first = next(file.iter_batches(batch_size=1, columns=texts), None) if texts else None
    for name, value in (first.to_pylist()[0] if first is not None else {}).items():
        if _folded(str(value)) in _numbers():
            return image, name, None
    raise DataError(
        f"{table} does not name its cars, so that the split by model is not certain. "
        "Use another copy."
    )


def _named_labels(schema: Any) -> dict[str, list[str]]:
    """Columns of whole numbers whose meanings the file tells, as `datasets` writes them down."""
    try:
        info = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = info.get("info", {}).get("features", {})
        return {
            name: list(feature["names"])
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _number(table: Path, value: Any, numbers: Mapping[int, int] | None) -> int:
    if numbers is None:
        return _published(table, str(value))
    if value not in numbers:
        raise DataError(f"{table} holds the label {value}, which it gives no name.")
    return numbers[value]


def _published(table: Path, name: str) -> int:
    """Published number of a model by its name, counted from 1."""
    number = _numbers().get(_folded(name))
    if number is None:
        raise DataError(f"{table}: {name!r} is no model of Cars196.")
    return number


@cache
def _numbers() -> dict[str, int]:
    return {_folded(text): number for number, text in enumerate(car_names(), start=1)}


def _folded(name: str) -> str:
    """A name without what copies write differently: case, blanks, strokes, dots, underscores."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _suffix(content: bytes, table: Path) -> str:
    for magic, suffix in _SUFFIXES.items():
        if content.startswith(magic):
            return suffix
    raise DataError(f"{table} holds something that is no image of a known format.")


def _damaged(table: Path, error: Exception) -> DataError:
    told = " ".join(str(error).split())
    return DataError(f"{table} is damaged or no parquet file ({told[:120]}). Fetch it again.")
