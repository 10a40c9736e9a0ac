"""Ground truths, annotations, manifests and records that strangers made or a disk spoiled."""

import json
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from guard import fuzz, mutated, refused_or_fine, replaced
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ram_cli.datasets import from_json, load_dataset, to_json
from ram_cli.datasets.matlab import read_matlab
from ram_cli.datasets.search import load_search_set
from ram_cli.datasets.split_file import list_split_file
from ram_cli.engine import RunFolder
from ram_cli.errors import DataError
from ram_cli.export import read_results

DEEP = "[" * 200_000
DAMAGE = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 4), st.integers(0, 255)),
    min_size=1,
    max_size=3,
)
STEPS = st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=4)
ODD = st.sampled_from([
    None, True, -1, 0, 3, 2**31, 2**63, 10**30, 0.5, 1e308, float("nan"), float("inf"), "", "x",
    "../../x", "/etc/passwd", "a\nb", "\x1b[31m", "\x00", "\udcff", [], [[]], [1, 2], ["a"], {},
    {"a": 1}, [[0.0, 0.0, 1e30, 1e30]], b"x", (1, 2),
])  # fmt: skip
JSON_ODD = ODD.filter(lambda value: not isinstance(value, bytes | tuple))
CHANGES = st.lists(st.tuples(STEPS, ODD), min_size=1, max_size=2)
JSON_CHANGES = st.lists(st.tuples(STEPS, JSON_ODD), min_size=1, max_size=2)


def written(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((12, 10, 3), np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for label in range(4):
        for number in range(3):
            written(folder / "shop", f"class {label}/{number}.png")
    for name in ("a", "b", "c", "q"):
        written(folder / "roxford5k" / "jpg", f"{name}.jpg")
    (folder / "own").mkdir()
    return folder


TRUTH: dict[str, Any] = {
    "imlist": ["a", "b", "c"],
    "qimlist": ["q", "q"],
    "gnd": [
        {"bbx": [1.0, 1.0, 5.0, 5.0], "easy": [0], "hard": [1], "junk": [2]},
        {"bbx": [1.0, 1.0, 5.0, 5.0], "easy": [0, 1], "hard": [], "junk": []},
    ],
}


def search(place: Path, content: bytes) -> bool:
    (place / "roxford5k" / "gnd_roxford5k.pkl").write_bytes(content)
    with refused_or_fine(place) as said:
        assert len(load_search_set("roxford5k", place).queries) == 2
    return not said


@fuzz(2)
@given(CHANGES, st.integers(0, 5))
def test_any_ground_truth(place, changes, protocol):
    content = TRUTH
    for steps, value in changes:
        content = replaced(content, steps, value)
    search(place, pickle.dumps(content, protocol))


@fuzz(2)
@given(DAMAGE, st.integers(0, 5))
def test_any_damage_to_a_ground_truth(place, damage, protocol):
    search(place, mutated(pickle.dumps(TRUTH, protocol), damage))


def test_the_whole_ground_truth_is_read(place):
    assert search(place, pickle.dumps(TRUTH))


def matlab(shape: tuple[int, ...], kind: int, stored: int, raw: bytes, *, packed: bool) -> bytes:
    """A variable that says what it likes of its shape, its kind and what is stored."""

    def element(code: int, data: bytes) -> bytes:
        return struct.pack("<II", code, len(data)) + data + b"\0" * (-len(data) % 8)

    body = element(6, struct.pack("<II", kind, 0))
    body += element(5, struct.pack(f"<{len(shape)}i", *shape)) + element(1, b"x")
    body = element(14, body + element(stored, raw))
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    if packed:
        data = zlib.compress(body)
        body = struct.pack("<II", 15, len(data)) + data
    return head + body


LENGTHS = st.sampled_from([0, 1, 2, 3, 8, -1, 2**15, 2**31 - 1])


@fuzz(2)
@given(
    st.lists(LENGTHS, max_size=6).map(tuple),
    st.integers(0, 20),
    st.integers(0, 20),
    st.binary(max_size=40),
    st.booleans(),
    st.just([]) | DAMAGE,
)
def test_any_annotations(place, shape, kind, stored, raw, packed, damage):
    path = place / "own" / "x.mat"
    path.write_bytes(mutated(matlab(shape, kind, stored, raw, packed=packed), damage))
    with refused_or_fine(place / "own") as said:
        read_matlab(path)
    assert all(len(line) < 1000 for line in said)


@fuzz(2)
@given(JSON_CHANGES)
def test_any_manifest(place, changes):
    whole = to_json(load_dataset(str(place / "shop"), place / "own", verify=False))
    content = json.loads(whole)
    for steps, value in changes:
        content = replaced(content, steps, value)
    with refused_or_fine(place / "own"):
        from_json(json.dumps(content))


@fuzz()
@given(JSON_CHANGES, st.just([]) | DAMAGE)
def test_any_split_file(place, changes, damage):
    content: Any = {
        "train": [[f"class {label}/{number}.png" for number in range(3)] for label in (0, 1)],
        "test": [[f"class {label}/{number}.png" for number in range(3)] for label in (2, 3)],
    }
    for steps, value in changes:
        content = replaced(content, steps, value)
    path = place / "shop" / "split.json"
    path.write_bytes(mutated(json.dumps(content).encode(), damage))
    try:
        with refused_or_fine(place / "own", lines=True):
            list_split_file(place / "shop", seed=0, val_ratio=0.5)
    finally:
        path.unlink()


@pytest.mark.parametrize("text", [DEEP, '{"a":' + DEEP, "9" * 100_000, "NaN", "", "\ufeff{}"])
def test_records_that_are_deep_or_long(place, text):
    (place / "shop" / "split.json").write_text(text, "utf-8")
    try:
        with pytest.raises(DataError):
            list_split_file(place / "shop", seed=0, val_ratio=0.5)
    finally:
        (place / "shop" / "split.json").unlink()
    with pytest.raises(DataError):
        from_json(text)
    (place / "own" / "results.json").write_text(text, "utf-8")
    with refused_or_fine(place / "own") as said:
        read_results(place / "own", "model")
    assert said
    last = RunFolder(place / "own").last
    last.mkdir(parents=True, exist_ok=True)
    for name in ("position.json", "integrity.json"):
        (last / name).write_text(text, "utf-8")
    with refused_or_fine(place / "own") as said:
        RunFolder(place / "own").checkpoint()
    assert said
