"""The embedded images: what they are, and that they are unpacked whole or not at all."""

import csv
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from PIL import Image

from ram_cli.datasets import DATASETS, furniture, load_dataset
from ram_cli.datasets.furniture import STAMP, unpack_furniture
from ram_cli.errors import DataError


@pytest.fixture(scope="module")
def archive() -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(io.BytesIO(furniture._asset())) as archive:
        yield archive


def test_the_asset_is_small_and_holds_what_the_table_says(archive: zipfile.ZipFile) -> None:
    assert len(furniture._asset()) <= 14_500_000
    split = json.loads(archive.read("split.json"))
    entry = DATASETS["furniture"]
    for part, expected in (
        (split["train"] + split["val"], entry.train_val),
        (split["test"], entry.test),
    ):
        assert len(part) == expected.classes
        assert {len(paths) for paths in part} == {8}
        assert sum(map(len, part)) == expected.images
    listed = {path for classes in split.values() for paths in classes for path in paths}
    assert listed == {name for name in archive.namelist() if name.startswith("images/")}
    assert {info.compress_type for info in archive.infolist() if info.filename in listed} == {0}
    assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_every_class_is_credited_and_the_images_are_called_renders(
    archive: zipfile.ZipFile,
) -> None:
    rows = list(csv.DictReader(io.StringIO(archive.read("credits.csv").decode())))
    classes = {name.split("/")[1] for name in archive.namelist() if name.startswith("images/")}
    assert {row["class"] for row in rows} == classes
    assert all(row["creator"] and row["licence"] for row in rows)
    readme = archive.read("README.txt").decode()
    for word in ("renders, not photographs", "Berasategi", "Freespace", "Mudgal", "Mede", "CC0"):
        assert word in readme


def test_an_image_has_the_side_that_evaluation_at_224_needs(archive: zipfile.ZipFile) -> None:
    for name in [name for name in archive.namelist() if name.endswith("00.webp")][::40]:
        with Image.open(archive.open(name)) as image:
            assert (image.size, image.mode) == ((256, 256), "RGB")


def test_siblings_lie_on_one_side(archive: zipfile.ZipFile) -> None:
    split = json.loads(archive.read("split.json"))
    sides: dict[str, set[str]] = {}
    for part, classes in split.items():
        for paths in classes:
            name = paths[0].split("/")[1].partition("_")[2]
            sides.setdefault(name.rstrip("0123456789").rstrip("-"), set()).add(part)
    assert not {name for name, parts in sides.items() if len(parts) > 1}


@pytest.mark.slow
def test_the_embedded_images_are_a_dataset(tmp_path: Path) -> None:
    dataset = load_dataset("furniture-test", tmp_path)
    assert dataset.root == tmp_path / "furniture"
    assert [len(images) for images in dataset.splits.values()] == [2000, 400, 800]
    assert dataset.test.class_count == 100
    assert all(dataset.test.path(index).is_file() for index in range(0, 800, 50))
    assert [path.name for path in tmp_path.iterdir()] == ["furniture"]
    by_path = load_dataset(str(dataset.root), tmp_path, verify=False)
    assert by_path.content_hash == dataset.content_hash
    assert dataset.test.class_names[dataset.test.labels[0]] in dataset.test.paths[0]


@pytest.fixture
def small_asset(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """An archive of twenty files instead of the real one."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(20):
            archive.writestr(f"images/class {number % 5}/{number}.webp", b"x" * (number + 1))
    content = buffer.getvalue()
    monkeypatch.setattr(furniture, "_asset", lambda: content)
    monkeypatch.setattr(furniture, "ASSET_SHA256", hashlib.sha256(content).hexdigest())
    return content


def files_below(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*.webp"))


def test_a_whole_folder_is_left_alone(small_asset: bytes, tmp_path: Path) -> None:
    target = unpack_furniture(tmp_path / "data")
    assert files_below(target) == 20
    inode = target.stat().st_ino
    assert unpack_furniture(tmp_path / "data") == target
    assert target.stat().st_ino == inode


def test_a_failure_halfway_leaves_nothing(
    small_asset: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def extract_some(archive: zipfile.ZipFile, folder: Path) -> None:
        archive.extract(archive.namelist()[0], folder)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extractall", extract_some)
        with pytest.raises(KeyboardInterrupt):
            unpack_furniture(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert files_below(unpack_furniture(tmp_path)) == 20


@pytest.mark.parametrize("damage", ["lost", "cut", "older"])
def test_a_damaged_folder_is_unpacked_again(
    small_asset: bytes, tmp_path: Path, damage: str
) -> None:
    target = unpack_furniture(tmp_path)
    victim = target / "images" / "class 3" / "8.webp"
    if damage == "lost":
        victim.unlink()
    elif damage == "cut":
        victim.write_bytes(b"")
    else:
        (target / STAMP).write_text("0" * 64)
    unpack_furniture(tmp_path)
    assert victim.read_bytes() == b"x" * 9
    assert [path.name for path in tmp_path.iterdir()] == ["furniture"]


def test_a_half_copied_folder_is_not_taken_for_a_whole_one_nor_deleted(
    small_asset: bytes, tmp_path: Path
) -> None:
    own = tmp_path / "furniture" / "mine.txt"
    own.parent.mkdir()
    own.write_text("precious")
    with pytest.raises(DataError):
        unpack_furniture(tmp_path)
    assert own.read_text() == "precious"


def at_once(work: Callable[[], int]) -> list[int]:
    barrier = Barrier(6)

    def start(_: int) -> int:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(6) as pool:
        return list(pool.map(start, range(6)))


def test_many_may_unpack_at_once(small_asset: bytes, tmp_path: Path) -> None:
    assert at_once(lambda: files_below(unpack_furniture(tmp_path))) == [20] * 6
    assert [path.name for path in tmp_path.iterdir()] == ["furniture"]


def test_many_may_mend_at_once(small_asset: bytes, tmp_path: Path) -> None:
    shutil.rmtree(unpack_furniture(tmp_path) / "images" / "class 1")
    at_once(lambda: len(unpack_furniture(tmp_path).name))
    assert files_below(tmp_path / "furniture") == 20
    assert [path.name for path in tmp_path.iterdir()] == ["furniture"]


def test_a_damaged_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(furniture, "ASSET_SHA256", "0" * 64)
    with pytest.raises(DataError):
        unpack_furniture(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(furniture, "files", lambda package: tmp_path)
    with pytest.raises(DataError):
        unpack_furniture(tmp_path / "data")
