"""Where a known dataset lies on this machine, and whether all of it does."""

from pathlib import Path

from ram_cli.datasets.entries import Counts, DatasetEntry
from ram_cli.datasets.images import Split
from ram_cli.datasets.listing import Listing
from ram_cli.datasets.registry import DATASETS
from ram_cli.datasets.split_file import SPLIT_FILE
from ram_cli.errors import DataError

_CLOSED_SETS = {(5_994, 5_794): "CUB-200-2011", (8_144, 8_041): "Cars196"}
"""Images to train and to test on, where the two show the same classes."""


def find_dataset(entry: DatasetEntry, data_root: Path) -> Path:
    """Return the folder of a dataset below `data_root`.

    Raises:
        DataError: It is not there.
    """
    places = [data_root / folder for folder in entry.folders]
    for place in places:
        if entry.lies_in(place):
            return place
    marker = entry.markers[0]
    looked = " or ".join(str(place / marker) for place in places)
    by_hand = f"{entry.source[0].lower()}{entry.source[1:]}, so that {places[0] / marker} exists"
    can = entry.offered and entry.fetched_whole
    fetch = f"Fetch it: {entry.how} --data-root {data_root}. Or: " if can else "To do: "
    raise DataError(
        f"dataset {entry.name} ({entry.title}) is not on this machine: there is no {looked}. "
        f"{fetch}{by_hand}; or name the folder for data with --data-root."
    )


def entry_in(folder: Path) -> DatasetEntry | None:
    """Return the known dataset whose original layout a folder has; None for any other folder.

    A folder with a `split.json` is what that file says.
    """
    if (folder / SPLIT_FILE).is_file():
        return None
    for entry in DATASETS.values():
        files = [folder / file for file in entry.companions]
        if (
            not (entry.embedded or entry.parts)
            and entry.lies_in(folder)
            and all(map(Path.is_file, files))
        ):
            return entry
    return None


def check_counts(entry: DatasetEntry, listing: Listing) -> None:
    """Compare a listing with the published figures.

    Raises:
        DataError: Classes or images are missing or too many.
    """
    parts: tuple[tuple[str, tuple[Split, ...], Counts], ...] = (
        ("training", ("train", "val"), entry.train_val),
        ("test", ("test",), entry.test),
    )
    problems = [
        f"{found} for {title}, {expected} are published"
        for title, splits, expected in parts
        if (found := _counts(listing, splits)) != expected and expected.images
    ]
    if entry.queries and len(listing.queries) != entry.queries:
        problems.append(f"{len(listing.queries)} queries, {entry.queries} are published")
    if problems:
        raise DataError(
            f"{listing.root} is not the whole of {entry.name} ({entry.title}): "
            f"{'; '.join(problems)}. Unpack the archive again, "
            "or give the folder's path to use what is there."
        )


def check_open_set(listing: Listing) -> None:
    """Refuse a split of a folder that is known to have the same classes on both sides.

    Raises:
        DataError: It is one.
    """
    train_val, test = _counts(listing, ("train", "val")), _counts(listing, ("test",))
    title = _CLOSED_SETS.get((train_val.images, test.images))
    if title is not None:
        raise DataError(
            f"{listing.root}: {train_val.images} images to train on and {test.images} to test on "
            f"are the closed-set split of {title}, in which both show the same classes. Its scores "
            "cannot be compared with those of retrieval: name the dataset instead, which is split "
            "by class."
        )


def _counts(listing: Listing, splits: tuple[Split, ...]) -> Counts:
    classes = [paths for split in splits for _, paths in listing.splits[split]]
    return Counts(len(classes), sum(map(len, classes)))
