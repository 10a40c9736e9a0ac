"""`ram download`: public datasets, brought onto this machine."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ram_cli.datasets import DATASETS, DatasetEntry
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
        terms = [f"{got.name}: {DATASETS[got.name].licence}" for got in self.datasets]
        return [*terms, f"use it: --dataset {self.datasets[0].name}"]


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
                    "title": DATASETS[name].title,
                    "bytes": _size(DATASETS[name]) or None,
                    "images": DATASETS[name].train_val.images + DATASETS[name].test.images,
                    "licence": DATASETS[name].licence,
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
                DATASETS[name].title,
                _size_text(DATASETS[name]),
                DATASETS[name].licence,
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
        names: Iterable[str] = settings.datasets or DATASETS
        return Offer(root, {name: is_here(DATASETS[name], root) for name in names})
    return DownloadResult(
        [
            obtain(
                DATASETS[name],
                root,
                mirror=settings.mirror or "",
                from_files=settings.from_file,
                keep_archive=settings.keep_archive,
                reporter=reporter,
            )
            for name in dict.fromkeys(settings.datasets)
        ]
    )


def _size(entry: DatasetEntry) -> int:
    """Bytes of the first set of files, 0 where they are not published."""
    sizes = [file.size for file in (entry.sources[0] if entry.sources else ())]
    return sum(sizes) if all(sizes) else 0


def _size_text(entry: DatasetEntry) -> str:
    if entry.embedded:
        return "in this package"
    return in_units(_size(entry)) if _size(entry) else "not published"
