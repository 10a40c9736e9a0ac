"""Bringing a known dataset onto this machine: fetched, checked, unpacked, and there all at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ram_cli.datasets.entries import DatasetEntry
from ram_cli.datasets.fetching import ARCHIVES, forget_unproven
from ram_cli.datasets.furniture import unpack_furniture
from ram_cli.datasets.landmarks import LandmarkEntry
from ram_cli.datasets.locking import held
from ram_cli.datasets.parts import Bringing, given_files
from ram_cli.datasets.presence import find_dataset
from ram_cli.datasets.sources import fetched_sources, given_sources
from ram_cli.datasets.unpacking import check_whole, unpack_whole
from ram_cli.datasets.whole import check_landmarks, gather
from ram_cli.errors import DataError
from ram_cli.progress import SILENT, Reporter

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
        mirror: Address of a folder that has the files under their own names, or of the one file, or
            `owner/name` of the Hub; tried before the published addresses.
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
    chosen = given_sources(entry, from_files) if from_files else None

    def waiting() -> None:
        reporter.note(f"another process is bringing {entry.name} to {data_root}; waiting for it")

    with held(archives / f".lock-{entry.name}", waiting):
        if (folder := _present(entry, data_root)) is not None:
            return _obtained(entry, folder, "already here")
        target = data_root / entry.folders[0]
        if target.is_symlink() or target.is_file() or (target.is_dir() and any(target.iterdir())):
            raise DataError(
                f"{target} is in the way: it is not {entry.title} as published (it has no "
                f"{entry.markers[0]}). Move it away, then run again."
            )
        files = chosen or fetched_sources(entry, archives, mirror, reporter)
        try:
            unpack_whole(entry, files, archives, target, reporter)
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
