"""Small landmark datasets in the files that are published, and tables of their small counts.

How to use: `files = published_files()` gives the content of every published file by its name, for
all of roxford5k, rparis6k, oxford5k, paris6k, sfm30k, sfm120k and revisitop1m; hand them out by
`file_server.serving`. `point_tables(monkeypatch, url)` then lets the tables of datasets name that
server and the small counts, so that `ram download`, `ram prepare`, `load_search_set`,
`load_dataset` and `load_pairs` work as with the real ones. `unpack_all(root)` writes what they
would have brought. Images have different sizes and aspect ratios; the archives have a folder, or
none, of their own. (`landmark_maker` makes sets out of images of your own.)
"""

import hashlib
import io
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ram_cli.datasets import DATASETS, LANDMARKS
from ram_cli.datasets.remote import Part

SIZES = ((64, 48), (48, 64), (60, 30), (40, 40), (30, 57))
SHARDS = 3
OXFORD = ("all_souls_000013", "all_souls_000026", "balliol_000051", "christ_church_000179",
          "radcliffe_camera_000519", "oxford_003410")  # fmt: skip
PARIS = ("paris_defense_000605", "paris_louvre_000136", "paris_eiffel_000128",
         "paris_invalides_000360", "paris_pantheon_000284", "paris_general_002391")  # fmt: skip
COUNTS = {"roxford5k": (4, 2), "rparis6k": (4, 2), "oxford5k": (6, 1), "paris6k": (6, 1)}
MILLION = 7
"""Images of the small revisitop1m."""


def picture(seed: int) -> bytes:
    """A JPEG of one of `SIZES`."""
    width, height = SIZES[seed % len(SIZES)]
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((width, height)).save(file, "JPEG")
    return file.getvalue()


def revisited_truth(names: tuple[str, ...]) -> dict[str, Any]:
    """The last two images are queries; numpy arrays, numpy numbers and lists in turn."""
    return {
        "imlist": list(names[:4]),
        "qimlist": list(names[4:]),
        "gnd": [
            {
                "bbx": [np.float64(2.0), np.float64(3.5), np.float64(20.0), np.float64(25.0)],
                "easy": np.array([0]),
                "hard": np.array([2]),
                "junk": np.array([], dtype=int),
            },
            {"bbx": np.array([1.0, 1.0, 25.0, 28.0]), "easy": [], "hard": [1], "junk": [3]},
        ],
    }


def old_truth(names: tuple[str, ...]) -> dict[str, Any]:
    """All images are searched, also the one query, which is junk."""
    entry = {"bbx": (2.0, 3.0, 21.0, 22.0), "ok": [1, 2], "junk": [0]}
    return {"imlist": list(names), "qimlist": [names[0]], "gnd": [entry]}


def cid(seed: int) -> str:
    """Name of an image of retrieval-SfM."""
    return hashlib.md5(str(seed).encode(), usedforsecurity=False).hexdigest()


def sfm_lists() -> dict[str, dict[str, Any]]:
    """Three clusters of three to train on, two of two to validate on; pairs for whitening."""
    train, val = [cid(seed) for seed in range(9)], [cid(seed) for seed in range(9, 13)]
    return {
        "retrieval-SfM-120k.pkl": {
            "train": {
                "cids": train,
                "cluster": [7, 3, 7, 3, 12, 12, 3, 12, 7],
                "qidxs": [0, 1, 4, 2],
                "pidxs": [2, 3, 5, 8],
            },
            "val": {
                "cids": val,
                "cluster": [3, 40, 40, 3],
                "qidxs": np.array([1]),
                "pidxs": np.array([2]),
            },
        },
        "retrieval-SfM-120k-whiten.pkl": {
            "cids": [*train, cid(20)], "qidxs": [0, 1], "pidxs": [2, 3],
        },
        "retrieval-SfM-30k-whiten.pkl": {
            "cids": train[:4], "qidxs": [0, 1], "pidxs": [2, 3],
        },
    }  # fmt: skip


def inside(name: str) -> str:
    """Path of an image of retrieval-SfM, as in its archive."""
    return f"{name[-2:]}/{name[-4:-2]}/{name[-6:-4]}/{name}"


def published_files() -> dict[str, bytes]:
    """The content of every published file, by its name."""
    paris = {
        f"paris/{name.split('_')[1]}/{name}.jpg": picture(10 + i) for i, name in enumerate(PARIS)
    }
    halves = [dict(list(paris.items())[:3]), dict(list(paris.items())[3:])]
    halves[1]["paris/notes.txt"] = b"no image"
    shards: list[dict[str, bytes]] = [{} for _ in range(SHARDS)]
    for number, name in enumerate(million_names()):
        shards[number % SHARDS][f"./{name}"] = picture(100 + number)
    return {
        "oxbuild_images-v1.tgz": tgz({f"{name}.jpg": picture(i) for i, name in enumerate(OXFORD)}),
        "paris_1-v1.tgz": tgz(halves[0]),
        "paris_2-v1.tgz": tgz(halves[1]),
        "gnd_roxford5k.pkl": pickle.dumps(revisited_truth(OXFORD), 2),
        "gnd_rparis6k.pkl": pickle.dumps(revisited_truth(PARIS), 3),
        "gnd_oxford5k.pkl": pickle.dumps(old_truth(OXFORD), 0),
        "gnd_paris6k.pkl": pickle.dumps(old_truth(PARIS), 4),
        "ims.tar.gz": tgz({inside(cid(s)): picture(s) for s in (*range(13), 20)}),
        "revisitop1m.txt": "\n".join(million_names()).encode() + b"\n",
        **{f"revisitop1m.{n + 1}.tar.gz": tgz(files) for n, files in enumerate(shards)},
        **{name: pickle.dumps(content, 2) for name, content in sfm_lists().items()},
    }


def tgz(files: dict[str, bytes]) -> bytes:
    """A compressed archive of files by their paths."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def million_names() -> list[str]:
    """Names of the distractors, in folders."""
    return [f"{number % 2:02d}/{number:06x}.jpg" for number in range(MILLION)]


def point_tables(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Let the tables of datasets name the files at an address, and small counts."""

    def here(part: Part) -> Part:
        files = part.files[: max(SHARDS, 2)] if part.folder == "revisitop1m" else part.files
        return replace(
            part,
            files=tuple(replace(f, urls=(f"{url}/{f.name}",), size=0, sha256="") for f in files),
        )

    for name, entry in LANDMARKS.items():
        gallery, queries = COUNTS.get(name, (MILLION, 0) if entry.protocol is None else (2, 1))
        parts = tuple(map(here, entry.parts))
        small = replace(entry, gallery=gallery, queries=queries, parts=parts, size=0)
        monkeypatch.setitem(LANDMARKS, name, small)
    for name, known in DATASETS.items():
        if known.parts:
            changed = replace(known, parts=tuple(map(here, known.parts)))
            monkeypatch.setitem(DATASETS, name, changed)


def unpack_all(root: Path) -> Path:
    """Write all small datasets as they lie once they are brought."""
    for names, city in ((OXFORD, "oxford5k"), (PARIS, "paris6k")):
        for number, name in enumerate(names):
            write(root / f"r{city}" / "jpg" / f"{name}.jpg", picture(number))
        for prefix, truth in (("r", revisited_truth(names)), ("", old_truth(names))):
            known = f"{prefix}{city}"
            write(root / known / f"gnd_{known}.pkl", pickle.dumps(truth, 2))
    for seed in (*range(13), 20):
        write(root / "retrieval-SfM" / "ims" / inside(cid(seed)), picture(seed))
    for file, content in sfm_lists().items():
        write(root / "retrieval-SfM" / file, pickle.dumps(content, 2))
    write(root / "revisitop1m" / "revisitop1m.txt", "\n".join(million_names()).encode())
    for number, name in enumerate(million_names()):
        write(root / "revisitop1m" / "jpg" / name, picture(100 + number))
    return root


def write(path: Path, content: bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
