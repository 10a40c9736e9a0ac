"""Names that strangers gave to classes and files: shown as text, never obeyed, never a path out."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from guard import fuzz
from hypothesis import given
from hypothesis import strategies as st
from names import CONTROL, NAME

from ram_cli.cli.main import main


def run(capsys, *words: object) -> tuple[int, str, str]:
    """Call the command line; what it prints holds no character that a terminal obeys."""
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    code = int(stopped.value.code or 0)
    assert "Traceback" not in err
    assert "internal error" not in err, err
    assert not CONTROL.search(err), repr(err)
    assert not CONTROL.search(out), repr(out)
    assert not re.search("^error: all is lost", err, re.MULTILINE)
    return code, out, err


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("names")


@pytest.fixture(scope="module")
def model(place) -> Path:
    import torch

    from ram_cli.models import build_embedder, save_model

    torch.manual_seed(0)
    network = build_embedder("timm:test_resnet", pretrained=False, dimension=8, input_size=32)
    save_model(network, place / "model", provenance={})
    return place / "model"


def images(folder: Path, classes: list[str], file: str) -> None:
    """Seven classes or more, of three images, under the names given and plain ones."""
    import numpy as np
    from PIL import Image

    shutil.rmtree(folder, ignore_errors=True)
    random = np.random.default_rng(0)
    names = [file if len(os.fsencode(file)) < 250 else "x", "b", "c"]
    for name in dict.fromkeys([*classes, "one", "two", "three", "four", "five", "six", "seven"]):
        for image in names:
            path = folder / name / f"{image}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 255, (40, 36, 3), dtype=np.uint8)).save(path)


def commands(capsys, place: Path, folder: Path, model: Path) -> None:
    """Prepare, test and report on images, with every file that names could reach left alone."""
    common = ["--data-root", place / "data", "--workers", "0"]
    page = place / "page.html"
    before = {path.name for path in place.iterdir()} | {"data", "page.html"}
    assert run(capsys, "prepare", folder, *common, "--teacher", model)[0] == 0
    code, out, err = run(capsys, "prepare", folder, *common, "--cache-size", "32", "--json")
    assert code == 0, err
    json.loads(out)
    code, out, err = run(
        capsys, "test", "--student", model, "--dataset", folder, *common, "--report", page, "--json"
    )
    assert code == 0, err
    json.loads(out)
    text = page.read_text("utf-8")
    assert not CONTROL.search(text)
    for markup in ("<script>alert", "<img src=x", "<b>&"):
        assert markup not in text
    assert {path.name for path in place.iterdir()} <= before
    assert not Path("ran").exists()


@fuzz(0.3, shrink=False)
@given(st.lists(NAME, min_size=1, max_size=4), NAME)
def test_any_name(capsys, place, model, monkeypatch_module, classes, file):
    folder = place / "images"
    images(folder, classes, file)
    before = {path.name for path in place.iterdir()}
    commands(capsys, place, folder, model)
    assert before <= {path.name for path in place.iterdir()}
    broken = folder / classes[0] / "b.png"
    broken.write_bytes(b"no image")
    code, _, err = run(capsys, "prepare", folder, "--data-root", place / "data", "--workers", "0")
    assert code == 1
    assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1


@pytest.fixture
def monkeypatch_module(tmp_path_factory, monkeypatch):
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))


def test_a_folder_of_any_name(capsys, place, model, monkeypatch_module):
    for name in ("\x1b[31m\nred<b>&", "\udcff"):
        folder = place / "odd" / name
        images(folder, ["\udcff\udcfe", "a\nb"], "\udcfc")
        commands(capsys, place, folder, model)
        code, _, err = run(
            capsys, "train", "--dataset", folder, "--backbone", model, "--image-size", "32",
            "--whitening", "8", "--epochs", "1", "--batch-size", "4", "--negatives", "2",
            "--workers", "0", "--device", "cpu", "--output", place / "odd" / f"{name}-run",
        )  # fmt: skip
        if name == "\udcff":  # no settings file could name it
            assert code == 1
            assert "Rename" in err
        else:
            assert code == 0, err
    shutil.rmtree(place / "odd")


@pytest.mark.parametrize("name", ["../../x", "\x1b[31m\nx", "a/../../b", "", ".", "\0", "x" * 5000])
def test_names_of_models_and_outputs(capsys, place, model, monkeypatch_module, name):
    for words in (
        ["info", name],
        ["test", "--student", name, "--dataset", "furniture", "--data-root", place / "data"],
        ["download", name],
        ["train", "--dataset", name],
    ):
        code, _, _ = run(capsys, *words)
        assert code in (1, 2) or not name  # without a name, ram download lists what there is
