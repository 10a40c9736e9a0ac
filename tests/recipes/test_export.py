"""Exports through the command line: cards with results, pairs, and places that cannot be used."""

import json
import os
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from tiny_runs import DISTILL

from ram_cli import load_model
from ram_cli.cli.main import main
from ram_cli.models import read_provenance

TEST = ["--workers", "0", "--precision", "fp32", "--device", "cpu"]


@pytest.fixture(scope="module")
def student(teacher, images, tmp_path_factory) -> Path:
    """Run folder of a tiny student, tested with `--save`."""
    run = tmp_path_factory.mktemp("runs") / "student"
    words = [*DISTILL, "--dataset", images, "--teacher", teacher, "--student", teacher]
    test = ["test", "--student", run, "--asym", "--sym", "--baselines", "--save", *TEST]
    for call in ([*words, "--epochs", "1", "--output", run], test):
        with pytest.raises(SystemExit) as stopped:
            main([str(word) for word in call])
        assert not stopped.value.code
    return run


@pytest.fixture
def small_disk() -> Iterator[None]:
    """A limit on the size of files stands for a full disk: both end a write in the middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def metadata(folder: Path | str) -> dict:
    return yaml.safe_load(Path(folder, "README.md").read_text().split("---\n")[1])


def test_a_card_carries_what_was_measured(student, call):
    code, out, err = call(
        "export", student, "--to", "shared", "--picture", "--licence", "mit", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["difference"] == 0
    names = {path.name for path in Path("shared").iterdir()}
    assert names == {
        "README.md", "config.json", "model.safetensors", "results.json", "retrievals.png",
    }  # fmt: skip
    known = metadata("shared")
    assert known["license"] == "mit"
    measured = json.loads((student / "best" / "results.json").read_text())["rows"]
    metrics = known["model-index"][0]["results"][0]["metrics"]
    shown = [metric["value"] for metric in metrics if metric["type"] == "map"]
    assert shown == [round(row["map"], 2) for row in measured if row["query"] == "student"]
    assert len(shown) == 2
    card = Path("shared/README.md").read_text()
    assert "student 24 → teacher 48" in card
    assert "teacher 24 → teacher 48" in card
    assert "(retrievals.png)" in card
    assert str(student.parent) not in card


def test_a_pair_finds_each_other_wherever_it_lies(student, images, call):
    code, out, err = call("export", student, "--to", "both", "--pair", "--json")
    assert code == 0, err
    assert json.loads(out)["teacher"]["folder"] == "both/teacher"
    assert "../teacher" in Path("both/student/README.md").read_text()
    teacher_card = Path("both/teacher/README.md").read_text()
    assert "../student" in teacher_card
    assert "teacher 48 → teacher 48" in teacher_card
    assert "student 24" not in teacher_card
    Path("both").rename("moved")
    code, out, err = call(
        "test", "--student", "moved/student", "--asym", "--dataset", images, "--json", *TEST
    )
    assert code == 0, err
    assert "moved/teacher" in err
    row = json.loads(out)["rows"][0]
    assert (row["query_size"], row["gallery_size"]) == (24, 48)
    assert call("export", student, "--to", "moved", "--pair")[0] == 1
    assert call("export", student, "--to", "moved", "--pair", "--force")[0] == 0


def test_a_pair_needs_the_teacher_of_then(student, teacher, call):
    code, _, err = call("export", teacher, "--to", "both", "--pair")
    assert code == 2
    assert "which teacher" in err
    call("export", student, "--to", "both", "--pair")
    weights = Path("both/teacher/model.safetensors")
    content = json.loads(Path("both/student/config.json").read_text())
    content["provenance"]["teacher"] |= {"hash": "other", "name": "both/teacher"}
    Path("both/student/config.json").write_text(json.dumps(content))
    assert weights.is_file()
    code, _, err = call("export", "both/student", "--to", "again", "--pair")
    assert code == 2
    assert "no longer" in err
    assert not Path("again").exists()


def test_results_of_other_weights_are_left_behind(student, teacher, call):
    assert call("export", student, "--to", "mine")[0] == 0
    assert call("export", teacher, "--to", "other")[0] == 0
    Path("other/results.json").write_bytes(Path("mine/results.json").read_bytes())
    Path("other/retrievals.png").write_bytes(b"x")
    assert call("export", "other", "--to", "again")[0] == 0
    assert "model-index" not in metadata("again")
    code, _, err = call("export", "other", "--to", "again", "--picture", "--force")
    assert code == 2
    assert "--save" in err


def test_names_are_only_text(student, call):
    call("export", student, "--to", "mine")
    content = json.loads(Path("mine/config.json").read_text())
    content["provenance"]["dataset"]["name"] = "<img src=x>\n---\nlicense: mit"
    Path("mine/config.json").write_text(json.dumps(content))
    name = "a\nb: [<b>"
    code, _, err = call("export", "mine", "--to", name)
    assert code == 0, err
    assert "license" not in metadata(name)
    assert metadata(name)["model-index"][0]["name"] == "a b: [<b>"
    assert "<" not in Path(name, "README.md").read_text().split("---\n")[2]
    assert read_provenance(name)["dataset"]["name"].startswith("<img")


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_leaves_nothing(student, call):
    code, _, err = call("export", student, "--to", "out", "--pair")
    assert code == 1
    assert "disk" in err
    assert not list(Path().iterdir())


def test_places_that_are_taken(student, call):
    Path("file").write_text("x")
    Path("own").mkdir()
    Path("own/diary.txt").write_text("x")
    for target, words in (("file", []), ("own", []), ("own", ["--force"]), (student / "best", [])):
        code, _, err = call("export", student, "--to", target, *words)
        assert code == 1
        assert str(target) in err
    code, _, err = call("export", student / "best", "--to", student, "--force")
    assert code == 1
    assert Path("own/diary.txt").read_text() == "x"
    assert load_model(student / "best").dimension == 16


def test_saving_needs_a_folder_of_ones_own(images, call):
    code, _, err = call(
        "test", "--student", "timm:test_resnet", "--dataset", images, "--save", *TEST
    )
    assert code == 2
    assert "ram export" in err


def test_a_copy_that_is_not_the_model_is_refused(student, call, monkeypatch):
    from ram_cli.recipes import export

    real = export.load_model

    def damaged(name):
        model = real(name)
        with torch.no_grad():
            next(model.parameters()).add_(1e-2)
        return model

    monkeypatch.setattr(export, "load_model", damaged)
    code, _, err = call("export", student, "--to", "out")
    assert code == 1
    assert "differ" in err
    assert not list(Path().iterdir())


def test_a_teacher_is_found_from_another_folder_too(student, call):
    """A relative path was recorded where the training ran; commands may run anywhere."""
    call("export", student, "--to", "place/runs/both", "--pair")
    home = Path("place/runs")
    (home / "both" / "student").rename(home / "small")
    (home / "both" / "teacher").rename(home / "big")
    content = json.loads((home / "small/config.json").read_text())
    content["provenance"]["teacher"]["name"] = "runs/big"
    (home / "small/config.json").write_text(json.dumps(content))
    code, out, err = call("export", home / "small", "--to", "again", "--pair", "--json")
    assert code == 0, err
    assert json.loads(out)["teacher"]["source"] == str((home / "big").resolve())


def test_sigterm_leaves_nothing_half_written(student, call, monkeypatch):
    from ram_cli.recipes import export

    before = signal.getsignal(signal.SIGTERM)

    def asked_to_end(*_: object, **__: object) -> None:
        assert list(Path().glob(".incomplete-*"))
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        raise AssertionError("it went on")

    monkeypatch.setattr(export, "keep_results_of", asked_to_end)
    code, out, err = call("export", student, "--to", "there")
    assert (code, out) == (143, "")
    assert "Traceback" not in err
    assert list(Path().iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is before
