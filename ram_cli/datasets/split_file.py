"""A split that its owner wrote down: split.json beside the images.

`{"train": [[path, …], …], "val": [[path, …], …], "test": [[path, …], …]}`: one inner list per
class, paths relative to the folder. Without "val", a share of the training classes becomes it.
"""

import json
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from ram_cli.datasets.images import SPLITS, Split
from ram_cli.datasets.listing import Listing, NamedClass, divide, order_by_hash
from ram_cli.errors import DataError, on_one_line

SPLIT_FILE = "split.json"
_MOST_FAULTS_SHOWN = 10


def list_split_file(root: Path, *, seed: int, val_ratio: float) -> Listing:
    """List the images named by `root/split.json`.

    A class is called after its folder where every class of the split has a folder of its own, and
    else by its split and position (`train 0`).

    Raises:
        DataError: The file is not as described; all faults in it are named together.
    """
    path = root / SPLIT_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}.") from error
    faults = _shape_faults(content)
    if not faults:
        faults = _file_faults(root, content) + _shared_class_faults(content)
    if faults:
        shown = faults[:_MOST_FAULTS_SHOWN]
        more = [f"and {len(faults) - len(shown)} more"] if len(faults) > len(shown) else []
        raise DataError("\n  ".join([f"{path} cannot be used:", *shown, *more]))
    splits = _shortened(_named(content))
    if "val" not in splits:
        splits["train"], splits["val"] = divide(order_by_hash(splits["train"], seed), val_ratio)
    return Listing(root, splits)


def _shape_faults(content: Any) -> list[str]:
    if not isinstance(content, dict):
        return ['it must hold an object with "train", "val" and "test"']
    faults = [
        f'"{on_one_line(key)}" is none of "train", "val" and "test"'
        for key in content.keys() - SPLITS
    ]
    faults += [f'"{split}" is missing' for split in ("train", "test") if split not in content]
    for split in content.keys() & SPLITS:
        if not isinstance(content[split], list):
            faults.append(f'"{split}" must be a list of classes')
            continue
        faults += [
            f'"{split}", class {index}: it must be a list of one or more paths'
            for index, paths in enumerate(content[split])
            if not isinstance(paths, list)
            or not paths
            or not all(isinstance(p, str) for p in paths)
        ]
    return sorted(faults)


def _file_faults(root: Path, content: dict[str, list[list[str]]]) -> list[str]:
    counts = Counter(path for classes in content.values() for paths in classes for path in paths)
    faults = [f"{path} is listed {count} times" for path, count in counts.items() if count > 1]
    for path in counts:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or "\0" in path:
            faults.append(f"{path} does not lie inside the folder")
        elif not (root / path).is_file():
            faults.append(f"{path} does not exist")
    return [on_one_line(fault) for fault in faults]


def _named(content: dict[str, list[list[str]]]) -> dict[Split, list[NamedClass]]:
    """Give every class a name, in the order train, val, test."""
    named: dict[Split, list[NamedClass]] = {}
    for split in SPLITS:
        if split in content:
            classes = content[split]
            folders = [{str(PurePosixPath(path).parent) for path in paths} for paths in classes]
            own = [next(iter(folder)) if len(folder) == 1 else "" for folder in folders]
            if "" in own or len(set(own)) < len(own):
                own = [f"{split} {index}" for index in range(len(classes))]
            named[split] = list(zip(own, classes, strict=True))
    return named


def _shortened(splits: dict[Split, list[NamedClass]]) -> dict[Split, list[NamedClass]]:
    """Call classes by the last part of their folder where that is unambiguous."""
    names = [name for classes in splits.values() for name, _ in classes]
    if len({PurePosixPath(name).name for name in names}) < len(names):
        return splits
    return {
        split: [(PurePosixPath(name).name, paths) for name, paths in classes]
        for split, classes in splits.items()
    }


def _shared_class_faults(content: dict[str, list[list[str]]]) -> list[str]:
    """A folder that is a class of two splits: its images were divided, not the classes."""
    homes: dict[str, list[str]] = {}
    for split in (split for split in SPLITS if split in content):
        for folder in _class_folders(content[split]):
            homes.setdefault(folder, []).append(split)
    return [
        f"class {on_one_line(folder)} is in {' and '.join(found)}; classes must differ"
        for folder, found in homes.items()
        if len(found) > 1
    ]


def _class_folders(classes: list[list[str]]) -> list[str]:
    """Folders that hold all images of one class, and of no other class of the split."""
    touched = [{str(PurePosixPath(path).parent) for path in paths} for paths in classes]
    users = Counter(folder for folders in touched for folder in folders)
    return sorted(
        folder
        for folders in touched
        for folder in folders
        if len(folders) == 1 and users[folder] == 1
    )
