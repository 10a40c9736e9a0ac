"""The one door to a dataset: by name or by folder."""

import os
from pathlib import Path

from ram_cli.datasets.assemble import assemble
from ram_cli.datasets.entries import DatasetEntry
from ram_cli.datasets.folder import list_folder
from ram_cli.datasets.furniture import unpack_furniture
from ram_cli.datasets.images import Dataset
from ram_cli.datasets.landmarks import kind_of, no_classes
from ram_cli.datasets.listing import (
    PUBLISHED_VAL_RATIO,
    Listing,
    check_class_count,
    check_ratios,
    with_val_ratio,
)
from ram_cli.datasets.presence import check_counts, check_open_set, entry_in, find_dataset
from ram_cli.datasets.registry import DATASETS, parse_name, unknown_dataset
from ram_cli.datasets.split_file import SPLIT_FILE
from ram_cli.datasets.verify import Check, memory_file
from ram_cli.errors import DataError
from ram_cli.progress import SILENT, Reporter


def load_dataset(
    name_or_folder: str,
    data_root: Path,
    *,
    split_seed: int = 0,
    test_ratio: float = 0.5,
    val_ratio: float = 0.5,
    skip_unreadable: bool = False,
    verify: bool = True,
    check: Check | None = None,
    reporter: Reporter = SILENT,
) -> Dataset:
    """Return a dataset with its zero-shot split: classes of train, val and test are disjoint.

    Args:
        name_or_folder: A name of `DATASETS` (`cub-test` means `cub`), or a folder of class folders.
        data_root: Folder for datasets; `furniture` is unpacked there when it is first asked for.
        split_seed: Seed of the random split of a folder. Known datasets keep their published split.
        test_ratio: Share of a folder's classes to test on, inside 0..1.
        val_ratio: Share of the other classes to validate on, from 0 up to less than 1; of a known
            dataset the last ones, 0.5 as published.
        skip_unreadable: Leave unreadable images out (they are listed in `skipped`).
        verify: Decode every image once; what was found whole is remembered below `data_root`.
        check: A stricter check, made of every image; returns why it cannot be used, or None.
        reporter: Receives progress and remarks.

    Raises:
        ConfigError: A ratio is out of range.
        DataError: The name is unknown, or the dataset is missing or not laid out as expected.
        UnreadableImageError: An image cannot be decoded.
        OutputError: The embedded images cannot be unpacked.
    """
    if kind_of(name_or_folder) in ("search", "distractors"):
        raise no_classes(name_or_folder)
    entry = DATASETS.get(parse_name(name_or_folder)[0])
    check_ratios(test_ratio, val_ratio)
    if entry is not None:
        if entry.embedded:
            unpack_furniture(data_root, reporter)
        name, listing = entry.name, _known(entry, find_dataset(entry, data_root), val_ratio)
        check_counts(entry, listing)
        if not entry.embedded and (listing.root / SPLIT_FILE).is_file():
            reporter.warn(
                f"{listing.root / SPLIT_FILE} is not used: {name} means its published split. To "
                f"use that file, name the folder: {listing.root}"
            )
    else:
        folder = Path(name_or_folder).expanduser()
        if not folder.exists() and not _looks_like_a_path(name_or_folder):
            raise unknown_dataset(name_or_folder)
        name = folder.resolve().name or "folder"
        if (found := entry_in(folder)) is not None:
            listing = _known(found, folder, val_ratio)
            name = _recognised(found, listing, name, reporter)
        else:
            listing = list_folder(
                folder, seed=split_seed, test_ratio=test_ratio, val_ratio=val_ratio
            )
        check_class_count(listing)
        check_open_set(listing)
    return assemble(
        name,
        listing,
        # The embedded images are compared with the archive's hash and sizes instead.
        verify=verify and (check is not None or not (entry is not None and entry.embedded)),
        check=check,
        skip_unreadable=skip_unreadable,
        memory=memory_file(data_root, name, listing.root),
        reporter=reporter,
    )


def _known(entry: DatasetEntry, folder: Path, val_ratio: float) -> Listing:
    """List an original layout, with the published validation classes unless told otherwise."""
    listing = entry.list_images(folder)
    if listing.pairs or val_ratio == PUBLISHED_VAL_RATIO:  # pairs belong to the published split
        return listing
    return with_val_ratio(listing, val_ratio)


def _recognised(entry: DatasetEntry, listing: Listing, name: str, reporter: Reporter) -> str:
    """Say that a folder is taken for a known dataset; return the name to give it."""
    try:
        check_counts(entry, listing)
    except DataError as error:
        reporter.warn(
            f"{str(error).partition('. ')[0]}. It is used as it is, split by class: scores cannot "
            "be compared with published ones."
        )
        return name
    reporter.note(
        f"{listing.root} is {entry.title}, and is split by class as published; "
        f"--dataset {entry.name} brings its published settings too"
    )
    return entry.name


def _looks_like_a_path(text: str) -> bool:
    return any(separator in text for separator in (os.sep, "/")) or text.startswith((".", "~"))
