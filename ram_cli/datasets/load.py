"""The one door to a dataset: by name or by folder."""

import os
from pathlib import Path

from ram_cli.datasets.assemble import assemble
from ram_cli.datasets.folder import list_folder
from ram_cli.datasets.furniture import unpack_furniture
from ram_cli.datasets.images import Dataset
from ram_cli.datasets.landmarks import kind_of, no_classes
from ram_cli.datasets.listing import check_class_count
from ram_cli.datasets.registry import (
    DATASETS,
    check_counts,
    find_dataset,
    parse_name,
    unknown_dataset,
)
from ram_cli.datasets.verify import Check, memory_file
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
        val_ratio: Share of a folder's other classes to validate on, from 0 up to less than 1.
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
    if entry is not None:
        if entry.embedded:
            unpack_furniture(data_root, reporter)
        name, listing = entry.name, entry.list_images(find_dataset(entry, data_root))
        check_counts(entry, listing)
    else:
        folder = Path(name_or_folder).expanduser()
        if not folder.exists() and not _looks_like_a_path(name_or_folder):
            raise unknown_dataset(name_or_folder)
        name = folder.resolve().name or "folder"
        listing = list_folder(folder, seed=split_seed, test_ratio=test_ratio, val_ratio=val_ratio)
        check_class_count(listing)
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


def _looks_like_a_path(text: str) -> bool:
    return any(separator in text for separator in (os.sep, "/")) or text.startswith((".", "~"))
