"""`--final`: all classes are trained on, and the test classes are not opened before the end."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_runs import DISTILL, TINY, TRAIN, write_images

from ram_cli.datasets import DATASETS, Counts, load_dataset
from ram_cli.engine import Trainer

opened: list[str] = []
watching = False


def _note(event: str, arguments: tuple) -> None:
    if watching and event == "open":
        opened.append(str(arguments[0]))


@pytest.fixture(scope="session")
def _hook() -> None:
    sys.addaudithook(_note)  # it can never be taken away again, only be told to be quiet


@pytest.fixture
def until_trained(monkeypatch, _hook):
    """Every file that Python opens from the start of a command to the end of its training."""
    global watching
    opened.clear()
    fit = Trainer.fit

    def fit_and_stop_watching(trainer):
        global watching
        position = fit(trainer)
        watching = False
        return position

    monkeypatch.setattr(Trainer, "fit", fit_and_stop_watching)
    watching = True
    yield opened
    watching = False


def test_no_test_image_is_opened_before_training_has_ended(teacher, images, call, until_trained):
    data = load_dataset(str(images), Path("data"))
    opened.clear()  # every image is checked once, when a dataset is first met; that was it
    code, out, err = call(
        *DISTILL, "--dataset", images, "--teacher", teacher, "--student", teacher,
        "--output", "student", "--final", "--json",
    )  # fmt: skip
    assert code == 0, err
    seen = {path.rpartition("stripes/")[2] for path in until_trained if path.endswith(".jpg")}
    assert seen == {*data.train.paths, *data.val.paths}
    assert seen.isdisjoint(data.test.paths)
    result = json.loads(out)
    assert result["validation"] == {}
    assert Path(result["model"]).name == "final"
    assert [(row["dataset"], row["label"]) for row in result["tests"]] == [
        ("stripes/test", "student 24 → teacher 48"),
        ("stripes/test", "student 24 → student 24"),
    ]


def test_a_final_training_is_tested_too_and_goes_on_as_it_began(images, call):
    words = ["--dataset", images, "--output", "run", "--final", "--json"]
    code, out, err = call(*TRAIN, *words, "--test-datasets", images)
    assert code == 0, err
    result = json.loads(out)
    assert [row["dataset"] for row in result["tests"]] == ["stripes/test"]
    assert not Path("run/best").exists()
    code, out, err = call("train", "--resume", "run", "--json")
    assert code == 0, err
    assert json.loads(out)["tests"][0]["map"] == result["tests"][0]["map"]


def test_a_dataset_without_test_classes_is_told_before_training(call, teacher):
    folder = write_images(Path("photos"), classes=4)
    names = sorted(path.name for path in folder.iterdir())
    files = [[f"{name}/{number}.jpg" for number in range(4)] for name in names]
    split = {"train": files[:2], "val": files[2:], "test": []}
    Path("photos/split.json").write_text(json.dumps(split))
    code, _, err = call(
        *DISTILL, "--dataset", folder, "--teacher", teacher, "--student", teacher,
        "--output", "student", "--final",
    )  # fmt: skip
    assert code == 1, err
    assert "no test classes" in err
    assert not Path("student/config.toml").exists()


def cub_twin() -> dict[str, str]:
    images, labels = [], []
    species = (1, 2, 99, 100, 101, 200)
    for number, label in enumerate([label for label in species for _ in range(2)], start=1):
        images.append(f"{number} {label:03d}.Bird/{number}.jpg")
        labels.append(f"{number} {label}")
    return {
        "CUB_200_2011/images.txt": "\n".join(images) + "\n",
        "CUB_200_2011/image_class_labels.txt": "\n".join(labels) + "\n",
    }


def sop_twin() -> dict[str, str]:
    tables = {}
    for part, products in (("train", (1, 2, 3, 4)), ("test", (5, 6))):
        lines = ["image_id class_id super_class_id path"]
        lines += [
            f"{product * 2 + number} {product} 1 bicycle_final/{product}_{number}.JPG"
            for product in products
            for number in range(2)
        ]
        tables[f"Stanford_Online_Products/Ebay_{part}.txt"] = "\n".join(lines) + "\n"
    return tables


@pytest.mark.parametrize(
    ("name", "twin", "published"),
    [
        ("cub", cub_twin, (1.4025e-4, 0.7718, 0.6684)),
        ("sop", sop_twin, (1.7579e-4, 0.7482, 0.6778)),
    ],
)
def test_a_known_dataset_brings_what_was_published(name, twin, published, call, monkeypatch):
    import tomllib

    from PIL import Image

    for file, text in twin().items():
        path = Path("data", file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for image in (word for word in text.split() if word.lower().endswith(".jpg")):
            folder = path.parent / "images" if name == "cub" else path.parent
            (folder / image).parent.mkdir(parents=True, exist_ok=True)
            Image.effect_noise((40, 30), 80).convert("RGB").save(folder / image)
    counts = {"train_val": Counts(4, 8), "test": Counts(2, 4)}
    monkeypatch.setitem(DATASETS, name, replace(DATASETS[name], **counts))
    from ram_cli.models import build_embedder, save_model

    network = build_embedder(TINY, pretrained=False, dimension=8, input_size=64)
    save_model(network, Path("teacher"), provenance={})
    code, out, err = call(
        "distill", "--dataset", name, "--teacher", "teacher", "--student", TINY,
        "--no-pretrained", "--epochs", "1", "--views", "2", "--workers", "0", "--device", "cpu",
        "--output", "run", "--final", "--json",
    )  # fmt: skip
    assert code == 0, err
    settings = tomllib.loads(Path("run/config.toml").read_text())["distill"]
    assert (settings["lr"], settings["lambda_ts"], settings["lambda_ss"]) == published
    assert (settings["image_size"], settings["teacher_image_size"]) == (224, 448)
    assert settings["final"]
    rows = json.loads(out)["tests"]
    assert [(row["query_size"], row["gallery_size"]) for row in rows] == [(224, 448), (224, 224)]
    assert [row["queries"] for row in rows] == [4, 4]


def test_cars_bring_what_was_published(empty_folder):
    from ram_cli.settings import DistillSettings

    settings = DistillSettings.load({"teacher": "t", "dataset": "cars"})
    assert (settings.lr, settings.lambda_ts, settings.lambda_ss) == (1.1692e-4, 0.6371, 0.7731)
    assert (settings.image_size, settings.teacher_image_size) == (224, 448)
