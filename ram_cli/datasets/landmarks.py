"""The table of what is searched and never trained on: landmarks with queries, and distractors."""

from dataclasses import dataclass
from typing import Final, Literal

from ram_cli.datasets.entries import DatasetEntry
from ram_cli.datasets.registry import DATASETS, parse_name
from ram_cli.datasets.remote import Part, RemoteFile, below_jpg, side_by_side
from ram_cli.errors import DataError

Kind = Literal["classes", "search", "distractors"]
Protocol = Literal["revisited", "oxford"]
_PROTOCOL_NAMES: Final[dict[Protocol, str]] = {"revisited": "revisited", "oxford": "old"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LandmarkEntry:
    """A set of images known by name that is only searched.

    Attributes:
        name: What `--dataset` or `--distractors` accepts.
        title: Its published name.
        content: What it shows, in a few words.
        protocol: How results are counted; None for distractors.
        gallery: Images to search.
        queries: Images to search with.
        licence: Terms of the images.
        source: How to get it by hand.
        marker: File that lists its images, below the folder for data.
        parts: Files that make it; none where they are to be had by hand only.
        size: Bytes of those files; 0 where they are not published.
    """

    name: str
    title: str
    content: str
    protocol: Protocol | None
    gallery: int
    queries: int
    licence: str
    source: str
    marker: str
    parts: tuple[Part, ...] = ()
    size: int = 0

    @property
    def kind(self) -> Kind:
        """What it is for."""
        return "search" if self.protocol else "distractors"

    @property
    def how(self) -> str:
        """How to get it."""
        return f"ram download {self.name}" if self.parts else self.source


_VGG = "https://www.robots.ox.ac.uk/~vgg/data"
_REVISITED = "http://cmp.felk.cvut.cz/revisitop/data/datasets"
_OLD = "http://cmp.felk.cvut.cz/cnnimageretrieval/data/test"
_MILLION = "http://ptak.felk.cvut.cz/revisitop/revisitop1m"
_SHARDS = 100
_LICENCE = "research; the photographs belong to their owners at Flickr"

_OXFORD = Part(
    folder="roxford5k",
    files=(
        RemoteFile(
            name="oxbuild_images-v1.tgz",
            urls=(f"{_VGG}/oxbuildings/oxbuild_images-v1.tgz",),
            size=1_938_238_004,
        ),
    ),
    place=side_by_side,
)
_PARIS = Part(
    folder="rparis6k",
    files=tuple(
        RemoteFile(name=name, urls=(f"{_VGG}/parisbuildings/{name}",))
        for name in ("paris_1-v1.tgz", "paris_2-v1.tgz")
    ),
    place=side_by_side,
)


def _search(
    name: str,
    city: str,
    images: Part,
    protocol: Protocol,
    *,
    gallery: int,
    queries: int,
) -> LandmarkEntry:
    """Oxford or Paris, under one of its ground truths."""
    file, base = f"gnd_{name}.pkl", _REVISITED if protocol == "revisited" else _OLD
    truth = RemoteFile(name=file, urls=(f"{base}/{name}/{file}",))
    return LandmarkEntry(
        name=name,
        title=f"{'Revisited ' if protocol == 'revisited' else ''}{city} buildings",
        content=f"landmarks of {city}, queries with boxes, {_PROTOCOL_NAMES[protocol]} protocol",
        protocol=protocol,
        gallery=gallery,
        queries=queries,
        licence=_LICENCE,
        source=f"Put {file} of {base}/{name}/ into {name}/, and the images into {name}/jpg/",
        marker=f"{name}/{file}",
        parts=(Part(folder=name, files=(truth,)), images),
        size=sum(archive.size for archive in images.files),
    )


_ENTRIES = (
    _search("roxford5k", "Oxford", _OXFORD, "revisited", gallery=4_993, queries=70),
    _search("rparis6k", "Paris", _PARIS, "revisited", gallery=6_322, queries=70),
    _search("oxford5k", "Oxford", _OXFORD, "oxford", gallery=5_063, queries=55),
    _search("paris6k", "Paris", _PARIS, "oxford", gallery=6_392, queries=55),
    LandmarkEntry(
        name="instre",
        title="INSTRE",
        content="objects, logos and buildings, queries with boxes, old protocol",
        protocol="oxford",
        gallery=27_293,
        queries=1_250,
        licence="research; its owners give it on request",
        source="Put gnd_instre.pkl into instre/, and the images into instre/jpg/",
        marker="instre/gnd_instre.pkl",
    ),
    LandmarkEntry(
        name="revisitop1m",
        title="Revisited Oxford and Paris: a million distractors",
        content="photographs that match no query of Oxford and Paris; for --distractors",
        protocol=None,
        gallery=1_001_001,
        queries=0,
        licence=_LICENCE,
        source=f"Put revisitop1m.txt of {_MILLION}/ into revisitop1m/, and the images into jpg/",
        marker="revisitop1m/revisitop1m.txt",
        parts=(
            Part(
                folder="revisitop1m",
                files=(RemoteFile(name="revisitop1m.txt", urls=(f"{_MILLION}/revisitop1m.txt",)),),
            ),
            Part(
                folder="revisitop1m",
                files=tuple(
                    RemoteFile(
                        name=f"revisitop1m.{number}.tar.gz",
                        urls=(f"{_MILLION}/jpg/revisitop1m.{number}.tar.gz",),
                    )
                    for number in range(1, _SHARDS + 1)
                ),
                place=below_jpg,
            ),
        ),
    ),
)

LANDMARKS: Final[dict[str, LandmarkEntry]] = {entry.name: entry for entry in _ENTRIES}
"""Sets that are searched, and never trained on."""


def kind_of(name: str) -> Kind | None:
    """Tell what a name of a dataset is for; None for a name that is in no table."""
    folded = name.strip().lower()
    if folded in LANDMARKS:
        return LANDMARKS[folded].kind
    return "classes" if parse_name(folded)[0] in DATASETS else None


def find_entry(name: str) -> DatasetEntry | LandmarkEntry:
    """Return the row of a known name; raises KeyError for any other."""
    return LANDMARKS[name] if name in LANDMARKS else DATASETS[name]


def known_names() -> tuple[str, ...]:
    """Return the names of both tables."""
    return (*DATASETS, *LANDMARKS)


def no_classes(name: str) -> DataError:
    """Return the error for a set that is only searched, where classes are needed."""
    entry = LANDMARKS[name.strip().lower()]
    use = f"ram test --dataset {entry.name}"
    if entry.kind == "distractors":
        use = f"ram test --dataset roxford5k --distractors {entry.name}"
    return DataError(
        f"dataset {entry.name} ({entry.title}) is for tests alone: it has no classes to train or "
        f"split. Train on sfm120k, or another dataset with classes; to search it: {use}"
    )
