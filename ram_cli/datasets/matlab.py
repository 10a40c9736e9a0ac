"""Read MATLAB 5 files of numbers, texts, cells and structs; nothing in a file is ever executed.

Format: "MAT-File Format", The MathWorks, level 5. Enough for the annotations of Cars196.
"""

import math
import struct
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np

from ram_cli.errors import DataError

_HEADER_BYTES = 128
_MOST_BYTES = 1 << 28  # of one variable, once inflated
_DEEPEST = 8  # cells in structs in cells …
_COMPRESSED, _MATRIX = 15, 14
_CELL, _STRUCT, _CHAR, _FIRST_NUMBER, _LAST_NUMBER = 1, 2, 4, 6, 15
_COMPLEX = 0x0800
_NUMBERS: Final = {
    1: "<i1",
    2: "<u1",
    3: "<i2",
    4: "<u2",
    5: "<i4",
    6: "<u4",
    7: "<f4",
    9: "<f8",
    12: "<i8",
    13: "<u8",
}
_TEXTS: Final = {2: "latin-1", 4: "utf-16-le", 16: "utf-8", 17: "utf-16-le", 18: "utf-32-le"}


def read_matlab(path: Path) -> dict[str, Any]:
    """Return the variables of a file by name.

    Numbers come as arrays in their shape, texts as str, cells as flat lists, structs as flat lists
    of dicts.

    Raises:
        DataError: The file is missing, damaged, or holds other kinds of values.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {(error.strerror or '').lower()}.") from error
    if content[126:128] != b"IM":
        raise DataError(f"{path} is not a MATLAB 5 file. Fetch it again.")
    variables = {}
    try:
        buffer = memoryview(content)
        offset = _HEADER_BYTES
        while offset < len(buffer):
            kind, data, offset = _element(buffer, offset)
            if kind == _COMPRESSED:
                kind, data, _ = _element(memoryview(_inflate(data)), 0)
            if kind == _MATRIX:
                name, value = _matrix(data, 0)
                variables[name] = value
    except (ValueError, KeyError, struct.error, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}). Fetch it again.") from error
    return variables


def _inflate(data: memoryview) -> bytes:
    stream = zlib.decompressobj()
    content = stream.decompress(data, _MOST_BYTES)
    if not stream.eof:
        raise ValueError("a variable is cut off or too large")
    return content


def _element(buffer: memoryview, offset: int) -> tuple[int, memoryview, int]:
    """Return kind and bytes of the element at `offset`, and where the next one starts."""
    (kind,) = struct.unpack_from("<I", buffer, offset)
    if kind >> 16:  # up to four bytes travel inside the tag
        size, start = kind >> 16, offset + 4
        kind, following = kind & 0xFFFF, offset + 8
    else:
        (size,) = struct.unpack_from("<I", buffer, offset + 4)
        start = offset + 8
        padded = size if kind == _COMPRESSED else -(-size // 8) * 8
        following = start + padded
    if start + size > len(buffer):
        raise ValueError("an element reaches past the end")
    return kind, buffer[start : start + size], following


def _matrix(data: memoryview, depth: int) -> tuple[str, Any]:
    """Return name and value of an array."""
    if depth > _DEEPEST:
        raise ValueError("arrays are nested too deeply")
    if not data:
        return "", np.zeros((0, 0))
    _, flags, offset = _element(data, 0)
    _, dimensions, offset = _element(data, offset)
    _, name, offset = _element(data, offset)
    (flag,) = struct.unpack_from("<I", flags)
    kind = flag & 0xFF
    shape = struct.unpack(f"<{len(dimensions) // 4}i", dimensions)
    if min(shape, default=-1) < 0 or math.prod(shape) > _MOST_BYTES:
        raise ValueError("impossible dimensions")
    value: Any
    if kind == _CELL:
        value = _children(data, offset, math.prod(shape), depth)
    elif kind == _STRUCT:
        value = _structs(data, offset, math.prod(shape), depth)
    elif kind == _CHAR:
        stored, raw, _ = _element(data, offset)
        value = str(raw, _TEXTS[stored])
    elif _FIRST_NUMBER <= kind <= _LAST_NUMBER and not flag & _COMPLEX:
        stored, raw, _ = _element(data, offset)
        value = np.frombuffer(raw, _NUMBERS[stored]).reshape(shape, order="F")
    else:
        raise ValueError(f"values of kind {kind}")
    return str(name, "latin-1"), value


def _structs(data: memoryview, offset: int, count: int, depth: int) -> list[dict[str, Any]]:
    _, length, offset = _element(data, offset)
    (width,) = struct.unpack_from("<i", length)
    _, text, offset = _element(data, offset)
    if width <= 0:
        raise ValueError("field names without length")
    raw = bytes(text)
    fields = [
        raw[at : at + width].partition(b"\0")[0].decode("latin-1")
        for at in range(0, len(raw), width)
    ]
    values = _children(data, offset, count * len(fields), depth)
    return [
        dict(zip(fields, values[at * len(fields) : (at + 1) * len(fields)], strict=True))
        for at in range(count)
    ]


def _children(data: memoryview, offset: int, count: int, depth: int) -> list[Any]:
    values = []
    for _ in range(count):
        kind, inner, offset = _element(data, offset)
        if kind != _MATRIX:
            raise ValueError("an array was expected")
        values.append(_matrix(inner, depth + 1)[1])
    return values
