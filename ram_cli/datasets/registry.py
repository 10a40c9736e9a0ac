"""The table of datasets known by name."""

import difflib
from functools import partial
from typing import Final

from ram_cli.datasets.cars import CARS_LIST, list_cars
from ram_cli.datasets.cars_tables import write_cars
from ram_cli.datasets.cub import list_cub
from ram_cli.datasets.entries import Counts, DatasetEntry
from ram_cli.datasets.folder import list_folder
from ram_cli.datasets.images import SPLITS, Split
from ram_cli.datasets.inshop import list_inshop
from ram_cli.datasets.remote import Part, RemoteFile, by_cid
from ram_cli.datasets.sfm import SFM_LISTS, list_sfm
from ram_cli.datasets.sop import list_sop
from ram_cli.errors import DataError

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
        markers=(SFM_LISTS[name],),
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
        markers=("split.json",),
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
        markers=("images.txt",),
        companions=("image_class_labels.txt",),
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
        markers=("cars_annos.mat", CARS_LIST),
        list_images=list_cars,
        read_tables=write_cars,
        hub=(  # of the first, later commits add images made worse on purpose
            "tanganke/stanford_cars@9abf6cf7d6dfa7b95152a0d6e791ea9435b47a40",
            "Donghyun99/Stanford-Cars@main",
            "naufalso/stanford_cars@main",
        ),
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
        markers=("Ebay_train.txt",),
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
    DatasetEntry(
        name="inshop",
        title="DeepFashion In-Shop",
        content="photographs of clothes, queries apart from the gallery",
        train_val=Counts(classes=3_997, images=25_882),
        test=Counts(classes=3_985, images=26_830),
        queries=14_218,
        licence="non-commercial research, after an agreement with its authors",
        source=(
            "Sign the agreement of http://mmlab.ie.cuhk.edu.hk/projects/DeepFashion.html and "
            "unpack img.zip beside Eval/"
        ),
        folders=("inshop", "In-shop Clothes Retrieval Benchmark", "deepfashion", "DeepFashion"),
        markers=("Eval/list_eval_partition.txt", "list_eval_partition.txt"),
        list_images=list_inshop,
        sources=((RemoteFile(name="img.zip"), RemoteFile(name="list_eval_partition.txt")),),
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


def unknown_dataset(text: str) -> DataError:
    """Return the error for a name that is neither in the table nor a folder."""
    close = difflib.get_close_matches(parse_name(text)[0].lower(), DATASETS, n=3, cutoff=0.4)
    guess = f"Did you mean {' or '.join(close)}? " if close else ""
    return DataError(
        f"dataset {text!r} is neither known nor a folder. {guess}"
        f"Known: {', '.join(DATASETS)}; the path of a folder of class folders works too."
    )
