"""Data sets of landmarks: queries with boxes, a gallery, and what is to be found; pairs; clutter.

Letters: Q queries, N images, P pairs.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ram_cli.datasets.folder import IMAGE_SUFFIXES
from ram_cli.datasets.images import ImageSet
from ram_cli.datasets.pickles import read_ground_truth
from ram_cli.datasets.verify import find_unreadable
from ram_cli.errors import DataError
from ram_cli.progress import SILENT, Reporter

Protocol = Literal["revisited", "oxford"]
Truth = tuple[Mapping[str, tuple[int, ...]], ...]

SEARCHES: Final[dict[str, Protocol]] = {
    "roxford5k": "revisited",
    "rparis6k": "revisited",
    "oxford5k": "oxford",
    "paris6k": "oxford",
    "instre": "oxford",
}
"""Data sets to search, and how what is found is counted."""

PAIRS: Final[dict[str, str]] = {
    "sfm30k": "retrieval-SfM-30k-whiten.pkl",
    "sfm120k": "retrieval-SfM-120k-whiten.pkl",
}
"""Sets of matching pairs, and the file that lists them."""

_SAME_IMAGES = {"oxford5k": "roxford5k", "paris6k": "rparis6k"}
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
        queries: Images to search with, Q; their boxes show the landmark.
        ground_truth: Per query, gallery indices under "easy", "hard" and "junk", or under "ok" and
            "junk".
        protocol: How results are counted.
        content_hash: SHA-256 (hex) over names, boxes and ground truth.
    """

    name: str
    root: Path
    gallery: ImageSet
    queries: ImageSet
    ground_truth: Truth
    protocol: Protocol
    content_hash: str


@dataclass(frozen=True, slots=True, eq=False)
class PairSet:
    """Images, and which of them show the same.

    Attributes:
        images: The images, N.
        pairs: Indices of matching images `[P, 2]`.
    """

    images: ImageSet
    pairs: NDArray[np.int64]


def is_search_set(name: str) -> bool:
    """Whether a name is that of a data set to search."""
    return name.strip().lower() in SEARCHES


def load_search_set(
    name: str, data_root: Path, *, skip_unreadable: bool = False, reporter: Reporter = SILENT
) -> SearchSet:
    """Load a data set of landmarks by name from its folder below `data_root`, or below its `test`.

    Args:
        name: Key of `SEARCHES`.
        data_root: Folder of the data sets; holds `<name>/gnd_<name>.pkl` and `<name>/jpg/`.
        skip_unreadable: Leave out images of the gallery that cannot be decoded; nothing is to be
            found there.
        reporter: Told what was found.

    Raises:
        DataError: A file is missing or damaged, or does not fit another.
    """
    name = name.strip().lower()
    path = _find(data_root, name, f"gnd_{name}.pkl")
    content = read_ground_truth(path)
    protocol, root = SEARCHES[name], _image_folder(path.parent, name)
    try:
        gallery, queries = list(content["imlist"]), list(content["qimlist"])
        entries: list[Mapping[str, Any]] = list(content["gnd"])
        truth: Truth = tuple(
            {key: _indices(path, entry, key, len(gallery)) for key in _LISTS[protocol]}
            for entry in entries
        )
        boxes = np.array([entry["bbx"] for entry in entries], np.float32).reshape(-1, 4)
        digest = hashlib.sha256(repr((gallery, queries, boxes.tolist(), truth)).encode())
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no ground truth of {name}: {error} is missing.") from error
    if len(truth) != len(queries) or not queries:
        raise DataError(f"{path}: {len(queries)} queries, ground truth of {len(truth)}.")
    images = _unlabelled(f"{name}/gallery", root, gallery)
    if skip_unreadable:
        images, truth = _without_unreadable(images, truth, reporter)
    reporter.note(f"{name}: {len(queries)} queries, {len(images)} gallery images")
    return SearchSet(
        name=name,
        root=path.parent,
        gallery=images,
        queries=_unlabelled(f"{name}/queries", root, queries, boxes),
        ground_truth=truth,
        protocol=protocol,
        content_hash=digest.hexdigest(),
    )


def load_distractors(
    name_or_folder: str,
    data_root: Path,
    *,
    skip_unreadable: bool = False,
    reporter: Reporter = SILENT,
) -> ImageSet:
    """Load images that match no query: `revisitop1m`, or all images below a folder.

    Args:
        name_or_folder: What to load.
        data_root: Folder of the data sets.
        skip_unreadable: Leave out images that cannot be decoded.
        reporter: Told what was found.

    Raises:
        DataError: There is no such folder, or no image in it.
    """
    name = name_or_folder.strip().lower()
    folder = data_root / name / "jpg" if name == "revisitop1m" else Path(name_or_folder)
    if name == "revisitop1m" and not folder.is_dir():
        folder = data_root / "test" / name / "jpg"
    folder = folder.expanduser()
    if not folder.is_dir():
        raise DataError(f"distractors: there is no folder {folder}.")
    paths = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
    )
    if not paths:
        raise DataError(f"distractors: there is no image below {folder}.")
    images = _unlabelled(f"{folder.resolve().name} distractors", folder, paths)
    if skip_unreadable:
        images, _ = _without_unreadable(images, (), reporter)
    reporter.note(f"{len(images)} distractors in {folder}")
    return images


def load_pairs(name: str, data_root: Path, *, reporter: Reporter = SILENT) -> PairSet:
    """Load matching pairs of retrieval-SfM.

    Args:
        name: Key of `PAIRS`.
        data_root: Folder of the data sets; holds `<name>/<file of PAIRS>` and `<name>/ims/`.
        reporter: Told what was found.

    Raises:
        DataError: A file is missing or damaged, or does not fit another.
    """
    path = _find(data_root, name, PAIRS[name])
    content = read_ground_truth(path)
    try:
        names = [str(cid) for cid in content["cids"]]
        pairs = np.array([content["qidxs"], content["pidxs"]], dtype=np.int64).T
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} lists no pairs: {error} is missing.") from error
    if pairs.size and not 0 <= pairs.min() <= pairs.max() < len(names):
        raise DataError(f"{path}: a pair names none of its {len(names)} images.")
    paths = [f"ims/{cid[-2:]}/{cid[-4:-2]}/{cid[-6:-4]}/{cid}" for cid in names]
    reporter.note(f"{name}: {len(pairs)} pairs of {len(names)} images")
    return PairSet(_unlabelled(f"{name}/pairs", path.parent, paths), pairs)


def _find(data_root: Path, name: str, marker: str) -> Path:
    places = [data_root / name / marker, data_root / "test" / name / marker]
    if name in PAIRS:
        places.append(data_root / "train" / "dbs" / marker)
    for place in places:
        if place.is_file():
            return place
    raise DataError(
        f"dataset {name} is not on this machine: there is no {' or '.join(map(str, places))}. "
        "Put its files there, or name the folder for data with --data-root."
    )


def _image_folder(folder: Path, name: str) -> Path:
    """Where the images lie; the old ground truths are of the same images as the new ones."""
    places = [folder / "jpg"]
    if name in _SAME_IMAGES:
        places.append(folder.parent / _SAME_IMAGES[name] / "jpg")
    for place in places:
        if place.is_dir():
            return place
    raise DataError(f"{name}: there is no folder of images {' or '.join(map(str, places))}.")


def _unlabelled(
    name: str, root: Path, names: Sequence[Any], boxes: NDArray[np.float32] | None = None
) -> ImageSet:
    paths = tuple(
        str(item) if Path(str(item)).suffix.lower() in IMAGE_SUFFIXES or "ims/" in str(item)
        else f"{item}.jpg"
        for item in names
    )  # fmt: skip
    return ImageSet(name, root, paths, np.zeros(len(paths), np.int64), ("landmark",), boxes)


def _without_unreadable(
    images: ImageSet, truth: Truth, reporter: Reporter
) -> tuple[ImageSet, Truth]:
    """The images that can be decoded, and the ground truth by their new indices."""
    faults = find_unreadable(images.root, images.paths, reporter=reporter)
    if not faults:
        return images, truth
    reporter.warn(f"{images.name}: {len(faults)} unreadable images are left out")
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


def _indices(path: Path, entry: Mapping[str, Any], key: str, count: int) -> tuple[int, ...]:
    listed: ArrayLike = entry.get(key, ()) if key == "junk" else entry[key]
    indices = np.asarray(listed, dtype=np.int64).reshape(-1)
    if indices.size and not 0 <= indices.min() <= indices.max() < count:
        raise DataError(f"{path}: {key} names image {indices.max()}, but there are {count}.")
    return tuple(int(index) for index in indices)
