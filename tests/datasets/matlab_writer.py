"""Writes just enough of the MATLAB 5 format to stand in for the published annotations."""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

variable = bytes
"""Body of an array without its name: flags, dimensions, content."""


def element(kind: int, data: bytes) -> bytes:
    if 0 < len(data) <= 4:
        return struct.pack("<HH", kind, len(data)) + data.ljust(4, b"\0")
    return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def _array(kind: int, shape: tuple[int, ...], content: bytes) -> tuple[bytes, bytes]:
    flags = element(6, struct.pack("<II", kind, 0))
    return flags + element(5, struct.pack(f"<{len(shape)}i", *shape)), content


def number(value: int) -> Any:
    kind, code = (2, "B") if value < 256 else (4, "H")  # MATLAB stores the smallest type that fits
    return _array(6, (1, 1), element(kind, struct.pack(f"<{code}", value)))


def text(value: str) -> Any:
    return _array(4, (1, len(value)), element(4, value.encode("utf-16-le")))


def cells(values: Sequence[Any]) -> Any:
    return _array(1, (1, len(values)), b"".join(matrix("", value) for value in values))


def structs(rows: Sequence[dict[str, int | str]]) -> Any:
    fields = list(rows[0])
    names = b"".join(field.encode().ljust(32, b"\0") for field in fields)
    content = element(5, struct.pack("<i", 32)) + element(1, names)
    for row in rows:
        for field in fields:
            value = row[field]
            content += matrix("", text(value) if isinstance(value, str) else number(value))
    return _array(2, (1, len(rows)), content)


def matrix(name: str, value: Any) -> bytes:
    head, content = value
    body = head + element(1, name.encode()) + content
    return struct.pack("<II", 14, len(body)) + body


def write_matlab(path: Path, variables: dict[str, Any], *, compress: bool = True) -> Path:
    content = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    for name, value in variables.items():
        data = matrix(name, value)
        if compress:
            data = zlib.compress(data)
            data = struct.pack("<II", 15, len(data)) + data
        content += data
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
