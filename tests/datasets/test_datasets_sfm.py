"""Retrieval-SfM: clusters as classes, published pairs as indices into the images of a split."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from landmark_archives import cid, inside, sfm_lists, unpack_all

from ram_cli.datasets import from_json, kind_of, load_dataset, load_pairs, to_json
from ram_cli.errors import DataError

LISTS = "retrieval-SfM/retrieval-SfM-120k.pkl"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return unpack_all(tmp_path / "data")


def pairs_of(dataset: Any, split: str) -> set[tuple[str, str]]:
    images = dataset.splits[split]
    return {(images.paths[q], images.paths[p]) for q, p in dataset.pairs[split]}


def test_clusters_are_classes_and_pairs_are_indices(root: Path) -> None:
    dataset = load_dataset("sfm120k", root)
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (9, 4, 0)
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert dataset.val.labels.tolist() == [3, 3, 4, 4]
    assert dataset.train.class_names[:4] == ("train 3", "train 7", "train 12", "val 3")
    for split in ("train", "val"):
        part = sfm_lists()["retrieval-SfM-120k.pkl"][split]
        names = [f"ims/{inside(name)}" for name in part["cids"]]
        wanted = {(names[q], names[p]) for q, p in zip(part["qidxs"], part["pidxs"], strict=True)}
        assert pairs_of(dataset, split) == wanted
        labels = dataset.splits[split].labels
        query, positive = dataset.pairs[split].T
        assert (labels[query] == labels[positive]).all()
    assert dataset.pairs["train"].dtype == np.int64


def test_an_unreadable_image_takes_its_pairs_along(root: Path) -> None:
    (root / "retrieval-SfM" / "ims" / inside(cid(0))).write_bytes(b"no image")
    whole = pairs_of(load_dataset("sfm120k", root, verify=False), "train")
    dataset = load_dataset("sfm120k", root, skip_unreadable=True)
    assert dataset.skipped == (f"ims/{inside(cid(0))}",)
    kept = {pair for pair in whole if dataset.skipped[0] not in pair}
    assert pairs_of(dataset, "train") == kept
    assert len(kept) == len(whole) - 1


def test_pairs_are_written_down_and_hashed(root: Path) -> None:
    dataset = load_dataset("sfm120k", root)
    again = from_json(to_json(dataset))
    assert again.pairs.keys() == dataset.pairs.keys()
    assert (again.pairs["train"] == dataset.pairs["train"]).all()
    content = pickle.loads((root / LISTS).read_bytes())
    content["train"]["pidxs"][0] = 8
    (root / LISTS).write_bytes(pickle.dumps(content))
    assert load_dataset("sfm120k", root).content_hash != dataset.content_hash


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("train", "cids", 0), "../../etc/passwd"),
        (("train", "cids", 0), "short"),
        (("train", "cids", 0), 7),
        (("train", "cids", 1), cid(0)),
        (("train", "qidxs", 0), 9),
        (("train", "qidxs", 0), -1),
        (("train", "pidxs"), [1]),
        (("val", "cluster"), None),
        (("val",), []),
    ],
)
def test_lists_that_do_not_fit_are_told(root: Path, place: tuple[Any, ...], value: Any) -> None:
    content: Any = pickle.loads((root / LISTS).read_bytes())
    part = content
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    (root / LISTS).write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=r"retrieval-SfM-120k\.pkl") as caught:
        load_dataset("sfm120k", root)
    assert "\n" not in str(caught.value)


def test_whitening_pairs_of_both_share_images(root: Path) -> None:
    large, small = load_pairs("sfm120k", root), load_pairs("sfm30k", root)
    assert (len(large.images), len(small.images)) == (10, 4)
    assert large.pairs.tolist() == small.pairs.tolist() == [[0, 2], [1, 3]]
    assert all(small.images.path(index).is_file() for index in range(4))
    with pytest.raises(DataError, match="no address is known"):
        load_dataset("sfm30k", root)


@pytest.mark.parametrize("name", ["roxford5k", "Paris6k", "instre", "revisitop1m"])
def test_what_is_searched_is_not_trained_on(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        load_dataset(name, tmp_path)
    assert "ram test --dataset" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_kinds() -> None:
    kinds = [
        kind_of(name) for name in ("sfm120k", "cub-test", "ROxford5k", "revisitop1m", "photos")
    ]
    assert kinds == ["classes", "classes", "search", "distractors", None]
