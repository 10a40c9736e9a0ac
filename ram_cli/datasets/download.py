"""Bringing a known dataset onto this machine: fetched, checked, unpacked, and there all at once."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ram_cli.datasets.extraction import is_archive, remove_tree, unpack
from ram_cli.datasets.fetching import (
    ARCHIVES,
    FAULTS,
    addresses,
    check_given,
    fetch_file,
    forget_unproven,
)
from ram_cli.datasets.furniture import unpack_furniture
from ram_cli.datasets.landmarks import LandmarkEntry
from ram_cli.datasets.listing import Listing
from ram_cli.datasets.locking import held
from ram_cli.datasets.manifest import file_size
from ram_cli.datasets.parts import Bringing, given_files
from ram_cli.datasets.registry import DatasetEntry, check_counts, find_dataset
from ram_cli.datasets.remote import RemoteFile
from ram_cli.datasets.whole import check_landmarks, gather
from ram_cli.errors import ConfigError, DataError
from ram_cli.files import TEMPORARY_PREFIX, atomic_file, atomic_folder
from ram_cli.progress import SILENT, Reporter
from ram_cli.transfer import check_room, verify, writing

_DEEPEST = 3  # folders in an archive above the dataset's own


How = Literal["already here", "unpacked", "fetched"]


@dataclass(frozen=True, slots=True)
class Obtained:
    """A dataset that is on this machine now.

    Attributes:
        name: Its name.
        folder: Where it lies.
        images: How many it has.
        how: Whether it was there already, or what was done.
    """

    name: str
    folder: Path
    images: int
    how: How


def obtain(
    entry: DatasetEntry | LandmarkEntry,
    data_root: Path,
    *,
    mirror: str = "",
    from_files: Sequence[Path] = (),
    keep_archive: bool = True,
    reporter: Reporter = SILENT,
) -> Obtained:
    """Bring a dataset below `data_root`, unless it is there.

    The folder appears once everything in it is checked. Of two processes that ask at once, the
    second waits. What was fetched before an interruption is not fetched again.

    Args:
        entry: What to bring.
        data_root: Folder for datasets.
        mirror: Address of a folder that has the files under their own names, or of the one file;
            tried before the published addresses.
        from_files: The files themselves, instead of any address.
        keep_archive: Keep what was fetched once it is unpacked.
        reporter: Told about progress.

    Raises:
        ConfigError: `from_files` are not the files of this dataset.
        DataError: It cannot be had, or what came, or lies there, is not the dataset.
        OutputError: The disk is full, or the folder cannot be written.
    """
    if isinstance(entry, LandmarkEntry) or entry.parts:
        given = given_files(entry.name, entry.parts, from_files)
        how = Bringing(data_root, mirror, given, keep_archive, reporter)
        place, images, brought = gather(entry, how)
        done: How = "already here" if not brought else "unpacked" if given else "fetched"
        return Obtained(entry.name, place, images, done)
    if entry.embedded:
        there = (data_root / entry.folders[0]).exists()
        return _obtained(
            entry, unpack_furniture(data_root, reporter), "already here" if there else "unpacked"
        )
    if (folder := _present(entry, data_root)) is not None:  # also where nothing can be written
        return _obtained(entry, folder, "already here")
    archives = data_root / ARCHIVES
    chosen = _given(entry, from_files) if from_files else None

    def waiting() -> None:
        reporter.note(f"another process is bringing {entry.name} to {data_root}; waiting for it")

    with held(archives / f".lock-{entry.name}", waiting):
        if (folder := _present(entry, data_root)) is not None:
            return _obtained(entry, folder, "already here")
        target = data_root / entry.folders[0]
        if target.is_symlink() or target.is_file() or (target.is_dir() and any(target.iterdir())):
            raise DataError(
                f"{target} is in the way: it is not {entry.title} as published (it has no "
                f"{entry.marker}). Move it away, then run again."
            )
        files = chosen or _fetched(entry, archives, mirror, reporter)
        try:
            _unpack_whole(entry, files, archives, target, reporter)
        except DataError:
            forget_unproven(files.items(), archives)
            raise
        if chosen is None and not keep_archive:
            for file in files.values():
                file.unlink(missing_ok=True)
        return _obtained(entry, target, "unpacked" if chosen else "fetched")


def is_here(entry: DatasetEntry | LandmarkEntry, data_root: Path) -> Path | None:
    """Return the folder of a dataset below `data_root`, None where there is none.

    Of what comes in parts, all must be there.
    """
    try:
        if isinstance(entry, LandmarkEntry) or entry.parts:
            return check_landmarks(entry, data_root)[0]
        return find_dataset(entry, data_root)
    except DataError:
        return None


def check_whole(entry: DatasetEntry, folder: Path) -> None:
    """Compare a folder with the published figures, and look that every file is there.

    Raises:
        DataError: Something is missing.
    """
    listing = entry.list_images(folder)
    check_counts(entry, listing)
    for path in _paths(listing):
        if file_size(folder / path) == 0:
            raise DataError(f"{folder / path} is empty.")


def _paths(listing: Listing) -> list[str]:
    return [path for classes in listing.splits.values() for _, paths in classes for path in paths]


def _obtained(entry: DatasetEntry, folder: Path, how: How) -> Obtained:
    return Obtained(entry.name, folder, entry.train_val.images + entry.test.images, how)


def _present(entry: DatasetEntry, data_root: Path) -> Path | None:
    folder = is_here(entry, data_root)
    if folder is not None:
        try:
            check_whole(entry, folder)
        except DataError as error:
            raise DataError(
                f"{folder} is there but not whole ({str(error).rstrip('.')}). Move it away, then "
                "run again."
            ) from error
    return folder


def _given(entry: DatasetEntry, paths: Sequence[Path]) -> dict[RemoteFile, Path]:
    """Match files that a person has with a set of files of the dataset.

    Raises:
        ConfigError: They are no such set, or missing.
    """
    check_given(paths)
    by_name = {path.name: path for path in paths}
    for source in entry.sources:
        if {file.name for file in source} == by_name.keys():
            return {file: by_name[file.name] for file in source}
    partial = any(file.name in by_name for source in entry.sources for file in source)
    if len(paths) == 1 and not partial:  # under a name of its own
        for source in entry.sources:
            if len(source) == 1:
                return {source[0]: paths[0]}
    wanted = ", or ".join(" and ".join(file.name for file in source) for source in entry.sources)
    raise ConfigError(f"--from-file: {entry.name} is made from {wanted}")


def _fetched(
    entry: DatasetEntry, archives: Path, mirror: str, reporter: Reporter
) -> dict[RemoteFile, Path]:
    """Fetch the first set of files that can be had."""
    problems = []
    for source in entry.sources:
        files = {}
        try:
            for file in source:
                files[file] = fetch_file(file, archives / file.name, mirror, reporter)
        except DataError as error:
            if any(addresses(file, mirror) for file in source):
                problems.append(str(error))
            continue
        return files
    names = " or ".join(" with ".join(file.name for file in source) for source in entry.sources)
    raise DataError(
        f"{' '.join(problems)} Try again later, name a --mirror, or fetch {names} by other means "
        f"and run: ram download {entry.name} --from-file FILE"
    )


def _unpack_whole(
    entry: DatasetEntry,
    files: dict[RemoteFile, Path],
    archives: Path,
    target: Path,
    reporter: Reporter,
) -> None:
    """Unpack, check, and put in place at one stroke."""
    work = target.parent / f"{TEMPORARY_PREFIX}{entry.name}"
    remove_tree(work)  # of a process that was killed: nobody else is here
    whole = work / "whole"
    try:
        with writing(work):
            (work / "raw").mkdir(parents=True)
        for file, path in files.items():
            if path.parent != archives:  # what was fetched has been checked
                pin = archives / f"{file.name}.sha256"
                verify(path, file.expected, faults=FAULTS, pin=pin, reporter=reporter)
            if is_archive(file.name):
                unpack(path, work / "raw", reporter=reporter)
            else:
                _copy(path, work / "raw" / file.name)
        root = _root_of(entry, work / "raw", list(files.values()))
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
            if (place / entry.marker).is_file():
                return place
        level = [item for place in level for item in sorted(place.iterdir()) if item.is_dir()]
    names = " and ".join(str(path) for path in archives)
    raise DataError(f"{names}: there is no {entry.marker} in it, so it is not {entry.title}.")
