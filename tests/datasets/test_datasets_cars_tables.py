"""Cars196 from parquet files, by hand and from a Hub on this machine."""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from archive_maker import picture
from file_server import FileServer, serving
from pyarrow import parquet

from ram_cli.datasets import DATASETS, Counts, DatasetEntry, load_dataset
from ram_cli.datasets.cars import car_names
from ram_cli.datasets.download import obtain
from ram_cli.errors import ConfigError, DataError
from ram_cli.transfer import fetch

MODELS = (1, 50, 98, 99, 196)
"""Published numbers of the models in the files; three are trained on, two tested on."""


def table(
    path: Path,
    models: Sequence[int],
    *,
    names: Sequence[str] | None = (),
    texts: bool = False,
    content: bytes | None = None,
) -> Path:
    """A file as `datasets` writes it: one image per model, and what the labels mean.

    `names` are the label names in the file's own order, the published ones if empty.
    """
    order = list(names or car_names())
    pictures = [picture(number) if content is None else content for number in models]
    images = pa.array([{"bytes": data, "path": None} for data in pictures])
    files = pa.array([f"{number}.jpg" for number in models])
    labels = [car_names()[number - 1] for number in models]
    numbers = pa.array([order.index(label) for label in labels])
    columns = {"file": files, "image": images, "label": pa.array(labels) if texts else numbers}
    made = pa.table(columns)
    if names is not None and not texts:
        features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": order}}
        told = json.dumps({"info": {"features": features}})
        made = made.replace_schema_metadata({"huggingface": told})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(made, path)
    return path


@pytest.fixture
def cars(monkeypatch: pytest.MonkeyPatch) -> DatasetEntry:
    entry = replace(DATASETS["cars"], train_val=Counts(3, 6), test=Counts(2, 4), sources=(), hub=())
    monkeypatch.setitem(DATASETS, "cars", entry)
    return entry


def pair(folder: Path, **how: Any) -> list[Path]:
    """The original training and test parts: every model is in both."""
    return [
        table(folder / f"{part}-00000-of-00001.parquet", MODELS, **how)
        for part in ("train", "test")
    ]


@pytest.mark.parametrize("how", [{}, {"names": sorted(car_names())}, {"texts": True}])
def test_parts_are_joined_and_split_by_the_name_of_the_model(
    cars: DatasetEntry, tmp_path: Path, how: dict[str, Any]
) -> None:
    got = obtain(cars, tmp_path / "data", from_files=pair(tmp_path / "mine", **how))
    assert (got.how, got.images) == ("unpacked", 10)
    dataset = load_dataset("cars", tmp_path / "data")
    found = [
        sorted({images.class_names[label] for label in images.labels})
        for images in dataset.splits.values()
    ]
    wanted = [(1,), (50, 98), (99, 196)]
    assert found == [sorted(car_names()[number - 1] for number in part) for part in wanted]
    first = dataset.test.path(0).read_bytes()
    assert first in {picture(99), picture(196)}
    assert obtain(cars, tmp_path / "data").how == "already here"


@pytest.mark.parametrize("fault", ["no names", "foreign name", "truncated", "no image", "too few"])
def test_files_that_are_not_the_cars_leave_nothing(
    cars: DatasetEntry, tmp_path: Path, fault: str
) -> None:
    mine = pair(tmp_path / "mine")
    if fault == "no names":
        table(mine[1], MODELS, names=None)
    elif fault == "foreign name":
        table(mine[1], MODELS, names=[*car_names()[:-2], "A boat", car_names()[-1]])
    elif fault == "truncated":
        mine[1].write_bytes(mine[1].read_bytes()[:-40])
    elif fault == "no image":
        table(mine[1], MODELS, content=b"hello")
    else:
        mine.pop()
    with pytest.raises(DataError) as caught:
        obtain(cars, tmp_path / "data", from_files=mine)
    assert "\n" not in str(caught.value)
    left = {path.name for path in (tmp_path / "data").rglob("*") if path.is_file()}
    assert left <= {".lock-cars"}
    obtain(cars, tmp_path / "data", from_files=pair(tmp_path / "good"))


def test_without_the_reader_it_is_said_before_anything_is_fetched(
    cars: DatasetEntry, hub: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("ram_cli.datasets.sources.has_reader", lambda: False)
    for more in ({"mirror": "someone/cars"}, {"from_files": pair(tmp_path / "mine")}):
        with pytest.raises(DataError, match=r"ram-cli\[parquet\]"):
            obtain(cars, tmp_path / "data", **more)
    assert hub.requests == []


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A Hub with the dataset someone/cars, which also has images that are not asked for."""
    from huggingface_hub import constants

    monkeypatch.setattr(fetch, "BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serving(FileServer()) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        files = {path.name: path.read_bytes() for path in pair(tmp_path / "hub")}
        files["contrast-00000-of-00001.parquet"] = b"never read"
        publish(server, files)
        yield server


def publish(server: FileServer, files: dict[str, bytes]) -> None:
    listed = [{"type": "directory", "path": "data", "size": 0, "oid": "x"}]
    for name, content in files.items():
        sha256 = hashlib.sha256(content).hexdigest()
        large = {"oid": sha256, "size": len(content), "pointerSize": 130}
        entry = {"type": "file", "path": f"data/{name}", "size": len(content), "lfs": large}
        listed.append(entry)
        server.files[f"datasets/someone/cars/resolve/main/data/{name}"] = content
    tree = "api/datasets/someone/cars/tree/main?recursive=true"
    server.files[tree] = json.dumps(listed).encode()


def test_a_copy_on_the_hub(cars: DatasetEntry, hub: FileServer, tmp_path: Path) -> None:
    entry = replace(cars, hub=("nobody/cars@main", "someone/cars@main"))
    got = obtain(entry, tmp_path / "data")
    assert (got.how, got.images) == ("fetched", 10)
    assert not any("contrast" in name for name, _ in hub.requests)
    kept = tmp_path / "data" / "archives" / "someone--cars"
    assert {path.suffix for path in kept.iterdir()} == {".parquet", ".sha256"}
    assert load_dataset("cars", tmp_path / "data").test.class_count == 2


def test_a_copy_that_breaks_off_is_gone_on_with(
    cars: DatasetEntry, hub: FileServer, tmp_path: Path
) -> None:
    size = len(hub.files["datasets/someone/cars/resolve/main/data/train-00000-of-00001.parquet"])
    # The first cut is that of the list of files: it is whole.
    hub.cuts = [1 << 20, size // 2, size, size]
    obtain(cars, tmp_path / "data", mirror="someone/cars")
    assert (f"bytes={size // 2}-") in {asked for _, asked in hub.requests}


@pytest.mark.parametrize("fault", ["part", "hash", "list", "html"])
def test_copies_that_are_not_whole(
    cars: DatasetEntry, hub: FileServer, tmp_path: Path, fault: str
) -> None:
    name = "datasets/someone/cars/resolve/main/data/train-00000-of-00001.parquet"
    tree = "api/datasets/someone/cars/tree/main?recursive=true"
    if fault == "part":
        hub.files[tree] = hub.files[tree].replace(b"test-00000-of-00001", b"test-00000-of-00002")
    elif fault == "hash":
        hub.files[name] = hub.files[name][:-5] + b"12345"
    elif fault == "list":
        hub.files[tree] = b'{"error": "no"}'
    else:
        hub.kind = "text/html"
    with pytest.raises(DataError) as caught:
        obtain(cars, tmp_path / "data", mirror="someone/cars")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "data" / "cars196").exists()


def test_mirrors_that_cannot_be(cars: DatasetEntry, tmp_path: Path) -> None:
    for entry, mirror in ((DATASETS["cub"], "someone/birds"), (cars, "no address")):
        with pytest.raises(ConfigError, match="--mirror"):
            obtain(entry, tmp_path / "data", mirror=mirror)
