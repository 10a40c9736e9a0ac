"""What `ram prepare` leaves below the folder for data, and whether the images are still the same.

`data_root/prepared/<name>-<hash>/` belongs to exactly these images in this split: `manifest.json`,
`files.json` with size, time and SHA-256 of every image, `features/`, and smaller copies.
"""

import glob
import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ram_cli.datasets import Dataset, ImageSet, join_images, read_manifest
from ram_cli.errors import DataError, OutputError
from ram_cli.files import path_part, write_text
from ram_cli.progress import SILENT, Reporter

PREPARED = "prepared"
"""Folder below the folder for data that holds what is computed once."""
MANIFEST = "manifest.json"
FILES = "files.json"

_FORMAT = 1
_NAMES_SHOWN = 3
_BLOCK = 256  # images between two progress reports

Stamp = tuple[int, int, str]
"""Bytes, time of change in nanoseconds, SHA-256 (hex)."""


def prepared_folder(data_root: Path, dataset: Dataset) -> Path:
    """Where what belongs to exactly these images, in this split, is kept."""
    return data_root / PREPARED / f"{path_part(dataset.name)}-{dataset.content_hash[:8]}"


def all_images(dataset: Dataset) -> ImageSet:
    """The images of all splits, one split after the other."""
    return join_images(tuple(dataset.splits.values()), f"{dataset.name}/all")


def record_files(dataset: Dataset, folder: Path, reporter: Reporter = SILENT) -> None:
    """Write down size, time and SHA-256 of every image; what did not change is not read again.

    Raises:
        DataError: A file is missing.
        OutputError: The record cannot be written.
    """
    known = _read(folder)
    stamps = _stamps(dataset, known or {}, reporter)
    if stamps != known:
        _write(folder, stamps)


def changed_files(dataset: Dataset, folder: Path) -> list[str]:
    """Return the images whose content is not as it was when the dataset was prepared.

    Files that only moved or were touched are read once and written down anew.

    Raises:
        DataError: A file is missing.
    """
    known = _read(folder)
    if known is None:
        return []
    stamps = _stamps(dataset, known, SILENT)
    changed = [path for path, stamp in stamps.items() if known.get(path, stamp)[2] != stamp[2]]
    if not changed and stamps != known:
        try:
            _write(folder, stamps)
        except OutputError:
            return []  # another's folder: the files are read again next time
    return changed


def is_unchanged(dataset: Dataset, folder: Path, reporter: Reporter) -> bool:
    """Whether what was prepared may be used; otherwise the reporter is told why not."""
    changed = changed_files(dataset, folder)
    if changed:
        reporter.warn(
            f"{len(changed)} images of {dataset.root} changed since ram prepare "
            f"({_some(changed)}); what was prepared is not used. Run ram prepare again."
        )
    return not changed


def tell_other_state(dataset: Dataset, data_root: Path, reporter: Reporter) -> None:
    """Say so if this folder was prepared before, but with other images or another split."""
    folder = prepared_folder(data_root, dataset)
    if folder.is_dir() or not folder.parent.is_dir():
        return
    pattern = f"{glob.escape(path_part(dataset.name))}-*/{MANIFEST}"
    found = sorted(folder.parent.glob(pattern), key=lambda path: -path.stat().st_mtime)
    for path in found:
        try:
            before = read_manifest(path)
        except DataError:
            continue
        if before.root.resolve() == dataset.root.resolve():
            reporter.note(
                f"{dataset.root} is not as in {path.parent} ({_difference(before, dataset)}): what "
                "was prepared there is not used. Run ram prepare to prepare it anew."
            )
            return


def _difference(before: Dataset, now: Dataset) -> str:
    old, new = set(all_images(before).paths), set(all_images(now).paths)
    told = [f"{len(paths)} images {what}" for what, paths in (
        ("added", new - old), ("gone", old - new)) if paths]  # fmt: skip
    if not told:
        same = all(before.splits[split].paths == now.splits[split].paths for split in now.splits)
        told = ["images of other sizes" if same else "another split"]
    return ", ".join(told)


def _some(paths: Sequence[str]) -> str:
    dots = ", …" if len(paths) > _NAMES_SHOWN else ""
    return ", ".join(sorted(paths)[:_NAMES_SHOWN]) + dots


def _stamps(dataset: Dataset, known: Mapping[str, Stamp], reporter: Reporter) -> dict[str, Stamp]:
    images = all_images(dataset)

    def stamp(path: str) -> Stamp:
        file = images.root / path
        told = file.stat()
        size, changed, sha256 = known.get(path, (-1, -1, ""))
        if (size, changed) != (told.st_size, told.st_mtime_ns):
            sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        return told.st_size, told.st_mtime_ns, sha256

    stamps: dict[str, Stamp] = {}
    try:
        with ThreadPoolExecutor() as pool, reporter.task("hash images", len(images)) as task:
            for start in range(0, len(images), _BLOCK):
                block = images.paths[start : start + _BLOCK]
                stamps |= zip(block, pool.map(stamp, block), strict=True)
                task.advance(len(block))
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}.") from error
    return stamps


def _read(folder: Path) -> dict[str, Stamp] | None:
    """What was written down; None where nothing was, or the record is damaged."""
    try:
        content = json.loads((folder / FILES).read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            return None
        return {
            path: (int(size), int(changed), str(sha256))
            for path, (size, changed, sha256) in content["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _write(folder: Path, stamps: Mapping[str, Stamp]) -> None:
    write_text(folder / FILES, json.dumps({"format": _FORMAT, "files": stamps}))
