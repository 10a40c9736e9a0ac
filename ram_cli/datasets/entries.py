"""What is known of a dataset before it is here: its size, its layout, where its files lie."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ram_cli.datasets.listing import Listing
from ram_cli.datasets.remote import Part, RemoteFile
from ram_cli.progress import Reporter

ReadTables = Callable[[Sequence[Path], Path, Reporter], None]
"""Writes the images of parquet files, and a list of them, into an empty folder."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How much a part of a dataset holds."""

    classes: int
    images: int

    def __str__(self) -> str:
        if not self.images:
            return ""
        return f"{self.images} images of {self.classes} classes"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetEntry:
    """A dataset known by name.

    Attributes:
        name: What `--dataset` accepts.
        title: Its published name.
        content: What it shows, in a few words.
        train_val: Size of its training and validation classes together; zero if not published.
        test: Size of its test classes.
        licence: Terms of the images.
        source: How to get it by hand.
        folders: Where it may lie below the folder for data; the first is the recommended one.
        markers: Files any one of which tells its folder from others; the published one first.
        list_images: Parser of its original layout.
        companions: Files beside the marker without which a folder of any name is not taken for it.
        queries: Test images that are queries; the others are the gallery. 0 where all are both.
        sources: Sets of files, any one of which makes the dataset; tried in order.
        parts: Files that make it together, instead of `sources`.
        hub: Datasets of the Hub, `owner/name@revision`, that hold it in parquet.
        read_tables: What makes its layout of parquet files, where that can be done.
        embedded: Whether it comes inside this package.
    """

    name: str
    title: str
    content: str
    train_val: Counts
    test: Counts
    licence: str
    source: str
    folders: tuple[str, ...]
    markers: tuple[str, ...]
    list_images: Callable[[Path], Listing]
    companions: tuple[str, ...] = ()
    queries: int = 0
    sources: tuple[tuple[RemoteFile, ...], ...] = ()
    parts: tuple[Part, ...] = ()
    hub: tuple[str, ...] = ()
    read_tables: ReadTables | None = None
    embedded: bool = False

    @property
    def offered(self) -> bool:
        """Whether any address is known that has it."""
        files = [file for files in self.sources for file in files]
        return bool(self.hub or self.parts) or any(file.urls for file in files)

    @property
    def how(self) -> str:
        """How to get it with this program."""
        if not self.offered:
            return self.source
        more = "" if self.fetched_whole else f"; {self.markers[0]} by hand"
        return f"ram download {self.name}{more}"

    @property
    def fetched_whole(self) -> bool:
        """Whether parts, if it has any, have an address for the list of its images too."""
        return not self.parts or self.markers[0] in {f.name for p in self.parts for f in p.files}

    def lies_in(self, folder: Path) -> bool:
        """Whether a folder holds a file that marks the dataset."""
        return any((folder / marker).is_file() for marker in self.markers)
