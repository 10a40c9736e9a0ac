"""The table of datasets known by name, and how a name or folder becomes a dataset."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from ram_cli.datasets.cars import list_cars
from ram_cli.datasets.cub import list_cub
from ram_cli.datasets.folder import list_folder
from ram_cli.datasets.images import SPLITS, Split
from ram_cli.datasets.listing import Listing
from ram_cli.datasets.remote import Part, RemoteFile, by_cid
from ram_cli.datasets.sfm import SFM_LISTS, list_sfm
from ram_cli.datasets.sop import list_sop
from ram_cli.errors import DataError


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
        sources: Sets of files, any one of which makes the dataset; tried in order.
        parts: Files that make it together, instead of `sources`.
        folders: Where it may lie below the folder for data; the first is the recommended one.
        marker: File that tells its folder from others.
        list_images: Parser of its original layout.
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
    marker: str
    list_images: Callable[[Path], Listing]
    sources: tuple[tuple[RemoteFile, ...], ...] = ()
    parts: tuple[Part, ...] = ()
    embedded: bool = False

    @property
    def how(self) -> str:
        """How to get it with this program."""
        return self.source if self.embedded else f"ram download {self.name}"


_STANFORD = "http://ftp.cs.stanford.edu/cs/cvgl/"
_STANFORD_FTP = "ftp://cs.stanford.edu/cs/cvgl/"

_SFM = "http://cmp.felk.cvut.cz/cnnimageretrieval/data/train"
_SFM_FOLDER = "retrieval-SfM"


def _sfm(name: str, title: str, source: str, lists: tuple[str, ...]) -> DatasetEntry:
    """One of the sets over the same images."""
    files = tuple(RemoteFile(name=file, urls=(f"{_SFM}/dbs/{file}",)) for file in lists)
    archive = RemoteFile(name="ims.tar.gz", urls=(f"{_SFM}/ims/ims.tar.gz",))
    return DatasetEntry(
        name=name,
        title=title,
        content="photographs of landmarks in clusters, with pairs; nothing to test on",
        train_val=Counts(classes=0, images=0),
        test=Counts(classes=0, images=0),
        licence="research; the photographs belong to their owners",
        source=source,
        folders=(_SFM_FOLDER, name, f"train/{title}"),
        marker=SFM_LISTS[name],
        list_images=partial(list_sfm, name=name),
        parts=(
            Part(folder=_SFM_FOLDER, files=files),
            Part(folder=_SFM_FOLDER, files=(archive,), place=by_cid),
        ),
    )


_ENTRIES = (
    DatasetEntry(
        name="furniture",
        title="Furniture renders",
        content="renders (not photographs) of furniture and household objects, from all sides",
        train_val=Counts(classes=300, images=2400),
        test=Counts(classes=100, images=800),
        licence="public domain, CC-BY 3.0, CC-BY 4.0; named for every class in credits.csv",
        source="It comes with this package.",
        folders=("furniture",),
        marker="split.json",
        list_images=list_folder,
        embedded=True,
    ),
    DatasetEntry(
        name="cub",
        title="CUB-200-2011",
        content="photographs of birds, 200 species",
        train_val=Counts(classes=100, images=5864),
        test=Counts(classes=100, images=5924),
        licence="non-commercial research and education; the photographs belong to their owners",
        source="Unpack CUB_200_2011.tgz from https://data.caltech.edu/records/65de6-vp158",
        folders=("CUB_200_2011", "cub", "cub/CUB_200_2011"),
        marker="images.txt",
        list_images=list_cub,
        sources=(
            (
                RemoteFile(
                    name="CUB_200_2011.tgz",
                    urls=("https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",),
                    size=1_150_585_339,
                    sha256="0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
                    md5="97eceeb196236b17998738112f37df78",
                ),
            ),
        ),
    ),
    DatasetEntry(
        name="cars",
        title="Cars196",
        content="photographs of cars, 196 models",
        train_val=Counts(classes=98, images=8054),
        test=Counts(classes=98, images=8131),
        licence="research; the photographs belong to their owners",
        source=(
            "Unpack CARS196.zip from http://ftp.cs.stanford.edu/cs/cvgl/ "
            "(car_ims/ beside cars_annos.mat)"
        ),
        folders=("cars196", "cars", "CARS196"),
        marker="cars_annos.mat",
        list_images=list_cars,
        sources=(
            (
                RemoteFile(
                    name="CARS196.zip",
                    urls=(f"{_STANFORD}CARS196.zip", f"{_STANFORD_FTP}CARS196.zip"),
                ),
            ),
            (
                # Their page is gone; mirrors and people still have the files.
                RemoteFile(name="car_ims.tgz", md5="d5c8f0aa497503f355e17dc7886c3f14"),
                RemoteFile(name="cars_annos.mat", md5="b407c6086d669747186bd1d764ff9dbc"),
            ),
        ),
    ),
    DatasetEntry(
        name="sop",
        title="Stanford Online Products",
        content="photographs of products on sale at eBay",
        train_val=Counts(classes=11_318, images=59_551),
        test=Counts(classes=11_316, images=60_502),
        licence="research; the photographs belong to their owners",
        source="Unpack Stanford_Online_Products.zip from http://ftp.cs.stanford.edu/cs/cvgl/",
        folders=("Stanford_Online_Products", "sop"),
        marker="Ebay_train.txt",
        list_images=list_sop,
        sources=(
            (
                RemoteFile(
                    name="Stanford_Online_Products.zip",
                    urls=(
                        f"{_STANFORD}Stanford_Online_Products.zip",
                        f"{_STANFORD_FTP}Stanford_Online_Products.zip",
                    ),
                    size=3_083_860_082,
                    sha256="b04fa78210e69fab050ce73939550e1cd0f96890bdd98ec9fee732c3b756ef48",
                    md5="7f73d41a2f44250d4779881525aea32e",
                ),
            ),
        ),
    ),
    _sfm(
        "sfm30k",
        "retrieval-SfM-30k",
        f"Put retrieval-SfM-30k.pkl, which no address is known for, beside ims/ of {_SFM}/ims/",
        ("retrieval-SfM-30k-whiten.pkl",),
    ),
    _sfm(
        "sfm120k",
        "retrieval-SfM-120k",
        f"Put retrieval-SfM-120k.pkl of {_SFM}/dbs/ beside ims/ of {_SFM}/ims/",
        ("retrieval-SfM-120k.pkl", "retrieval-SfM-120k-whiten.pkl"),
    ),
)

DATASETS: Final[dict[str, DatasetEntry]] = {entry.name: entry for entry in _ENTRIES}
"""Datasets known by name; a folder of class folders works as well."""


def parse_name(text: str) -> tuple[str, Split | None]:
    """Divide `"cub-test"` into `("cub", "test")`; other texts are returned whole, with None."""
    for split in SPLITS:
        name = text.removesuffix(f"-{split}")
        if name != text and text not in DATASETS and name in DATASETS:
            return name, split
    return text, None


def find_dataset(entry: DatasetEntry, data_root: Path) -> Path:
    """Return the folder of a dataset below `data_root`.

    Raises:
        DataError: It is not there.
    """
    places = [data_root / folder for folder in entry.folders]
    for place in places:
        if (place / entry.marker).is_file():
            return place
    looked = " or ".join(str(place / entry.marker) for place in places)
    raise DataError(
        f"dataset {entry.name} ({entry.title}) is not on this machine: there is no {looked}. "
        f"Fetch it: ram download {entry.name} --data-root {data_root}. Or: "
        f"{entry.source[0].lower()}{entry.source[1:]}, so that {places[0] / entry.marker} exists; "
        "or name the folder for data with --data-root."
    )


def check_counts(entry: DatasetEntry, listing: Listing) -> None:
    """Compare a listing with the published figures.

    Raises:
        DataError: Classes or images are missing or too many.
    """
    parts: tuple[tuple[str, tuple[Split, ...], Counts], ...] = (
        ("training", ("train", "val"), entry.train_val),
        ("test", ("test",), entry.test),
    )
    for title, splits, expected in parts:
        classes = [paths for split in splits for _, paths in listing.splits[split]]
        found = Counts(len(classes), sum(map(len, classes)))
        if expected.images and found != expected:
            raise DataError(
                f"{listing.root} is not the whole of {entry.name} ({entry.title}): "
                f"{found} for {title}, {expected} are published. Unpack the archive again, "
                "or give the folder's path to use what is there."
            )


def unknown_dataset(text: str) -> DataError:
    """Return the error for a name that is neither in the table nor a folder."""
    close = difflib.get_close_matches(parse_name(text)[0].lower(), DATASETS, n=3, cutoff=0.4)
    guess = f"Did you mean {' or '.join(close)}? " if close else ""
    return DataError(
        f"dataset {text!r} is neither known nor a folder. {guess}"
        f"Known: {', '.join(DATASETS)}; the path of a folder of class folders works too."
    )
