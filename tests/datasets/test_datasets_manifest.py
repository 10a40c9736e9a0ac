import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ram_cli.datasets import (
    Dataset,
    content_hash,
    from_json,
    load_dataset,
    read_manifest,
    to_json,
    write_manifest,
)
from ram_cli.errors import DataError


@pytest.fixture
def dataset(class_folders: Path, tmp_path: Path) -> Dataset:
    return load_dataset(str(class_folders), tmp_path / "data", verify=False)


def test_a_dataset_survives_being_written_down(dataset: Dataset, tmp_path: Path) -> None:
    boxes = np.array([[0.5, 1, 2, 3]] * len(dataset.test), dtype=np.float32)
    dataset = replace(dataset, test=replace(dataset.test, boxes=boxes), skipped=("x.jpg",))
    write_manifest(dataset, tmp_path / "prepared" / "manifest.json")
    back = read_manifest(tmp_path / "prepared" / "manifest.json")
    assert (back.name, back.root, back.content_hash) == ("shop", dataset.root, dataset.content_hash)
    assert back.skipped == ("x.jpg",)
    for split, images in dataset.splits.items():
        again = back.splits[split]
        assert (again.name, again.paths, again.root) == (images.name, images.paths, images.root)
        assert again.labels.dtype == np.int64
        assert again.labels.tolist() == images.labels.tolist()
        assert again.class_names == images.class_names
    assert back.test.boxes is not None
    assert back.test.boxes.tolist() == boxes.tolist()
    assert back.train.boxes is None


def test_paths_in_the_document_are_relative_and_counts_are_shown(dataset: Dataset) -> None:
    content = json.loads(to_json(dataset))
    assert content["splits"]["test"]["paths"] == list(dataset.test.paths)
    assert content["counts"] == {"train": 6, "val": 6, "test": 12}
    moved = from_json(to_json(dataset), root=Path("elsewhere"))
    assert moved.test.path(0) == Path("elsewhere") / dataset.test.paths[0]


@pytest.mark.parametrize(
    "change",
    [
        {"format": 99},
        {"splits": {}},
        {"class_names": ["one"]},
        {"content_hash": ...},
        {"root": None},
    ],
)
def test_a_damaged_document_is_refused(dataset: Dataset, change: dict[str, object]) -> None:
    content = json.loads(to_json(dataset))
    for key, value in change.items():
        if value is ...:
            del content[key]
        else:
            content[key] = value
    with pytest.raises(DataError):
        from_json(json.dumps(content))


@pytest.mark.parametrize("content", [None, b"\xff", b"[", b"[]"])
def test_a_missing_or_foreign_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(DataError):
        read_manifest(tmp_path / "manifest.json")


def test_the_hash_sees_every_part(dataset: Dataset, class_folders: Path) -> None:
    test = dataset.test
    boxes = np.zeros((len(test), 4), dtype=np.float32)
    variants = [
        {"test": test},
        {"val": test},
        {"test": test.subset(np.arange(len(test))[::-1])},
        {"test": test.subset(np.arange(len(test) - 1))},
        {"test": replace(test, labels=np.roll(test.labels, 1))},
        {"test": replace(test, boxes=boxes)},
    ]
    hashes = [content_hash(splits) for splits in variants]  # type: ignore[arg-type]
    assert len(set(hashes)) == len(variants)
    assert content_hash({"test": test}) == hashes[0]
    with test.path(0).open("ab") as file:
        file.write(b"x")
    assert content_hash({"test": test}) != hashes[0]
    class_folders.rename(class_folders.with_name("moved"))
    with pytest.raises(DataError):
        content_hash({"test": test})


def test_the_hash_does_not_depend_on_where_the_images_lie(
    dataset: Dataset, class_folders: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "shop"
    other.parent.mkdir()
    class_folders.rename(other)
    again = load_dataset(str(other), tmp_path / "data")
    assert again.content_hash == dataset.content_hash
    assert again.content_hash == content_hash(again.splits)
