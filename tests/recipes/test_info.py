"""`ram info`: where a model comes from, how well it retrieves and what it costs."""

import json
from pathlib import Path

import pytest
import torch
from hub_server import Hub

from ram_cli.export import Results, save_results
from ram_cli.models import build_embedder, model_hash, save_model

ROW = {"dataset": "birds/test", "label": "student 32 → teacher 64", "query": "student"}
LANDMARKS = ROW | {"dataset": "roxford5k", "protocol": "Hard", "map": 31.4, "precision_at_1": 50.0}
RECORD = {
    "command": "distill",
    "dataset": {"name": "birds"},
    "settings": {"method": "csd"},
    "metrics": {"mAP": 41.23, "score": 0.41},
    "teacher": {"name": "someone/gone", "hash": "h", "image_size": 64},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A student that was tested, with a whitening of its own."""
    torch.manual_seed(0)
    embedder = build_embedder("timm:test_resnet", pretrained=False, dimension=8, input_size=32)
    folder = tmp_path_factory.mktemp("models") / "student"
    save_model(embedder.eval(), folder, provenance=RECORD)
    rows = [ROW | {"map": 58.12, "recall_at_1": 71.4, "recall_at_8": 93.0}, LANDMARKS]
    save_results(folder, Results(model_hash(folder), rows))
    (folder / "whitening.safetensors").write_bytes(b"w")
    return folder


def cells(text: str) -> list[list[str]]:
    """The words of every line, without what draws the tables."""
    return [line.replace("│", " ").split() for line in text.splitlines()]


def test_all_that_is_known_is_shown(model, call):
    code, out, err = call("info", model, "--device", "cpu")
    assert code == 0, err
    lines = cells(out)
    for row in (
        "made by ram distill, csd", "trained on birds", "aligned with someone/gone, 64 px",
        "validation mAP 41.2", "whitening its own", "tested on query → gallery mAP R@1 R@8",
        "birds/test student 32 → teacher 64 58.1 71.4 93.0",
        "roxford5k student 32 → teacher 64, Hard 31.4 50.0",
    ):  # fmt: skip
        assert row.split() in lines, row
    assert "score" not in out
    assert "in fp32, on " in err
    assert "ONNX Runtime" not in err


def test_results_and_commit_come_from_the_hub_too(hub: Hub, model, call):
    files = {path.name: path.read_bytes() for path in model.iterdir()}
    commit = hub.put("someone/birds", files)
    code, out, err = call("info", "someone/birds", "--device", "cpu", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["commit"] == commit
    assert told["whitening"] == "its own"
    assert [row["map"] for row in told["results"]] == [58.12, 31.4]
    code, out, err = call("info", "someone/birds", "--device", "cpu")
    assert ["from", "the", "Hub", "commit", commit] in cells(out)


def test_a_backbone_has_no_origin(call):
    code, out, err = call("info", "timm:test_resnet", "--device", "cpu", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["provenance"], told["results"]) == ({}, [])
    assert told["commit"] is told["whitening"] is None


def test_results_of_other_weights_are_not_shown(model, call, tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    for path in model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    save_results(folder, Results("another", [ROW | {"map": 58.12}]))
    code, out, err = call("info", folder, "--device", "cpu", "--json")
    assert code == 0, err
    assert json.loads(out)["results"] == []
    (folder / "results.json").write_text("{")
    code, _, err = call("info", folder)
    assert code == 1
    assert "results.json" in err


@pytest.mark.parametrize("teacher", ["someone/none", "big/best/x", "resnet5"])
def test_a_teacher_that_is_nowhere_is_told(hub: Hub, model, images, call, tmp_path, teacher):
    content = json.loads((model / "config.json").read_text())
    content["provenance"]["teacher"]["name"] = teacher
    folder = tmp_path / "alone"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(content))
    (folder / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes())
    code, _, err = call("test", "--student", folder, "--asym", "--dataset", images)
    assert code == 2
    (line,) = [line for line in err.splitlines() if line.startswith("error")]
    assert f"aligned with {teacher}, which cannot be had" in line
    assert str(tmp_path / "teacher") in line
