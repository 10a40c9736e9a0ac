"""Landmark data sets in their published layouts; ground truths that want to run something."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from landmark_maker import make_pairs, make_search_set
from PIL import Image

from ram_cli.datasets import load_distractors, load_pairs, load_search_set
from ram_cli.errors import DataError
from ram_cli.views import LandmarkViews


@pytest.fixture
def classes(tmp_path: Path) -> list[list[Path]]:
    paths = [[tmp_path / f"{a}{b}.png" for b in range(5)] for a in range(2)]
    for path in (path for group in paths for path in group):
        Image.new("RGB", (20, 20), "green").save(path)
    return paths


def test_lists_boxes_and_files(tmp_path, classes):
    make_search_set(tmp_path / "data", "roxford5k", classes, side=40)
    found = load_search_set("ROxford5k", tmp_path / "data")
    assert (len(found.gallery), len(found.queries), found.protocol) == (8, 2, "revisited")
    assert found.ground_truth[1] == {"easy": (4,), "hard": (5, 6), "junk": (7,)}
    assert found.queries.boxes is not None
    assert found.queries.boxes[0].tolist() == [20, 13, 60, 53]
    assert all(found.gallery.path(index).is_file() for index in range(8))


def test_old_ground_truths_share_images(tmp_path, classes):
    make_search_set(tmp_path, "paris6k", classes, old=True)
    (tmp_path / "rparis6k").mkdir()
    (tmp_path / "paris6k" / "jpg").rename(tmp_path / "rparis6k" / "jpg")
    found = load_search_set("paris6k", tmp_path)
    assert found.ground_truth[0] == {"ok": (0, 1, 2), "junk": (3,)}
    assert found.queries.path(0).is_file()


def test_pairs_and_distractors(tmp_path, classes):
    make_pairs(tmp_path, "sfm30k", classes, "retrieval-SfM-30k-whiten.pkl")
    found = load_pairs("sfm30k", tmp_path)
    assert found.pairs.tolist() == [[0, n] for n in range(1, 5)] + [[5, n] for n in range(6, 10)]
    assert all(found.images.path(index).is_file() for index in range(10))
    assert len(load_distractors(str(tmp_path / "sfm30k" / ".."), tmp_path)) == 10
    with pytest.raises(DataError, match="no image"):
        load_distractors(str(tmp_path / "sfm30k"), tmp_path)


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


def test_a_hostile_ground_truth_runs_nothing(tmp_path, classes):
    path = make_search_set(tmp_path, "roxford5k", classes) / "gnd_roxford5k.pkl"
    path.write_bytes(pickle.dumps({"imlist": Hostile(tmp_path / "ran")}))
    with pytest.raises(DataError, match="Nothing of it was run"):
        load_search_set("roxford5k", tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("protocol", range(5))
def test_arrays_of_any_protocol_are_read(tmp_path, classes, protocol):
    path = make_search_set(tmp_path, "roxford5k", classes) / "gnd_roxford5k.pkl"
    content = pickle.loads(path.read_bytes())
    content["gnd"][0]["bbx"] = [np.float32(value) for value in content["gnd"][0]["bbx"]]
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    assert load_search_set("roxford5k", tmp_path).ground_truth[0]["easy"] == (0,)


@pytest.mark.parametrize("damage", ["cut", "list", "key", 99, -1, 1.5, float("nan")])
def test_damaged_ground_truths_are_told(tmp_path, classes, damage):
    path = make_search_set(tmp_path, "roxford5k", classes) / "gnd_roxford5k.pkl"
    content = pickle.loads(path.read_bytes())
    if damage == "key":
        del content["gnd"][0]["hard"]
    elif isinstance(damage, int | float):
        content["gnd"][0]["hard"] = [1, damage]
    text = pickle.dumps([1] if damage == "list" else content)
    path.write_bytes(text[:-40] if damage == "cut" else text)
    with pytest.raises(DataError, match="gnd_roxford5k"):
        load_search_set("roxford5k", tmp_path)


@pytest.mark.parametrize(
    ("box", "shown"),
    [([70, 50, 90, 70], True), ([80, 0, 90, 9], False), ([-9, 3, 0, 9], False),
     ([2, 2.2, 9, 2.4], False)],
)  # fmt: skip
def test_a_box_shows_something_of_its_image(tmp_path, classes, box, shown):
    path = make_search_set(tmp_path, "roxford5k", classes, side=40) / "gnd_roxford5k.pkl"
    content = pickle.loads(path.read_bytes())
    content["gnd"][0]["bbx"] = box
    path.write_bytes(pickle.dumps(content))
    assert len(load_search_set("roxford5k", tmp_path, verify=False).queries) == 2
    if shown:
        found = load_search_set("roxford5k", tmp_path).queries
        assert LandmarkViews(found, 1024)[0].shape == (3, 20, 10)
        return
    with pytest.raises(DataError, match=r"query 0.*shows nothing.*80 x 80"):
        load_search_set("roxford5k", tmp_path)


def test_unreadable_images_can_be_left_out(tmp_path, classes):
    folder = make_search_set(tmp_path, "roxford5k", classes)
    (folder / "jpg" / "image_000_2.jpg").write_bytes(b"no image")  # index 1, hard for query 0
    found = load_search_set("roxford5k", tmp_path, skip_unreadable=True)
    assert len(found.gallery) == 7
    assert found.ground_truth[0] == {"easy": (0,), "hard": (1,), "junk": (2,)}
    assert found.ground_truth[1] == {"easy": (3,), "hard": (4, 5), "junk": (6,)}
    assert "image_000_2.jpg" not in found.gallery.paths
    left = load_distractors(str(folder / "jpg"), tmp_path, skip_unreadable=True)
    assert len(left) == 9
