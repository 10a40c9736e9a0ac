"""A dataset written down: which files, which labels, which split, and a hash over all of it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ram_cli.datasets.images import SPLITS, Dataset, ImageSet, Split
from ram_cli.errors import DataError, on_one_line
from ram_cli.files import write_text

MANIFEST_FORMAT = 1
_DAMAGE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def content_hash(
    splits: Mapping[Split, ImageSet],
    sizes: Mapping[str, int] | None = None,
    pairs: Mapping[Split, NDArray[np.int64]] | None = None,
) -> str:
    """Return the SHA-256 (hex) over the images of all splits, in their order, and their pairs.

    Of an image: split, relative path, file size, label, box, and whether it is a query.

    Args:
        splits: Images of each split.
        sizes: Bytes of each file by its path, where they are known; else the files are asked.
        pairs: Queries and positives of each split that brings them.

    Raises:
        DataError: A file is missing.
    """
    digest = hashlib.sha256()
    for split, images in splits.items():
        for index, path in enumerate(images.paths):
            size = file_size(images.path(index)) if sizes is None else sizes[path]
            box = [] if images.boxes is None else images.boxes[index].tolist()
            query = [] if images.queries is None else [bool(images.queries[index])]
            line = json.dumps([split, path, size, int(images.labels[index]), box, *query])
            digest.update(line.encode("ascii") + b"\n")
    for split, found in (pairs or {}).items():
        digest.update(json.dumps([split, found.tolist()]).encode("ascii") + b"\n")
    return digest.hexdigest()


def file_size(path: Path) -> int:
    """Return the size of a file in bytes.

    Raises:
        DataError: There is no such file.
    """
    try:
        return path.stat().st_size
    except OSError as error:
        raise DataError(
            f"cannot read {on_one_line(path)}: {(error.strerror or 'no such file').lower()}."
        ) from error


def to_json(dataset: Dataset) -> str:
    """Return the dataset as a JSON document; paths are relative to its root."""
    splits = {
        split: {
            "paths": images.paths,
            "labels": images.labels.tolist(),
            "boxes": None if images.boxes is None else images.boxes.tolist(),
            "queries": None if images.queries is None else images.queries.tolist(),
        }
        for split, images in dataset.splits.items()
    }
    content = {
        "format": MANIFEST_FORMAT,
        "name": dataset.name,
        "root": str(dataset.root),
        "content_hash": dataset.content_hash,
        "counts": {split: len(images) for split, images in dataset.splits.items()},
        "class_names": dataset.train.class_names,
        "skipped": dataset.skipped,
        "splits": splits,
        "pairs": {split: found.tolist() for split, found in dataset.pairs.items()},
    }
    return json.dumps(content, indent=1)


def from_json(text: str, root: Path | None = None) -> Dataset:
    """Return the dataset that `to_json` wrote down.

    Args:
        text: The document.
        root: Where the images lie now; None means where they lay then.

    Raises:
        DataError: The document is damaged or of another format.
    """
    try:
        content = json.loads(text)
        if content["format"] != MANIFEST_FORMAT:
            raise DataError(
                f"manifest of format {content['format']!r}, this version reads {MANIFEST_FORMAT}. "
                "Prepare the dataset again."
            )
        where = Path(content["root"]) if root is None else root
        train, val, test = (_images(content, split, where) for split in SPLITS)
        return Dataset(
            name=content["name"],
            root=where,
            train=train,
            val=val,
            test=test,
            content_hash=content["content_hash"],
            skipped=tuple(content["skipped"]),
            pairs={
                split: np.asarray(content["pairs"][split], dtype=np.int64).reshape(-1, 2)
                for split in SPLITS
                if split in content.get("pairs", {})
            },
        )
    except _DAMAGE as error:
        raise DataError(f"the manifest is damaged ({error}). Prepare the dataset again.") from error


def write_manifest(dataset: Dataset, path: Path) -> None:
    """Write `to_json(dataset)` to `path`, atomically."""
    write_text(path, to_json(dataset))


def read_manifest(path: Path, root: Path | None = None) -> Dataset:
    """Read what `write_manifest` wrote.

    Raises:
        DataError: The file is missing, damaged or of another format.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the manifest {path}. Prepare the dataset again.") from error
    return from_json(text, root)


def _images(content: dict[str, Any], split: str, root: Path) -> ImageSet:
    part = content["splits"][split]
    boxes, queries = part["boxes"], part.get("queries")
    return ImageSet(
        name=f"{content['name']}/{split}",
        root=root,
        paths=tuple(part["paths"]),
        labels=np.asarray(part["labels"], dtype=np.int64),
        class_names=tuple(content["class_names"]),
        boxes=None if boxes is None else np.asarray(boxes, dtype=np.float32).reshape(-1, 4),
        queries=None if queries is None else np.asarray(queries, dtype=np.bool_),
    )
