"""`ram download` through the command line, against a server on this machine."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from file_server import FileServer, serving

from ram_cli.datasets import DATASETS, Counts, known_names
from ram_cli.datasets.remote import RemoteFile
from ram_cli.transfer import fetch


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, birds: bytes):
    monkeypatch.setattr(fetch, "BACKOFF_SECONDS", 0.0)
    with serving(FileServer()) as running:
        running.files["CUB_200_2011.tgz"] = birds
        file = RemoteFile(
            name="CUB_200_2011.tgz",
            urls=(f"{running.url}/CUB_200_2011.tgz",),
            size=len(birds),
            sha256=hashlib.sha256(birds).hexdigest(),
        )
        entry = replace(
            DATASETS["cub"], train_val=Counts(4, 8), test=Counts(2, 4), sources=((file,),)
        )
        monkeypatch.setitem(DATASETS, "cub", entry)
        yield running


@pytest.fixture(scope="session")
def birds() -> bytes:
    """Four species to train on, two to test on, two images each, packed as published."""
    import io
    import tarfile

    from PIL import Image

    files, rows, labels = {}, "", ""
    for image, species in enumerate([1, 1, 2, 2, 99, 99, 100, 100, 101, 101, 200, 200], start=1):
        path = f"{species:03d}.Bird/{image}.jpg"
        content = io.BytesIO()
        Image.new("RGB", (30, 20), (image, species, 0)).save(content, "JPEG")
        files[f"images/{path}"] = content.getvalue()
        rows, labels = f"{rows}{image} {path}\n", f"{labels}{image} {species}\n"
    files |= {"images.txt": rows.encode(), "image_class_labels.txt": labels.encode()}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"CUB_200_2011/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def test_download_then_prepare(call, server: FileServer):
    code, out, err = call("download", "cub", "furniture", "--json")
    assert code == 0, err
    rows = json.loads(out)["datasets"]
    assert [(row["name"], row["how"], row["images"]) for row in rows] == [
        ("cub", "fetched", 12),
        ("furniture", "unpacked", 3200),
    ]
    assert "fetching CUB_200_2011.tgz" in err
    code, out, err = call("prepare", "cub", "--json")
    assert code == 0, err
    assert json.loads(out)["splits"]["test"] == {"classes": 2, "images": 4}


def test_list_says_what_is_here(call, server: FileServer):
    assert call("download", "cub")[0] == 0
    code, out, _ = call("download", "--list", "--json")
    assert code == 0
    found = {row["name"]: row for row in json.loads(out)["datasets"]}
    assert tuple(found) == known_names()
    assert found["cub"]["folder"] == "data/CUB_200_2011"
    assert found["cars"]["bytes"] is None
    assert found["sop"]["folder"] is None
    assert all(row["licence"] for row in found.values())
    assert call("download")[1] != ""
    assert not Path("data/furniture").exists()


def test_no_server_is_one_line(call, server: FileServer):
    server.statuses = [404]
    code, out, err = call("download", "cub")
    assert (code, out) == (1, "")
    (line,) = [line for line in err.splitlines() if line.startswith("error")]
    assert "404" in line
    assert "--from-file" in line


def test_bad_calls(call, tmp_path: Path):
    assert call("download", "cup")[0] == 2
    assert call("download", "cub", "sop", "--from-file", "x.zip")[0] == 2
    assert call("download", "cub", "--from-file", "nowhere.tgz")[0] == 2


def test_an_archive_at_hand(call, server: FileServer, birds: bytes):
    Path("mine.tgz").write_bytes(birds)
    code, out, err = call("download", "cub", "--from-file", "mine.tgz", "--no-keep-archive")
    assert code == 0, err
    assert "unpacked" in out
    assert Path("mine.tgz").exists()
    assert server.requests == []
