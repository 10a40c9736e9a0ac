"""What sets of images without classes share: where they lie, and which of them can be decoded."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ram_cli.datasets.folder import is_image_name
from ram_cli.datasets.images import ImageSet
from ram_cli.datasets.landmarks import LANDMARKS
from ram_cli.datasets.registry import DATASETS
from ram_cli.datasets.verify import Check, find_unreadable
from ram_cli.errors import DataError, UnreadableImageError
from ram_cli.progress import Reporter

Truth = tuple[Mapping[str, tuple[int, ...]], ...]
"""Per query, indices of the gallery under the names of lists."""

_NAMES_SHOWN = 3
_LONGEST_NAME = 1024  # characters; file systems take less


def find(data_root: Path, name: str, marker: str) -> Path:
    """Return where the list of a set lies.

    Raises:
        DataError: It is nowhere.
    """
    places = [data_root / name / marker, data_root / "test" / name / marker]
    if name in DATASETS:
        places = [data_root / folder / marker for folder in (*DATASETS[name].folders, "train/dbs")]
    for place in places:
        if place.is_file():
            return place
    raise DataError(
        f"dataset {name} is not on this machine: there is no {' or '.join(map(str, places))}. "
        f"{advice(name, data_root)} Or name the folder for data with --data-root."
    )


def advice(name: str, data_root: Path) -> str:
    """Say how to get what is missing of a set."""
    if name in LANDMARKS and not LANDMARKS[name].parts:
        return f"{LANDMARKS[name].source}."
    return f"Fetch it: ram download {name} --data-root {data_root}."


def unlabelled(
    name: str, root: Path, names: Sequence[Any], boxes: NDArray[np.float32] | None = None
) -> ImageSet:
    """Return images without classes; a name without an ending is that of a JPEG file.

    Raises:
        DataError: A name leads out of the folder.
    """
    paths = []
    for item in names:
        text = str(item)
        named = is_image_name(text) or text.startswith("ims/")
        out = text.startswith(("/", "\\")) or (".." in text and ".." in text.split("/"))
        if out or "\0" in text or len(text) > _LONGEST_NAME:
            shown = repr(text[:80])
            raise DataError(f"{name}: {shown} does not lie inside its folder. Fetch it again.")
        paths.append(text if named else f"{text}.jpg")
    labels = np.zeros(len(paths), np.int64)
    return ImageSet(name, root, tuple(paths), labels, ("landmark",), boxes)


def decoded(
    images: ImageSet,
    queries: ImageSet,
    truth: Truth,
    memory: Path,
    check: Check | None,
    skip: bool,
    reporter: Reporter,
) -> tuple[ImageSet, Truth]:
    """The images that can be decoded, and the ground truth by their new indices."""
    paths = (*images.paths, *queries.paths)
    faults = find_unreadable(images.root, paths, memory=memory, check=check, reporter=reporter)
    blind = [path for path in queries.paths if path in faults]
    if blind or (faults and not skip):
        first = (blind or sorted(faults))[0]
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise UnreadableImageError(images.root / first, f"{faults[first]}{more}")
    if not faults:
        return images, truth
    names = ", ".join(sorted(faults)[:_NAMES_SHOWN])
    reporter.warn(f"{images.name}: {len(faults)} unreadable images are left out: {names}")
    kept = np.array([path not in faults for path in images.paths])
    place = np.cumsum(kept) - 1
    renumbered = tuple(
        {
            key: tuple(int(place[index]) for index in indices if kept[index])
            for key, indices in entry.items()
        }
        for entry in truth
    )
    return images.subset(np.flatnonzero(kept)), renumbered
