"""From a listing to a dataset: check the files, number the classes, hash the whole."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ram_cli.datasets.images import SPLITS, Dataset, ImageSet, Split
from ram_cli.datasets.listing import Listing
from ram_cli.datasets.manifest import content_hash, file_size
from ram_cli.datasets.verify import Check, find_unreadable
from ram_cli.errors import DataError, UnreadableImageError
from ram_cli.progress import SILENT, Reporter

_NAMES_SHOWN = 3


def assemble(
    name: str,
    listing: Listing,
    *,
    verify: bool = True,
    skip_unreadable: bool = False,
    memory: Path | None = None,
    check: Check | None = None,
    reporter: Reporter = SILENT,
) -> Dataset:
    """Return the dataset of a listing; labels follow the order of its classes.

    Args:
        name: Name of the dataset.
        listing: Its files and classes.
        verify: Decode every image once.
        skip_unreadable: Leave unreadable images out instead of refusing.
        memory: File that remembers which images were found whole.
        check: A stricter check of every image.
        reporter: Receives progress and remarks.

    Raises:
        UnreadableImageError: An image cannot be decoded (only with `verify`).
        DataError: A file is missing, or nothing readable is left of a split.
    """
    paths = [path for split in SPLITS for _, found in listing.splits[split] for path in found]
    faults: dict[str, str] = {}
    if verify:
        faults = find_unreadable(listing.root, paths, memory=memory, check=check, reporter=reporter)
    if faults and not skip_unreadable:
        raise _unreadable(listing.root, faults)
    if faults:
        names = ", ".join(sorted(faults)[:_NAMES_SHOWN])
        dots = ", …" if len(faults) > _NAMES_SHOWN else ""
        reporter.warn(f"{len(faults)} unreadable images left out: {names}{dots}")
    for note in (*listing.notes, *_oddities(listing, faults)):
        reporter.note(note)
    images = _image_sets(name, listing, faults)
    for split, found in images.items():
        if listing.splits[split] and not len(found):
            raise DataError(f"{listing.root}: no image of the {split} split can be read.")
    pairs = {split: _indices(images[split], named) for split, named in listing.pairs.items()}
    return Dataset(
        name=name,
        root=listing.root,
        **images,
        content_hash=content_hash(
            images, {p: file_size(listing.root / p) for p in paths if p not in faults}, pairs
        ),
        skipped=tuple(sorted(faults)),
        pairs=pairs,
    )


def _image_sets(name: str, listing: Listing, faults: Mapping[str, str]) -> dict[Split, ImageSet]:
    class_names = tuple(found for split in SPLITS for found, _ in listing.splits[split])
    images: dict[Split, ImageSet] = {}
    first = 0
    for split in SPLITS:
        classes = listing.splits[split]
        pairs = [
            (path, label)
            for label, (_, paths) in enumerate(classes, start=first)
            for path in paths
            if path not in faults
        ]
        first += len(classes)
        images[split] = ImageSet(
            name=f"{name}/{split}",
            root=listing.root,
            paths=tuple(path for path, _ in pairs),
            labels=np.array([label for _, label in pairs], dtype=np.int64),
            class_names=class_names,
            queries=_queries(listing, [path for path, _ in pairs]) if split == "test" else None,
        )
    return images


def _indices(images: ImageSet, pairs: Sequence[tuple[str, str]]) -> NDArray[np.int64]:
    """Pairs of paths as indices `[P, 2]`; those with an image that was left out are, too."""
    place = {path: index for index, path in enumerate(images.paths)}
    kept = [(place[a], place[b]) for a, b in pairs if a in place and b in place]
    return np.array(kept, dtype=np.int64).reshape(-1, 2)


def _queries(listing: Listing, paths: list[str]) -> NDArray[np.bool_] | None:
    if not listing.queries:
        return None
    return np.array([path in listing.queries for path in paths], dtype=np.bool_)


def _unreadable(root: Path, faults: Mapping[str, str]) -> UnreadableImageError:
    """Name the first file with its reason, a few more without, and count the rest."""
    first, *others = sorted(faults)
    reason = faults[first]
    if others:
        dots = ", …" if len(others) > _NAMES_SHOWN else ""
        reason += f" (and {len(others)} more: {', '.join(others[:_NAMES_SHOWN])}{dots})"
    return UnreadableImageError(root / first, reason)


def _oddities(listing: Listing, faults: Mapping[str, str]) -> list[str]:
    """Say what a person may want to know about the images."""
    sizes = Counter(
        min(2, sum(path not in faults for path in paths))
        for split in SPLITS
        for _, paths in listing.splits[split]
    )
    if not sizes[1]:
        return []
    return [
        f"classes with a single image: {sizes[1]} (as queries these have no positive, and do not "
        "count)"
    ]
