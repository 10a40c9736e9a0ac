"""Data sets of landmarks: queries with boxes, a gallery, and what is to be found.

Letters: Q queries, N images.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from ram_cli.datasets.images import ImageSet
from ram_cli.datasets.landmarks import LANDMARKS, Protocol
from ram_cli.datasets.pickles import read_ground_truth
from ram_cli.datasets.unlabelled import Truth, advice, decoded, find, unlabelled
from ram_cli.datasets.verify import Check, memory_file
from ram_cli.errors import DataError
from ram_cli.progress import SILENT, Reporter

SEARCHES: Final[dict[str, Protocol]] = {
    name: entry.protocol for name, entry in LANDMARKS.items() if entry.protocol
}
"""Data sets to search, and how what is found is counted."""

_SAME_IMAGES = {
    "oxford5k": "roxford5k",
    "paris6k": "rparis6k",
    "roxford5k": "oxford5k",
    "rparis6k": "paris6k",
}
_CORNERS = 4  # x1, y1, x2, y2
_LISTS: Final[dict[Protocol, tuple[str, ...]]] = {
    "revisited": ("easy", "hard", "junk"),
    "oxford": ("ok", "junk"),
}


@dataclass(frozen=True, slots=True, eq=False)
class SearchSet:
    """Queries, a gallery, and what each query is to find.

    Attributes:
        name: Key of `SEARCHES`.
        root: Its folder.
        gallery: Images to search, N.
        queries: Images to search with, Q; their boxes show the landmark, None where they show
            nothing else.
        ground_truth: Per query, gallery indices under "easy", "hard" and "junk", or under "ok" and
            "junk".
        protocol: How results are counted.
        content_hash: SHA-256 (hex) over paths, boxes and ground truth.
    """

    name: str
    root: Path
    gallery: ImageSet
    queries: ImageSet
    ground_truth: Truth
    protocol: Protocol
    content_hash: str


def is_search_set(name: str) -> bool:
    """Whether a name is that of a data set to search."""
    return name.strip().lower() in SEARCHES


def load_search_set(
    name: str,
    data_root: Path,
    *,
    verify: bool = True,
    skip_unreadable: bool = False,
    check: Check | None = None,
    reporter: Reporter = SILENT,
) -> SearchSet:
    """Load a data set of landmarks by name from its folder below `data_root`, or below its `test`.

    Args:
        name: Key of `SEARCHES`.
        data_root: Folder of the data sets; holds `<name>/gnd_<name>.pkl` and `<name>/jpg/`.
        verify: Decode every image once; what was found whole is remembered below `data_root`.
        skip_unreadable: Leave out images of the gallery that cannot be decoded; nothing is to be
            found there.
        check: A stricter check, made of every image; returns why it cannot be used, or None.
        reporter: Told what was found.

    Raises:
        DataError: A file is missing or damaged, or does not fit another.
        UnreadableImageError: An image cannot be decoded; for queries always.
    """
    name = name.strip().lower()
    path = find(data_root, name, f"gnd_{name}.pkl")
    content = read_ground_truth(path)
    protocol, root = SEARCHES[name], _image_folder(path.parent, name)
    try:
        gallery, queries = list(content["imlist"]), list(content["qimlist"])
        entries: list[Mapping[str, Any]] = list(content["gnd"])
        if len(entries) != len(queries) or not queries:
            raise ValueError(f"{len(queries)} queries, ground truth of {len(entries)}")
        truth: Truth = tuple(
            {key: _indices(path, entry, key, len(gallery)) for key in _LISTS[protocol]}
            for entry in entries
        )
        boxes = _boxes(entries)
    except KeyError as error:
        raise DataError(f"{path} is no ground truth of {name}: {error} is missing.") from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{path} is no ground truth of {name}: {error}.") from error
    images = unlabelled(f"{name}/gallery", root, gallery)
    asking = unlabelled(f"{name}/queries", root, queries, boxes)
    if verify or skip_unreadable:
        memory = memory_file(data_root, "landmarks", root)
        images, truth = decoded(images, asking, truth, memory, check, skip_unreadable, reporter)
        _check_boxes(path, asking)
    shown = None if boxes is None else boxes.tolist()
    digest = hashlib.sha256(repr((images.paths, asking.paths, shown, truth)).encode())
    reporter.note(f"{name}: {len(queries)} queries, {len(images)} gallery images")
    return SearchSet(
        name=name,
        root=path.parent,
        gallery=images,
        queries=asking,
        ground_truth=truth,
        protocol=protocol,
        content_hash=digest.hexdigest(),
    )


def _image_folder(folder: Path, name: str) -> Path:
    """Where the images lie; the old ground truths are of the same images as the new ones."""
    places = [folder / "jpg"]
    if name in _SAME_IMAGES:
        places.append(folder.parent / _SAME_IMAGES[name] / "jpg")
    for place in places:
        if place.is_dir():
            return place
    raise DataError(
        f"{name}: there is no folder of images {' or '.join(map(str, places))}. "
        f"{advice(name, folder.parent)}"
    )


def _boxes(entries: Sequence[Mapping[str, Any]]) -> NDArray[np.float32] | None:
    """Boxes of the queries `[Q, 4]`; None where whole images are queries."""
    if not any("bbx" in entry for entry in entries):
        return None
    with np.errstate(all="ignore"):  # what overflows is not finite, and refused below
        boxes = [np.asarray(entry["bbx"], dtype=np.float32).reshape(-1) for entry in entries]
    for number, box in enumerate(boxes):
        if len(box) != _CORNERS or not np.isfinite(box).all() or not (box[:2] < box[2:]).all():
            raise ValueError(f"the box of query {number} is {box.tolist()}")
    return np.stack(boxes)


def _check_boxes(path: Path, queries: ImageSet) -> None:
    """Make sure that every box shows something of its image; what sticks out is cut off later.

    Whether an image is to be turned is not looked at: a box counts that fits it either way.
    """
    for number, box in enumerate([] if queries.boxes is None else queries.boxes.tolist()):
        file = queries.path(number)
        with Image.open(file) as image:
            width, height = image.size
        if not any(_overlap(box, *sides) for sides in ((width, height), (height, width))):
            raise DataError(
                f"{path}: the box of query {number}, {box}, shows nothing of {file}, an image of "
                f"{width} x {height} pixels. Fetch both again."
            )


def _overlap(box: Sequence[float], width: int, height: int) -> bool:
    left, top, right, bottom = map(round, box)
    return min(right, width) > max(left, 0) and min(bottom, height) > max(top, 0)


def _indices(path: Path, entry: Mapping[str, Any], key: str, count: int) -> tuple[int, ...]:
    listed: ArrayLike = entry.get(key, ()) if key == "junk" else entry[key]
    given = np.asarray(listed).reshape(-1)
    with np.errstate(invalid="ignore"):  # what is no number differs afterwards
        indices = given.astype(np.int64)
    if given.size and not np.array_equal(indices, given):
        raise ValueError(f"{key} holds {given.dtype} that are no numbers of images")
    beyond = indices[(indices < 0) | (indices >= count)]
    if beyond.size:
        raise DataError(
            f"{path}: {key} names image {beyond[0]}, but there are {count}, counted from 0."
        )
    return tuple(int(index) for index in indices)
