"""The published networks by name: what they are, where they lie, how they come here.

Addresses, sizes and hashes are facts of the publications; the authors serve several of them over
plain HTTP and without a hash. Such a file is taken as it first comes and its hash is kept: another
content under the same name is refused from then on.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torch import Tensor

from ram_cli.errors import CheckpointError, ModelError
from ram_cli.models.checkpoints import load_published, published_whitening
from ram_cli.models.download import download, forget, verify
from ram_cli.models.embedder import Embedder
from ram_cli.models.pretrained import reachable
from ram_cli.progress import SILENT, Reporter

MIRROR_VARIABLE = "RAM_HUB_MIRROR"
"""Where else the files lie, under their own names: a Hub repository or an address of a folder."""

_RAML = "http://ptak.felk.cvut.cz/personal/sumapave/public/"
_CIRTORCH = "http://cmp.felk.cvut.cz/cnnimageretrieval/data/networks/"
_AML = "http://files.inria.fr/aml/"
LANDMARK_SIZE = 1024
"""Longer side, in pixels, of the gallery images of published results on landmarks."""

AML_TEACHERS = {
    "resnet101": "retrievalSfM120k-resnet101-gem",
    "vgg16": "retrievalSfM120k-vgg16-gem",
}
"""What the published command of AML means by `--teacher`."""


@dataclass(frozen=True, slots=True)
class ZooEntry:
    """One published network.

    Attributes:
        paper: Who published it.
        data: What it was trained on.
        backbone: Its architecture.
        dimension: D.
        size: Image size it is meant for, in pixels; the longer side, for landmarks.
        urls: Addresses, to be tried in this order.
        sha256: First hex digits of its SHA-256, where its name carries them; else empty.
        whitening: Address of the whitening learned for it; empty for none, or inside the file.
        teacher: Network whose space it was distilled into; empty where it was trained alone.
    """

    paper: Literal["RAML", "AML", "cirtorch"]
    data: str
    backbone: str
    dimension: int
    size: int
    urls: tuple[str, ...]
    sha256: str = ""
    whitening: str = ""
    teacher: str = ""

    @property
    def whitened(self) -> str:
        """Where a whitening of its vectors is kept: "file", "inside", "layer" or nowhere."""
        if self.whitening:
            return "file"
        if self.paper == "cirtorch":
            return "inside"
        return "layer" if self.paper == "RAML" else ""

    @property
    def file(self) -> str:
        """Name of the file."""
        return self.urls[0].rpartition("/")[2]


def _raml() -> dict[str, ZooEntry]:
    data = {"cub": "CUB-200-2011", "cars": "Cars196", "sop": "Stanford Online Products"}
    sizes = {"448r": 448, "224r": 224, "S224r-T448r": 224}
    return {
        f"{short}-{kind}-resnet50-512-gem-w": ZooEntry(
            "RAML",
            name,
            "resnet50",
            512,
            size,
            (f"{_RAML}{short}-{kind}-resnet50-512-gem-w.pth",),
            teacher=f"{short}-448r-resnet50-512-gem-w" if kind.startswith("S") else "",
        )
        for kind, size in sizes.items()
        for short, name in data.items()
    }


def _cirtorch() -> dict[str, ZooEntry]:
    files = {
        "retrievalSfM120k-vgg16-gem": "b4dcdc6",
        "retrievalSfM120k-resnet101-gem": "b80fb85",
        "rSfM120k-tl-resnet50-gem-w": "97bf910",
        "rSfM120k-tl-resnet101-gem-w": "a155e54",
        "rSfM120k-tl-resnet152-gem-w": "f39cada",
        "gl18-tl-resnet50-gem-w": "83fdc30",
        "gl18-tl-resnet101-gem-w": "a4d43db",
        "gl18-tl-resnet152-gem-w": "21278d5",
    }
    return {
        name: ZooEntry(
            "cirtorch",
            "Google Landmarks 2018" if name.startswith("gl18") else "retrieval-SfM-120k",
            backbone := next(part for part in name.split("-") if part.startswith(("vgg", "res"))),
            512 if backbone == "vgg16" else 2048,
            LANDMARK_SIZE,
            (f"{_CIRTORCH}{folder}/{name}-{sha256}.pth",),
            sha256,
        )
        for name, sha256 in files.items()
        for folder in ["gl18" if name.startswith("gl18") else "retrieval-SfM-120k"]
    }


def _aml() -> dict[str, ZooEntry]:
    methods = ["contr-plus", "reg", "contr", "dark", "ms", "rkd", "triplet"]
    widths = {"resnet101": 2048, "vgg16": 512}
    names = {
        "efficientnet-b3-gem-contr_2048": 2048,  # trained alone, without a teacher
        "efficientnet-b3-gem-contr_512": 512,
        "mobilenet-v2-gem-contr-2048": 2048,
        "mobilenet-v2-gem-contr-512": 512,
    } | {
        f"{student}-gem-{method}-{teacher}": width
        for student in ("efficientnet-b3", "mobilenet-v2")
        for method in methods
        for teacher, width in widths.items()
    }
    return {
        name: ZooEntry(
            "AML",
            "retrieval-SfM-120k",
            name.partition("-gem")[0].replace("-", "_"),
            width,
            LANDMARK_SIZE,
            # One address was published with a slip; which one is not known.
            (f"{_AML}{file}.pth.tar", f"{_AML}{file}.pthaa.tar"),
            whitening=f"{_AML}{file}_whitening.pth",
            teacher=AML_TEACHERS.get(name.rpartition("-")[2], ""),
        )
        for name, width in names.items()
        for file in [name.replace("-", "_")]
    }


ZOO: dict[str, ZooEntry] = _raml() | _cirtorch() | _aml()
"""Every published network by name."""


def find_in_zoo(name: str) -> str | None:
    """The zoo's own spelling of a name; case and `-` or `_` make no difference."""
    return {_folded(known): known for known in ZOO}.get(_folded(name))


def published_as(name_or_file: str) -> str | None:
    """Key of `ZOO` of a name, or of a file that bears the name of a published one."""
    path = Path(name_or_file).expanduser()
    if not path.exists():
        return find_in_zoo(name_or_file)
    files = {url.rpartition("/")[2]: known for known, one in ZOO.items() for url in one.urls}
    return files.get(path.name) if path.is_file() else None


def load_from_zoo(
    name: str,
    *,
    cache_dir: Path | None = None,
    mirror: str | None = None,
    reporter: Reporter = SILENT,
) -> Embedder:
    """Load a published network, in eval mode; fetch it first where it is not here yet.

    Args:
        name: Key of `ZOO`.
        cache_dir: Where fetched files are kept; None for the user's cache folder.
        mirror: Hub repository or address to try before the authors'; None for `RAM_HUB_MIRROR`.
        reporter: Told about a download.

    Raises:
        ModelError: The file cannot be had.
        CheckpointError: What came is not the published file.
    """
    entry = ZOO[name]
    path = _fetch(name, entry.urls, entry.sha256, cache_dir, mirror, reporter)
    try:
        embedder = load_published(path)
    except CheckpointError as error:
        forget(path)
        raise CheckpointError(f"{error} Delete {path} to fetch it again.") from error
    if embedder.dimension != entry.dimension:
        raise CheckpointError(
            f"{path} gives {embedder.dimension} dimensions, but {name} has {entry.dimension}."
        )
    embedder.config = replace(embedder.config, input_size=entry.size)
    return embedder


def zoo_whitening(
    name: str,
    *,
    multi_scale: bool = True,
    cache_dir: Path | None = None,
    mirror: str | None = None,
    reporter: Reporter = SILENT,
) -> tuple[Tensor, Tensor] | None:
    """The whitening that was published with a network, or None.

    Args:
        name: Key of `ZOO`.
        multi_scale: Whether descriptors are joined from several scales.
        cache_dir: As for `load_from_zoo`.
        mirror: As for `load_from_zoo`.
        reporter: Told about a download.

    Returns:
        Mean `[D]` and projection `[D, D]` in float64, applied as P(x − m) and then L2.

    Raises:
        ModelError: The file cannot be had.
        CheckpointError: What came is not the published file.
    """
    entry = ZOO[name]
    if entry.whitening:
        path = _fetch(name, (entry.whitening,), "", cache_dir, mirror, reporter)
        return published_whitening(path).get("")
    path = _fetch(name, entry.urls, entry.sha256, cache_dir, mirror, reporter)
    found = published_whitening(path)
    wanted = "/ms" if multi_scale else "/ss"
    return next((value for key, value in found.items() if key.endswith(wanted)), None)


def zoo_cache() -> Path:
    """Folder of fetched files, unless told otherwise."""
    root = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(root, "ram", "zoo")


def _fetch(
    name: str,
    urls: tuple[str, ...],
    sha256: str,
    cache_dir: Path | None,
    mirror: str | None,
    reporter: Reporter,
) -> Path:
    file = urls[0].rpartition("/")[2]
    path = Path(cache_dir or zoo_cache(), file)
    if path.is_file():
        verify(path, sha256)
        return path
    mirror = mirror if mirror is not None else os.environ.get(MIRROR_VARIABLE, "")
    if mirror and "://" not in mirror:
        return _from_hub(mirror, name, file, path, sha256)
    if mirror:
        urls = (f"{mirror.rstrip('/')}/{file}", *urls)
    try:
        return download(urls, path, sha256=sha256, description=name, reporter=reporter)
    except ModelError as error:
        if isinstance(error, CheckpointError):
            raise
        raise ModelError(
            f"{error} Put the file at {path}, or set {MIRROR_VARIABLE} to a mirror."
        ) from error


def _from_hub(mirror: str, name: str, file: str, path: Path, sha256: str) -> Path:
    from huggingface_hub import constants, hf_hub_download

    try:
        found = hf_hub_download(
            mirror,
            file,
            local_dir=path.parent,
            local_files_only=not reachable(constants.ENDPOINT),
        )
    except OSError as error:
        raise ModelError(
            f"{name}: {file} cannot be had from the Hub repository {mirror} of {MIRROR_VARIABLE}. "
            "Check that it is there, and the connection."
        ) from error
    verify(Path(found), sha256)
    return Path(found)


def _folded(name: str) -> str:
    return name.lower().replace("_", "-")
