"""`ram download`: public datasets, brought onto this machine."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ram_cli.datasets import DatasetEntry, LandmarkEntry, find_entry, kind_of, known_names
from ram_cli.datasets.download import Obtained, is_here, obtain
from ram_cli.errors import Interrupted
from ram_cli.progress import SILENT, Reporter, TableData
from ram_cli.settings import DownloadSettings
from ram_cli.transfer import in_units


@dataclass(frozen=True, slots=True)
class DownloadResult:
    """What is here now.

    Attributes:
        datasets: One per name asked for.
    """

    datasets: list[Obtained]

    def to_json(self) -> dict[str, Any]:
        """The result as one JSON document."""
        return {
            "datasets": [
                {"name": got.name, "folder": str(got.folder), "images": got.images, "how": got.how}
                for got in self.datasets
            ]
        }

    def tables(self) -> list[TableData]:
        """One row per dataset."""
        rows = [[got.name, got.how, f"{got.images:,}", str(got.folder)] for got in self.datasets]
        return [TableData("datasets", ["name", "how", "images", "folder"], rows, numeric={2})]

    def notes(self) -> list[str]:
        """What to do with them, and what their owners ask."""
        terms = [f"{got.name}: {find_entry(got.name).licence}" for got in self.datasets]
        return [*terms, f"use it: {_use(self.datasets[0])}"]


@dataclass(frozen=True, slots=True)
class Offer:
    """What can be brought.

    Attributes:
        data_root: Folder that was looked in.
        here: Folder of each dataset by name, None where it is missing.
    """

    data_root: Path
    here: dict[str, Path | None]

    def to_json(self) -> dict[str, Any]:
        """The offer as one JSON document; sizes in bytes, null where they are not published."""
        return {
            "datasets": [
                {
                    "name": name,
                    "title": find_entry(name).title,
                    "bytes": _size(find_entry(name)) or None,
                    "images": _images(find_entry(name)) or None,
                    "licence": find_entry(name).licence,
                    "folder": None if folder is None else str(folder),
                }
                for name, folder in self.here.items()
            ]
        }

    def tables(self) -> list[TableData]:
        """One row per dataset."""
        rows = [
            [
                name,
                find_entry(name).title,
                _size_text(find_entry(name)),
                find_entry(name).licence,
                "no" if folder is None else str(folder),
            ]
            for name, folder in self.here.items()
        ]
        return [TableData("datasets", ["name", "title", "archive", "licence", "here"], rows)]

    def notes(self) -> list[str]:
        """How to go on."""
        return [f"ram download NAME brings one to {self.data_root}"]


def run_download(settings: DownloadSettings, reporter: Reporter = SILENT) -> DownloadResult | Offer:
    """Bring the named datasets, or show what there is.

    Raises:
        RamError: A dataset cannot be had; those before it are here.
        Interrupted: Stopped on request.
    """
    try:
        return _run(settings, reporter)
    except KeyboardInterrupt:
        raise Interrupted("what has come is kept; the same command goes on from there.") from None


def _run(settings: DownloadSettings, reporter: Reporter) -> DownloadResult | Offer:
    root = settings.data_root
    if settings.list or not settings.datasets:
        names: Iterable[str] = settings.datasets or known_names()
        return Offer(root, {name: is_here(find_entry(name), root) for name in names})
    return DownloadResult(
        [
            obtain(
                find_entry(name),
                root,
                mirror=settings.mirror or "",
                from_files=settings.from_file,
                keep_archive=settings.keep_archive,
                reporter=reporter,
            )
            for name in dict.fromkeys(settings.datasets)
        ]
    )


def _use(got: Obtained) -> str:
    """The option that takes a dataset."""
    entry = find_entry(got.name)
    if kind_of(got.name) == "distractors":
        return f"--distractors {got.name}"
    if isinstance(entry, DatasetEntry) and entry.parts and not entry.lies_in(got.folder):
        return f"--learn-whitening {got.name}"  # only its pairs are here
    return f"--dataset {got.name}"


def _images(entry: DatasetEntry | LandmarkEntry) -> int:
    """Number of images, 0 where it is not published."""
    if isinstance(entry, LandmarkEntry):
        return entry.gallery + entry.queries
    return entry.train_val.images + entry.test.images


def _size(entry: DatasetEntry | LandmarkEntry) -> int:
    """Bytes of the first set of files, 0 where they are not published."""
    if isinstance(entry, LandmarkEntry):
        return entry.size
    sizes = [file.size for file in (entry.sources[0] if entry.sources else ())]
    return sum(sizes) if all(sizes) else 0


def _size_text(entry: DatasetEntry | LandmarkEntry) -> str:
    if isinstance(entry, DatasetEntry) and entry.embedded:
        return "in this package"
    return in_units(_size(entry)) if _size(entry) else "not published"
