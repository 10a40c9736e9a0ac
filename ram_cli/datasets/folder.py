"""A folder of class folders, never seen before, as a dataset with a zero-shot split.

Understood layouts, the first that fits: `split.json` beside the images; `train/`, `test/` and
perhaps `val/` of class folders; `images/` of class folders; class folders. A class is a first-level
folder, and all images below it belong to it.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ram_cli.datasets.images import Split
from ram_cli.datasets.listing import (
    Listing,
    NamedClass,
    check_ratios,
    divide,
    join_within,
    order_by_hash,
    zero_shot_splits,
)
from ram_cli.datasets.split_file import SPLIT_FILE, list_split_file
from ram_cli.errors import DataError, on_one_line

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
)
"""Files taken for images, in lower or upper case; all others are passed over."""

_SPLIT_FOLDERS: dict[str, Split] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


def list_folder(
    root: Path, *, seed: int = 0, test_ratio: float = 0.5, val_ratio: float = 0.5
) -> Listing:
    """List the images of a folder of class folders.

    Hidden files and folders and files that are no images are passed over; links are followed.

    Args:
        root: The folder.
        seed: Seed of the zero-shot split.
        test_ratio: Share of the classes to test on; unused where the folder brings its own split.
        val_ratio: Share of the remaining classes to validate on; likewise.

    Raises:
        ConfigError: A share is not in its range.
        DataError: The folder is missing or empty, or its layout is not understood.
    """
    check_ratios(test_ratio, val_ratio)
    if not root.is_dir():
        problem = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataError(f"{root} {problem}. Name a folder that holds one folder per class.")
    if (root / SPLIT_FILE).is_file():
        return list_split_file(root, seed=seed, val_ratio=val_ratio)
    try:
        return _list_class_folders(_Walk(root), seed, test_ratio, val_ratio)
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}.") from error


def _list_class_folders(walk: "_Walk", seed: int, test_ratio: float, val_ratio: float) -> Listing:
    top = walk.folders("")
    given = {_SPLIT_FOLDERS[name.lower()]: name for name in top if name.lower() in _SPLIT_FOLDERS}
    if "train" in given and "test" in given and all(walk.folders(name) for name in given.values()):
        splits = _given_splits(walk, given, seed, val_ratio)
    elif "train" in given and len(given) == len(top) > 1:
        raise DataError(
            f"{walk.root} holds {' and '.join(top)} folders, but no test folder of class folders. "
            "Add one with classes of its own, or put all class folders side by side into one "
            "folder."
        )
    else:
        inner = "images" if top == ["images"] and walk.folders("images") else ""
        classes = walk.classes(inner)
        splits = zero_shot_splits(classes, seed=seed, test_ratio=test_ratio, val_ratio=val_ratio)
        if not classes and walk.passed_over["images outside class folders"]:
            raise DataError(
                f"{walk.root} holds images but no class folders. "
                "Put the images of each class into a folder of their own."
            )
    return Listing(walk.root, splits, walk.notes())


def _given_splits(
    walk: "_Walk", given: dict[Split, str], seed: int, val_ratio: float
) -> dict[Split, list[NamedClass]]:
    """Use the folder's own train, val and test; without val, a share of the training classes."""
    splits: dict[Split, list[NamedClass]] = {
        split: walk.classes(folder) for split, folder in given.items()
    }
    places = Counter(name for classes in splits.values() for name, _ in classes)
    shared = [name for name, count in places.items() if count > 1]
    if shared:
        raise DataError(
            f"{walk.root}: {len(shared)} classes "
            f"({on_one_line(', '.join(shared[:3]))}{_dots(shared)}) lie in "
            "more than one of its train, val and test folders. Retrieval is measured on classes "
            "not seen in training: put all class folders side by side into one folder, "
            f"and they are split by class; or list the split in {walk.root / SPLIT_FILE}."
        )
    if "val" not in splits:
        splits["train"], splits["val"] = divide(order_by_hash(splits["train"], seed), val_ratio)
    return splits


def _dots(items: list[str]) -> str:
    return ", …" if len(items) > 3 else ""


@dataclass
class _Walk:
    """Reads folders, and counts what it passes over."""

    root: Path
    passed_over: Counter[str] = field(default_factory=Counter)

    def entries(self, folder: str) -> list[os.DirEntry[str]]:
        """Return what lies in `folder`, ordered by name; hidden entries are left out."""
        with os.scandir(self.root / folder) as found:
            return sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders in `folder`."""
        return [entry.name for entry in self.entries(folder) if entry.is_dir()]

    def classes(self, folder: str) -> list[NamedClass]:
        """Return the classes of `folder`: its folders that hold images at any depth."""
        classes: list[NamedClass] = []
        for entry in self.entries(folder):
            if entry.is_dir():
                paths = list(self.images(join_within(folder, entry.name), frozenset()))
                if paths:
                    classes.append((entry.name, paths))
                else:
                    self.passed_over["class folders without images"] += 1
            elif is_image_name(entry.name):
                self.passed_over["images outside class folders"] += 1
        return classes

    def images(self, folder: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
        """Yield the images below `folder`; a link back to a folder `above` is not followed."""
        status = (self.root / folder).stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            return
        for entry in self.entries(folder):
            path = join_within(folder, entry.name)
            if entry.is_dir():
                yield from self.images(path, above | {identity})
            elif not is_image_name(entry.name):
                self.passed_over["files that are not images"] += 1
            else:
                yield path

    def notes(self) -> tuple[str, ...]:
        """Return one remark per kind of thing passed over."""
        return tuple(f"passed over {what}: {count}" for what, count in self.passed_over.items())


def is_image_name(name: str) -> bool:
    """Tell by its ending whether a file holds an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - no Path per file
