"""The path of a user's work through the command line: train, distill, test, export, use."""

import json
import math
from pathlib import Path

import pytest
import torch
from tiny_runs import DISTILL, TINY, TRAIN

from ram_cli import load_model
from ram_cli.engine import RunFolder
from ram_cli.recipes.outcome import TrainingResult


def test_train_writes_a_whole_run_folder(teacher):
    names = {path.name for path in teacher.iterdir()}
    assert {"config.toml", "log.jsonl", "tensorboard", "checkpoints", "best", "final"} <= names
    records = [json.loads(line) for line in (teacher / "log.jsonl").read_text().splitlines()]
    validated = [record for record in records if record["kind"] == "validation"]
    assert [record["epoch"] for record in validated] == [1, 2]
    assert all(0 <= record["mAP"] <= 100 for record in validated)
    model = load_model(teacher / "final")
    assert model.dimension == 16
    vectors = model(torch.zeros(2, 3, 48, 48))
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-4)


def test_the_validation_of_the_model_to_use_comes_first(teacher, call):
    """Not that of the last epoch, which may be another model."""
    records = [json.loads(line) for line in (teacher / "log.jsonl").read_text().splitlines()]
    validated = [record for record in records if record["kind"] == "validation"]
    best = max(validated, key=lambda record: record["mAP"])
    code, out, err = call("train", "--resume", teacher, "--json")
    assert code == 0, err
    result = json.loads(out)
    assert (result["best_epoch"], result["epochs"]) == (best["epoch"], 2)
    assert result["validation"]["mAP"] == pytest.approx(best["mAP"])
    assert result["last_validation"]["mAP"] == pytest.approx(validated[-1]["mAP"])


def test_both_validations_are_shown_where_the_last_model_is_not_kept():
    def rows(best: dict[str, float | None], epoch: int) -> list[list[str]]:
        last = {"mAP": 43.4, "R@1": 47.9}
        result = TrainingResult(Path("r"), Path("r/best"), best, epoch, last, 6, 36, 28.0)
        return result.tables()[0].rows

    best = {"mAP": 46.3, "R@1": 52.1}
    assert rows(best, 3) == [["3, kept", "46.3", "52.1"], ["6, the last", "43.4", "47.9"]]
    assert rows({"mAP": None, "R@1": None}, 6) == [["6", "–", "–"]]


def test_distill_test_export_info(teacher, images, call):
    code, out, err = call(
        *DISTILL, "--dataset", images, "--teacher", teacher, "--student", teacher,
        "--output", "student", "--test-datasets", images, "--json",
    )  # fmt: skip
    assert code == 0, err
    result = json.loads(out)
    assert [row["label"] for row in result["tests"]] == [
        "student 24 → teacher 48",
        "student 24 → student 24",
    ]
    config = json.loads(Path(f"{result['model']}/config.json").read_text())
    assert config["provenance"]["teacher"]["dimension"] == 16
    assert config["model"]["input_size"] == 24

    code, out, err = call(
        "test", "--student", "student", "--teacher", teacher, "--asym", "--sym", "--baselines",
        "--report", "page.html", "--json", "--workers", "0", "--precision", "fp32",
    )  # fmt: skip
    assert code == 0, err
    rows = json.loads(out)["rows"]
    assert [(row["query"], row["query_size"], row["gallery_size"]) for row in rows] == [
        ("teacher", 48, 48),
        ("teacher", 24, 48),
        ("student", 24, 48),
        ("student", 24, 24),
    ]
    for after, before in zip(rows[2:], result["tests"], strict=True):
        assert after["map"] == pytest.approx(before["map"], abs=1e-9)
    assert rows[2]["query_gmac"] < rows[0]["query_gmac"] / 3
    page = Path("page.html").read_text()
    assert "class " in page

    code, out, err = call("export", "student", "--to", "exported", "--json")
    assert code == 0, err
    exported = json.loads(out)
    assert exported["dimension"] == 16
    text = Path("exported/config.json").read_text()
    assert str(images.parent) not in text
    first, second = load_model("student/best"), load_model("exported")
    views = torch.rand(2, 3, 24, 24)
    assert torch.equal(first(views), second(views))
    assert call("export", "student", "--to", "exported")[0] == 1
    assert call("export", "student", "--to", "exported", "--force")[0] == 0

    code, out, err = call("info", "exported", "--size", "24,48", "--json")
    assert code == 0, err
    assert [cost["size"] for cost in json.loads(out)["costs"]] == [24, 48]


def test_regression_embeds_by_the_teacher_once(teacher, images, call, monkeypatch):
    from ram_cli.recipes import features

    calls = []
    embed = features.embed_images
    monkeypatch.setattr(
        features,
        "embed_images",
        lambda model, of, **more: calls.append(of.name) or embed(model, of, **more),
    )
    code, _, err = call(
        *DISTILL, "--mode", "ts_reg", "--dataset", images, "--teacher", teacher,
        "--student", TINY, "--no-pretrained", "--output", "student", "--no-val",
    )  # fmt: skip
    assert code == 0, err
    assert calls == ["stripes/train_val"]


def test_student_of_another_architecture_takes_the_teachers_dimension(teacher, images, call):
    code, _, err = call(
        *DISTILL, "--dataset", images, "--teacher", teacher, "--student", "timm:test_vit",
        "--no-pretrained", "--image-size", "32", "--output", "student",
    )  # fmt: skip
    assert code == 0, err
    assert load_model("student/final").dimension == 16


def test_mining_in_the_batch_trains_too(images, call):
    code, _, err = call(
        *TRAIN, "--dataset", images, "--mining", "batch", "--loss", "contrastive",
        "--projection-start", "random", "--output", "run", "--log-with", "none",
    )  # fmt: skip
    assert code == 0, err
    assert RunFolder(Path("run")).final.is_dir()
    assert not Path("run/tensorboard").exists()


def test_same_seed_same_weights_other_seed_others(images, call):
    from safetensors.torch import load_file

    words = [*TRAIN, "--dataset", images, "--no-val", "--log-with", "none"]
    for output, seed in (("first", 1), ("second", 1), ("third", 2)):
        code, _, err = call(*words, "--output", output, "--seed", seed)
        assert code == 0, err
    first, second, third = (
        load_file(f"{name}/final/model.safetensors") for name in ("first", "second", "third")
    )
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not torch.equal(first["projection.weight"], third["projection.weight"])


def test_config_of_a_run_repeats_it(teacher, call):
    from safetensors.torch import load_file

    code, _, err = call("train", "--config", teacher / "config.toml", "--output", "again")
    assert code == 0, err
    first = load_file(teacher / "final" / "model.safetensors")
    second = load_file("again/final/model.safetensors")
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_loss_falls_on_images_that_can_be_learned(images, call):
    code, _, err = call(
        *TRAIN, "--dataset", images, "--output", "run", "--epochs", "12", "--log-every", "1",
        "--projection-start", "random",
    )  # fmt: skip
    assert code == 0, err
    records = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in records if record["kind"] == "train"]
    assert all(math.isfinite(loss) for loss in losses)
    assert sum(losses[-4:]) < 0.7 * sum(losses[:4])


def test_the_shortest_commands_find_the_rest_themselves(teacher, images, call):
    code, _, err = call(*DISTILL, "--no-pretrained", "--teacher", teacher)
    assert code == 0, err
    code, out, err = call("test", "--asym", "--sym", "--workers", "0", "--json")
    assert code == 0, err
    rows = json.loads(out)["rows"]
    assert [row["label"] for row in rows] == ["student 24 → teacher 48", "student 24 → student 24"]
    assert {row["dataset"] for row in rows} == {"stripes/test"}


def test_a_teacher_that_changed_is_not_searched_in(teacher, images, call):
    import shutil

    shutil.copytree(teacher / "best", "teacher")
    code, _, err = call(
        *DISTILL, "--dataset", images, "--teacher", "teacher", "--student", "teacher"
    )
    assert code == 0, err
    shutil.rmtree("teacher")
    (run,) = Path("runs").glob("distill-*")
    shutil.copytree(run / "final", "teacher")
    code, _, err = call("test", "--asym", "--workers", "0")
    assert code == 2
    assert "--teacher" in err


def test_weights_from_a_local_file(images, call):
    import timm

    torch.manual_seed(4)
    torch.save(timm.create_model("test_resnet").state_dict(), "weights.pth")
    code, _, err = call(
        *[word for word in TRAIN if word != "--no-pretrained"],
        "--weights", "weights.pth", "--dataset", images, "--output", "run", "--lr", "1e-12",
        "--optimizer", "sgd", "--scheduler", "none",
    )  # fmt: skip
    assert code == 0, err
    expected = torch.load("weights.pth", weights_only=True)["layer1.0.conv1.weight"]
    trained = load_model("run/final").state_dict()
    found = [value for value in trained.values() if value.shape == expected.shape]
    assert any(torch.allclose(value, expected, atol=1e-6) for value in found)
    assert "--weights" in call("train", "--backbone", "resnet18", "--dataset", images)[2]
