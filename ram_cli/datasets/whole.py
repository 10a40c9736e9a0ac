"""Is all of a dataset of landmarks here? Counts as published, and a file for every name."""

from collections.abc import Iterable
from pathlib import Path

from ram_cli.datasets.distractors import load_distractors
from ram_cli.datasets.entries import DatasetEntry
from ram_cli.datasets.images import ImageSet
from ram_cli.datasets.landmarks import LandmarkEntry
from ram_cli.datasets.pairs import load_pairs
from ram_cli.datasets.parts import Bringing, bring, missing_files
from ram_cli.datasets.search import SearchSet, load_search_set
from ram_cli.errors import DataError

_NAMES_SHOWN = 2


def gather(entry: LandmarkEntry | DatasetEntry, how: Bringing) -> tuple[Path, int, bool]:
    """Bring every file of a dataset that comes in parts, unless all of it is there.

    The lists come first: images that lie there already, for another dataset or by hand, are then
    recognised, and no archive of them is fetched.

    Returns:
        Its folder, the number of its images, and whether anything was brought.

    Raises:
        DataError: It cannot be had, or what came, or lies there, is not the dataset.
        OutputError: The disk is full, or the folder cannot be written.
    """
    brought = False
    for number, part in enumerate(entry.parts):
        for file in part.files:
            if how.given and file.name not in how.given:
                continue
            brought |= bring(part, file, how)
        if number == 0 and not how.given and (found := _there(entry, how.data_root)):
            return *found, brought
    try:
        return *check_landmarks(entry, how.data_root), brought
    except DataError as error:
        if not entry.parts:
            raise
        raise DataError(f"{str(error).rstrip('.')}. {_what_next(entry, how)}") from error


def check_landmarks(entry: LandmarkEntry | DatasetEntry, data_root: Path) -> tuple[Path, int]:
    """Return folder and number of images of a dataset all of which is there.

    Raises:
        DataError: Something is missing, or counts are not as published.
    """
    if isinstance(entry, DatasetEntry):
        return check_sfm(entry, data_root)
    if entry.protocol is None:
        found = check_distractors(entry, data_root)
        return found.root, len(found)
    search = check_search_set(entry, data_root)
    return search.root, len(search.gallery) + len(search.queries)


def _there(entry: LandmarkEntry | DatasetEntry, data_root: Path) -> tuple[Path, int] | None:
    try:
        return check_landmarks(entry, data_root)
    except DataError:
        return None


def _what_next(entry: LandmarkEntry | DatasetEntry, how: Bringing) -> str:
    missing = [file.name for _, file in missing_files(entry.parts, how.data_root)]
    if missing:
        dots = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return f"Not brought yet: {missing[0]}{dots}; run again without --from-file, or with it."
    places = " and ".join(sorted({str(how.data_root / part.folder) for part in entry.parts}))
    return f"Move {places} away and run again: what was fetched is kept."


def check_search_counts(entry: LandmarkEntry, gallery: int, queries: int, source: Path) -> None:
    """Compare counts with the published ones.

    Raises:
        DataError: They differ.
    """
    if (gallery, queries) != (entry.gallery, entry.queries):
        wanted = f"{entry.gallery:,} images and {entry.queries:,} queries"
        raise DataError(
            f"{source} is not the whole of {entry.name} ({entry.title}): {gallery:,} images and "
            f"{queries:,} queries, {wanted} are published. Fetch it again."
        )


def check_search_set(entry: LandmarkEntry, data_root: Path) -> SearchSet:
    """Return a set to search of which every file is there.

    Raises:
        DataError: Something is missing, or counts are not as published.
    """
    found = load_search_set(entry.name, data_root, verify=False)
    check_search_counts(entry, len(found.gallery), len(found.queries), found.root)
    check_files((found.gallery, found.queries))
    return found


def check_distractors(entry: LandmarkEntry, data_root: Path) -> ImageSet:
    """Return distractors of which every file is there; raises DataError like `check_search_set`."""
    found = load_distractors(entry.name, data_root)
    check_search_counts(entry, len(found), 0, found.root)
    check_files((found,))
    return found


def check_sfm(entry: DatasetEntry, data_root: Path) -> tuple[Path, int]:
    """Return folder and number of images, once those of pairs and, if listed, training are there.

    Raises:
        DataError: Something is missing.
    """
    pairs = load_pairs(entry.name, data_root)
    root, paths = pairs.images.root, set(pairs.images.paths)
    if entry.lies_in(root):
        listing = entry.list_images(root)
        paths.update(
            path for split in listing.splits.values() for _, part in split for path in part
        )
    _check_paths(root, sorted(paths))
    return root, len(paths)


def check_files(parts: Iterable[ImageSet]) -> None:
    """Look that every image is there and not empty.

    Raises:
        DataError: Some are not.
    """
    for images in parts:
        _check_paths(images.root, images.paths)


def _check_paths(root: Path, paths: Iterable[str]) -> None:
    gone = [path for path in paths if not _is_there(root / path)]
    if gone:
        names = ", ".join(gone[:_NAMES_SHOWN])
        dots = ", …" if len(gone) > _NAMES_SHOWN else ""
        raise DataError(f"{root}: {len(gone):,} images are missing or empty: {names}{dots}.")


def _is_there(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
