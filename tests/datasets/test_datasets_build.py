"""The script that made the embedded images, on a small source."""

import csv
import importlib.util
import json
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "build_furniture.py"
pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="scripts are not in the archive")

NAMES = [f"{word}{number}" for word in ("chair", "table", "lamp", "vase") for number in (1, 2)]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_furniture", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, count in (("TRAIN_CLASSES", 2), ("VAL_CLASSES", 2), ("TEST_CLASSES", 4)):
        monkeypatch.setattr(module, name, count)
    monkeypatch.setattr(module, "SIDE", 16)
    return module


@pytest.fixture
def source(tmp_path: Path, make_image, script: ModuleType) -> Path:
    root = tmp_path / "source"
    classes = [f"maker_{name}" for name in NAMES] + [script.LEFT_OUT[0]]
    for name in classes:
        for number in range(2):
            make_image(root / "images" / name / f"{number:02d}.jpg")
    with (root / "credits.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "name", "category", "creator", "licence"])
        writer.writerows([name, name, "Office", "Someone, Ltd", "CC0"] for name in classes)
    return root


def test_the_same_source_gives_the_same_bytes(
    script: ModuleType, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archives = [tmp_path / "a.zip", tmp_path / "b.zip"]
    for archive in archives:
        script.build(source, archive)
    assert archives[0].read_bytes() == archives[1].read_bytes()
    assert "16 images" in capsys.readouterr().out
    with zipfile.ZipFile(archives[0]) as archive:
        split = json.loads(archive.read("split.json"))
        assert len(archive.namelist()) == 16 + 3
        assert "Someone, Ltd" in archive.read("credits.csv").decode()
        assert script.LEFT_OUT[0] not in archive.read("credits.csv").decode()
    assert {part: len(classes) for part, classes in split.items()} == {
        "train": 2,
        "val": 2,
        "test": 4,
    }
    for classes in split.values():  # chair1 and chair2 are siblings
        words = [paths[0].split("/")[1].rstrip("12") for paths in classes]
        assert all(words.count(word) == 2 for word in words)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("scopia_window-2x3-arched", "window"),
        ("scopia_armchair2", "armchair"),
        ("katorlegaz_concept-sedan-01v2", "concept-sedan"),
        ("katorlegaz_12-oz-glass", "12-oz-glass"),
        ("blendswap-cc-0_l-shaped-sofa", "l-shaped-sofa"),
    ],
)
def test_stems(script: ModuleType, name: str, stem: str) -> None:
    assert script.stem_of(name) == stem


def test_siblings_form_families(script: ModuleType) -> None:
    families = script.families_of(["a_pine", "a_pinesnow", "b_pine2", "a_pineapple", "a_pine-cone"])
    assert sorted(map(sorted, families)) == [
        ["a_pine", "a_pine-cone", "a_pinesnow", "b_pine2"],
        ["a_pineapple"],
    ]


def test_places_are_shared_in_proportion(script: ModuleType) -> None:
    category_of = dict.fromkeys("abcdef", "big") | dict.fromkeys("gh", "mid") | {"i": "small"}
    places = script.quotas(category_of, list(category_of), 4)
    assert (places.total(), places["big"], places["mid"]) == (4, 3, 1)
