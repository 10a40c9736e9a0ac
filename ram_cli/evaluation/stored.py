"""Vectors on disk: written as they are computed, gone on with after a kill, read without loading.

A finished file is one safetensors tensor `vectors`, float32 `[N, D]`. An unfinished one lies beside
it, hidden, with a note of how far it is; both are dropped when what they depend on has changed.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ram_cli.datasets.locking import held
from ram_cli.engine.collectives import first_says, wait_for_all
from ram_cli.files import TEMPORARY_PREFIX, write_text
from ram_cli.processes import is_first
from ram_cli.progress import SILENT, Reporter
from ram_cli.transfer import writing

Sections = Callable[[int], Iterator[tuple[Tensor, Tensor, int]]]
"""Given how many batches are done: indices `[S]`, their vectors `[S, D]`, and batches done then."""

CONTENT = "vectors"
"""Key of the metadata of a file under which the SHA-256 of its vectors stands."""
MAPPED_ROWS = 49152
"""Vectors of a stretch that `stretches_of` gives: as many as evaluation scores together."""

_CHUNK_BYTES = 64 << 20


def store_vectors(
    path: Path,
    shape: tuple[int, int],
    metadata: Mapping[str, str],
    sections: Sections,
    reporter: Reporter = SILENT,
) -> None:
    """Fill a file of vectors section by section; one that was begun is gone on with.

    In a job of several processes all of them compute, and the first one writes. Of two jobs on one
    file the second waits for the first, and finds its work done.

    Args:
        path: The file; afterwards it is whole.
        shape: N and D.
        metadata: All that the vectors depend on; their hash is added as `CONTENT`.
        sections: Computes them.
        reporter: Told if another job is at work on the file.

    Raises:
        OutputError: The disk is full or cannot be written.
    """
    with ExitStack() as stack:
        if is_first():
            lock = path.with_name(f".{path.name}.lock")
            told = f"waiting for another process, which fills {path}"
            stack.enter_context(held(lock, lambda: reporter.note(told)))
            stack.callback(lock.unlink, missing_ok=True)
        if not first_says(is_first() and map_vectors(path, metadata, check=True) is not None):
            _fill(path, shape, metadata, sections)
    wait_for_all()


def _fill(
    path: Path, shape: tuple[int, int], metadata: Mapping[str, str], sections: Sections
) -> None:
    unfinished = path.with_name(f"{TEMPORARY_PREFIX}{path.name}")
    note = unfinished.with_suffix(".json")
    begun = {"shape": list(shape), "metadata": dict(metadata)}
    header = _header(shape, {**metadata, CONTENT: "0" * 64})
    done = first_says(_progress(unfinished, note, begun, header, shape) if is_first() else 0)
    if is_first() and not done:
        with writing(path):
            note.unlink(missing_ok=True)
            _begin(unfinished, header, shape)
    for rows, vectors, reached in sections(done):
        if is_first():
            with writing(path):
                _write_rows(unfinished, len(header), rows.numpy(), vectors.numpy())
                write_text(note, json.dumps({**begun, "batches": reached}))
    if is_first():
        with writing(path):
            digest = _digest(_map(unfinished, len(header), shape))
            _finish(unfinished, path, _header(shape, {**metadata, CONTENT: digest}))
            note.unlink(missing_ok=True)


def map_vectors(path: Path, metadata: Mapping[str, str], *, check: bool = False) -> Tensor | None:
    """The vectors of a finished file, read from disk as they are looked at.

    Args:
        path: The file.
        metadata: All that the vectors must depend on.
        check: Read all of them once, and compare their hash.

    Returns:
        `[N, D]`, not to be written to; None where there is no file, a damaged one, or one of
        something else.
    """
    try:
        with safe_open(path, framework="np") as opened:
            told = dict(opened.metadata() or {})
            part = opened.get_slice("vectors")
            shape, kind = part.get_shape(), part.get_dtype()
        digest = told.pop(CONTENT, "")
        if told != dict(metadata) or len(shape) != 2 or kind != "F32":
            return None
        vectors = _map(path, path.stat().st_size - 4 * shape[0] * shape[1], (shape[0], shape[1]))
    except (SafetensorError, OSError, ValueError):
        return None
    if check and _digest(vectors) != digest:
        return None
    # from_numpy warns about read-only arrays; nothing here writes to them
    return torch.utils.dlpack.from_dlpack(vectors)


def stretches_of(vectors: Tensor) -> list[Tensor]:
    """Cut vectors into stretches `[*, D]`, for a gallery that is to be gone through in order."""
    return [vectors[i : i + MAPPED_ROWS] for i in range(0, len(vectors), MAPPED_ROWS)]


def _header(shape: tuple[int, int], metadata: Mapping[str, str]) -> bytes:
    """What a safetensors file of one tensor begins with, so long that the tensor is aligned."""
    content = {
        "__metadata__": dict(metadata),
        "vectors": {
            "dtype": "F32",
            "shape": list(shape),
            "data_offsets": [0, 4 * shape[0] * shape[1]],
        },
    }
    text = json.dumps(content, sort_keys=True).encode()
    text += b" " * (-len(text) % 64 + 56)
    return len(text).to_bytes(8, "little") + text


def _progress(
    unfinished: Path, note: Path, begun: dict[str, Any], header: bytes, shape: tuple[int, int]
) -> int:
    """Batches that an unfinished file has; 0 where there is none, or one of something else."""
    try:
        told = json.loads(note.read_text("utf-8"))
        with unfinished.open("rb") as file:
            same = file.read(len(header)) == header
        whole = unfinished.stat().st_size == len(header) + 4 * shape[0] * shape[1]
        done = int(told.pop("batches"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return 0
    return done if same and whole and told == begun else 0


def _begin(unfinished: Path, header: bytes, shape: tuple[int, int]) -> None:
    """Take the room that the vectors need, so that a full disk is told of before the work."""
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    size = len(header) + 4 * shape[0] * shape[1]
    with unfinished.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        file.write(header)
        file.truncate(size)


def _write_rows(
    unfinished: Path, start: int, rows: NDArray[np.int64], vectors: NDArray[np.float32]
) -> None:
    """Write vectors to their places, durably; rows that follow each other go together."""
    width = vectors.shape[1] * vectors.itemsize
    ends = np.flatnonzero(np.diff(rows) != 1) + 1
    with unfinished.open("r+b") as file:
        for part in np.split(np.arange(len(rows)), ends):
            if len(part):
                file.seek(start + int(rows[part[0]]) * width)
                file.write(vectors[part[0] : part[-1] + 1].tobytes())
        file.flush()
        os.fsync(file.fileno())


def _finish(unfinished: Path, path: Path, header: bytes) -> None:
    with unfinished.open("r+b") as file:
        file.write(header)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _map(path: Path, start: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    if 0 in shape:
        return np.zeros(shape, np.float32)
    return np.memmap(path, np.float32, "r", start, shape)


def _digest(vectors: NDArray[np.float32]) -> str:
    """SHA-256 (hex), a stretch at a time."""
    digest = hashlib.sha256()
    step = max(1, _CHUNK_BYTES // max(1, 4 * vectors.shape[1]))
    for first in range(0, len(vectors), step):
        digest.update(np.ascontiguousarray(vectors[first : first + step]).data)
    return digest.hexdigest()
