"""Find files that cannot be decoded, once: what was found whole is remembered."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from ram_cli.errors import OutputError
from ram_cli.files import write_text
from ram_cli.progress import SILENT, Reporter

MEMORY_FORMAT = 1
_SMALL_SIDE = 32  # pixels: a JPEG is decoded at 1/8 of its size, its whole bit stream is still read
_BLOCK = 256  # images between two progress reports

Check = Callable[[Path], str | None]
"""Returns why an image cannot be used, None if it can."""


def find_unreadable(
    root: Path,
    paths: Sequence[str],
    *,
    memory: Path | None = None,
    check: Check | None = None,
    reporter: Reporter = SILENT,
) -> dict[str, str]:
    """Decode every image cheaply; return the unreadable ones with the reason of each.

    Args:
        root: Folder that the paths start from.
        paths: Files, relative to `root`.
        memory: File that remembers path, size and time of change of what was found whole, so that
            the next call skips it. Nothing is remembered when it cannot be read or written.
        check: A stricter check, made of every image, whatever is remembered.
        reporter: Receives progress.
    """
    known = _recall(memory)
    stamps = {path: _stamp(root / path) for path in paths}
    unseen = [
        path for path, stamp in stamps.items() if check or stamp is None or known.get(path) != stamp
    ]
    faults: dict[str, str] = {}

    def reason_of(path: str) -> str | None:
        if (root / path).exists() and not (root / path).is_file():
            return "not a file"  # opening a pipe would wait for ever
        return check(root / path) if check else _fault(root, path)

    if not unseen:
        return faults
    # Pillow releases the interpreter lock while it decodes, so threads do run side by side.
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        reporter.task("check images", len(paths), done=len(paths) - len(unseen)) as task,
    ):
        for start in range(0, len(unseen), _BLOCK):
            block = unseen[start : start + _BLOCK]
            reasons = pool.map(reason_of, block)
            faults |= {path: why for path, why in zip(block, reasons, strict=True) if why}
            task.advance(len(block))
    _remember(memory, known | {p: s for p, s in stamps.items() if s and p not in faults})
    return faults


def memory_file(folder: Path, name: str, root: Path) -> Path:
    """Return where under `folder` the images of dataset `name` at `root` are remembered."""
    where = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:12]
    return folder / ".verified" / f"{name}-{where}.json"


def _fault(root: Path, path: str) -> str | None:
    """Return why the image cannot be decoded, or None when it can."""
    try:
        with Image.open(root / path) as image:
            image.draft("RGB", (_SMALL_SIDE, _SMALL_SIDE))
            image.load()
    # Decoders raise whatever a damaged file drives them to: OSError, SyntaxError, struct.error …
    except Exception as error:  # noqa: BLE001
        return _reason(root / path, error)
    return None


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        empty = path.exists() and path.stat().st_size == 0
        return "the file is empty" if empty else "not an image of a known format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error).partition("\n")[0] or type(error).__name__


def _stamp(path: Path) -> list[int] | None:
    """Return size in bytes and time of change in nanoseconds; None when there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _recall(memory: Path | None) -> dict[str, Any]:
    if memory is None:
        return {}
    try:
        content = json.loads(memory.read_text(encoding="utf-8"))
        files = content["files"] if content["format"] == MEMORY_FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}  # a damaged memory only costs time
    return files if isinstance(files, dict) else {}


def _remember(memory: Path | None, files: dict[str, Any]) -> None:
    if memory is None:
        return
    try:
        write_text(memory, json.dumps({"format": MEMORY_FORMAT, "files": files}))
    except (OutputError, OSError):
        return  # nothing depends on it
