"""Arrays of numpy as pickles write them down, made from their bytes, not by numpy's loaders."""

import math
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np

_KIND = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|[SUa]\d{1,4}|O8?)")
_MOST_DIMENSIONS = 8


class PickleError(Exception):
    """A pickle holds what no ground truth holds."""


class Name(Enum):
    """What a pickle may name."""

    ARRAY = "numpy.ndarray"
    KIND = "numpy.dtype"
    EMPTY = "numpy's empty array"
    NUMBER = "numpy's number"
    VIEW = "numpy's array of bytes"
    BYTES = "bytes as text"


NUMPY_NAMES: Final[dict[tuple[Any, Any], Name]] = {
    ("numpy", "ndarray"): Name.ARRAY,
    ("numpy", "dtype"): Name.KIND,
    ("_codecs", "encode"): Name.BYTES,
    ("__builtin__", "bytes"): Name.BYTES,  # of which only the empty ones are written so
    **{(f"numpy.{core}.multiarray", "_reconstruct"): Name.EMPTY for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): Name.NUMBER for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): Name.VIEW for core in ("core", "_core")},
}
"""Names that arrays are written with, by numpy 1 and numpy 2."""


@dataclass(slots=True)
class Budget:
    """How many bytes all arrays of a file may take together."""

    left: int

    def take(self, size: int) -> None:
        """Refuse what is too much, before it is made."""
        self.left -= size
        if self.left < 0:
            raise PickleError("its arrays are too large")


@dataclass(slots=True, eq=False)
class Call:
    """What numpy would be asked to make, and with what to fill it."""

    target: Name
    arguments: tuple[Any, ...]
    budget: Budget
    state: Any = None

    def fill(self, state: Any) -> None:
        """Note what comes after the arguments; only arrays and their kinds take it, and once."""
        if self.target not in (Name.EMPTY, Name.KIND) or self.state is not None:
            raise PickleError("it changes what is made already")
        self.state = state

    def value(self) -> Any:
        """The array `[…]`, list, number or bytes; raises `PickleError` or a kin of ValueError."""
        if self.target is Name.EMPTY:
            return self._array()
        if self.target is Name.NUMBER:
            kind, raw = self.arguments
            found = _filled(self._bytes(raw), kind, (), "C")
            return found.item() if isinstance(found, np.ndarray) else found
        if self.target is Name.VIEW:
            raw, kind, shape, order = self.arguments
            return _filled(self._bytes(raw), kind, shape, order)
        if self.target is Name.BYTES:
            return self._bytes(self)
        raise PickleError(f"it holds {self.target.value} itself")

    def kind(self) -> str:
        """Kind of the numbers of an array, as in `<f8`."""
        if self.target is not Name.KIND or not isinstance(self.arguments[0], str):
            raise PickleError("an array is of no kind")
        order = "<" if self.state is None else self.state[1]
        if self.state is not None and any(part is not None for part in self.state[2:5]):
            raise PickleError("an array holds records")
        kind = f"{order}{self.arguments[0].lstrip('<>|=')}"
        if not _KIND.fullmatch(kind):
            raise PickleError(f"an array is of the kind {kind[:20]!r}")
        return kind

    def _array(self) -> Any:
        if self.arguments[0] is not Name.ARRAY or type(self.state) is not tuple:
            raise PickleError("an array is never filled")
        _, shape, kind, columns_first, raw = self.state
        if isinstance(raw, list):  # of objects
            if not isinstance(kind, Call) or not kind.kind().endswith(("O", "O8")):
                raise PickleError("an array is filled with objects, against its kind")
            if shape != (len(raw),):
                raise PickleError("objects of an array stand in no row")
            return raw
        return _filled(self._bytes(raw), kind, shape, "F" if columns_first else "C")

    def _bytes(self, raw: Any) -> bytes:
        """Bytes that stand there as such, as text of Python 2, or as text to be encoded."""
        if isinstance(raw, Call) and raw.target is Name.BYTES:
            raw, encoding = raw.arguments or ("", "latin1")
            if encoding not in ("latin1", "latin-1"):
                raise PickleError(f"bytes are written as {encoding!r}")
        if not isinstance(raw, bytes | bytearray | str):
            raise PickleError("an array is filled with no bytes")
        self.budget.take(len(raw))
        return raw.encode("latin1") if isinstance(raw, str) else bytes(raw)


def _filled(raw: bytes, kind: Any, shape: Any, order: Any) -> Any:
    """An array of exactly these bytes."""
    if not isinstance(kind, Call) or (name := kind.kind()).endswith(("O", "O8")):
        raise PickleError("the objects of an array are written as bytes")
    if type(shape) is not tuple or len(shape) > _MOST_DIMENSIONS:
        raise PickleError("an array has no shape")
    if not all(type(length) is int and 0 <= length < 2**31 for length in shape):
        raise PickleError("an array has a shape of no lengths")
    dtype = np.dtype(name)
    if not dtype.itemsize or math.prod(shape) * dtype.itemsize != len(raw):
        raise PickleError("an array is filled with more or less than its shape takes")
    if order not in ("C", "F"):
        raise PickleError("an array is in no order")
    empty = np.zeros(0, dtype)
    return (np.frombuffer(raw, dtype) if raw else empty).reshape(shape, order=order)
