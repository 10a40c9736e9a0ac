"""From the files of a known dataset to its folder, which appears whole or not at all."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from ram_cli.datasets.entries import DatasetEntry
from ram_cli.datasets.extraction import is_archive, remove_tree, unpack
from ram_cli.datasets.fetching import FAULTS, TABLES, is_fetched
from ram_cli.datasets.manifest import file_size
from ram_cli.datasets.presence import check_counts
from ram_cli.datasets.sources import Files
from ram_cli.errors import DataError
from ram_cli.files import TEMPORARY_PREFIX, atomic_file, atomic_folder
from ram_cli.progress import Reporter
from ram_cli.transfer import check_room, verify, writing

_DEEPEST = 3  # folders in an archive above the dataset's own


def unpack_whole(
    entry: DatasetEntry, files: Files, archives: Path, target: Path, reporter: Reporter
) -> None:
    """Unpack, check, and put in place at one stroke.

    Args:
        entry: The dataset.
        files: What it is made of.
        archives: Folder of what was fetched; files elsewhere are a person's own.
        target: Where its folder is to be; missing, or empty.
        reporter: Told about progress.

    Raises:
        DataError: The files are not the dataset.
        OutputError: The disk is full, or the folder cannot be written.
    """
    work = target.parent / f"{TEMPORARY_PREFIX}{entry.name}"
    remove_tree(work)  # of a process that was killed: nobody else is here
    raw, whole = work / "raw", work / "whole"
    try:
        with writing(work):
            raw.mkdir(parents=True)
        _lay_out(entry, files, archives, raw, reporter)
        root = _root_of(entry, raw, list(files.values()))
        reporter.note(f"checking that all of {entry.title} is there")
        check_whole(entry, root)
        with atomic_folder(whole) as temporary:
            for item in list(root.iterdir()):
                item.rename(temporary / item.name)
        with writing(target):
            if target.is_dir():
                target.rmdir()  # empty, as was made sure
            target.parent.mkdir(parents=True, exist_ok=True)
            whole.rename(target)
    finally:
        remove_tree(work)


def _lay_out(
    entry: DatasetEntry, files: Files, archives: Path, raw: Path, reporter: Reporter
) -> None:
    """Unpack archives, copy what lies beside them, and read tables, into an empty folder."""
    tables = []
    for file, path in files.items():
        if not is_fetched(path, archives):  # what was fetched has been checked
            pin = archives / f"{file.name}.sha256"
            verify(path, file.expected, faults=FAULTS, pin=pin, reporter=reporter)
        if is_archive(file.name):
            unpack(path, raw, reporter=reporter)
        elif path.suffix == TABLES:
            tables.append(path)
        else:
            _copy(path, raw / file.name)
    if tables and entry.read_tables is not None:
        entry.read_tables(tables, raw, reporter)


def check_whole(entry: DatasetEntry, folder: Path) -> None:
    """Compare a folder with the published figures, and look that every file is there.

    Raises:
        DataError: Something is missing.
    """
    listing = entry.list_images(folder)
    check_counts(entry, listing)
    for classes in listing.splits.values():
        for path in (path for _, paths in classes for path in paths):
            if file_size(folder / path) == 0:
                raise DataError(f"{folder / path} is empty.")


def _copy(source: Path, target: Path) -> None:
    check_room(target.parent, source.stat().st_size)
    with atomic_file(target) as temporary:
        shutil.copyfile(source, temporary)


def _root_of(entry: DatasetEntry, folder: Path, archives: Sequence[Path]) -> Path:
    """Return the folder that holds the dataset's files, however deep the archive put it.

    Raises:
        DataError: The marker is nowhere.
    """
    level = [folder]
    for _ in range(_DEEPEST):
        for place in level:
            if entry.lies_in(place):
                return place
        level = [item for place in level for item in sorted(place.iterdir()) if item.is_dir()]
    names = " and ".join(str(path) for path in archives)
    raise DataError(f"{names}: there is no {entry.markers[0]} in it, so it is not {entry.title}.")
