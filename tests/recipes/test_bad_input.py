"""What people get wrong: one clear line, exit code 1 or 2, and nothing lost."""

import json
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_runs import DISTILL, TINY, TRAIN, refused, write_images


def test_three_mistakes_are_reported_together(call, images):
    err = refused(
        call, "train", "--dataset", images, "--backbone", TINY, "--epochs", "0", "--lr", "fast",
        "--pool", "gemm", code=2,
    )  # fmt: skip
    for name in ("epochs", "lr", "pool"):
        assert name in err
    assert "gem" in err


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["--dataset", "cubb"], 1, "cub"),
        (["--dataset", "nowhere/at/all"], 1, "nowhere/at/all"),
        (["--backbone", "resnet5"], 1, "resnet50"),
        (["--backbone", "timm:resnet5"], 1, "resnet50"),
        (["--optimizer", "adamm"], 2, "adam"),
        (["--epocs", "3"], 2, "--epochs"),
        (["--batch-size", "6"], 2, "batch_size"),
        (["--device", "cuda:7"], 2, "device"),
    ],
)
def test_unknown_names_and_values_list_the_closest(call, images, words, code, expected):
    base = [*TRAIN, "--dataset", images]
    name = words[0]
    if name in base:
        place = base.index(name)
        base[place : place + 2] = []
    assert expected in refused(call, *base, *words, "--output", "run", code=code)
    assert not Path("run/config.toml").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--pool", "mac"], "pool: {} is a model and keeps its own (gem), not mac"),
        (["--regional"], "regional: {} is a model and keeps its own (off), not on"),
        (["--adapter", "32"], "adapter: {} is a model and keeps its own (0), not 32"),
        (["--no-pretrained"], "pretrained: {} brings its weights"),
    ],
)
def test_a_model_that_exists_gets_no_other_head(call, teacher, words, told):
    err = refused(
        call,
        *DISTILL,
        "--teacher",
        teacher,
        "--student",
        teacher,
        *words,
        "--output",
        "run",
        code=2,
    )
    assert told.format(teacher) in err
    assert not Path("run/config.toml").exists()


def test_training_goes_on_with_the_head_of_a_model(call, images, teacher):
    said = [word for word in TRAIN if word not in ("--backbone", TINY, "--no-pretrained")]
    base = [*said, "--backbone", teacher, "--dataset", images, "--epochs", "1", "--output", "run"]
    dimension = base.index("--whitening")
    err = refused(call, *base[:dimension], "--whitening", "32", *base[dimension + 2 :], code=2)
    assert "whitening" in err
    assert "(16), not 32" in err
    code, _, err = call(*base[:dimension], *base[dimension + 2 :])
    assert code == 0, err
    assert "keeps its own head: whitening 16" in err
    assert json.loads(Path("run/final/config.json").read_text())["model"]["dimension"] == 16


def test_one_class_to_train_on_is_told_before_the_training(call, images):
    err = refused(call, *TRAIN, "--dataset", images, "--test-ratio", "0.9", "--output", "run")
    assert "1 class to train on, and two are needed" in err
    assert not Path("run/config.toml").exists()


@pytest.mark.parametrize("classes", [0, 1])
def test_folders_without_classes_to_split(call, classes):
    Path("few").mkdir()
    write_images(Path("few"), classes=classes)
    assert "few" in refused(call, *TRAIN, "--dataset", "few", "--output", "run")


def test_validation_in_which_nothing_can_be_found_is_left_out(call):
    write_images(Path("some"), classes=6)
    images = [[f"class {label:02d}/{number}.jpg" for number in range(4)] for label in range(6)]
    split = {"train": images[:3], "val": [found[:1] for found in images[3:5]], "test": images[5:]}
    Path("some/split.json").write_text(json.dumps(split))
    code, out, err = call(*TRAIN, "--dataset", "some", "--output", "run", "--json")
    assert code == 0, err
    assert "warning: some/val: no two images show the same class" in err
    assert json.loads(out)["validation"] == {}
    assert Path(json.loads(out)["model"]) == Path("run/final")
    err = refused(call, "tune", "--teacher", "run", "--dataset", "some", code=2)
    assert "no validation classes of two images" in err


def test_classes_of_one_image_are_left_out_and_counted(call, tmp_path):
    write_images(tmp_path / "some")
    for label in range(0, 12, 3):
        for number in (1, 2, 3):
            (tmp_path / "some" / f"class {label:02d}" / f"{number}.jpg").unlink()
    code, _, err = call(*TRAIN, "--dataset", "some", "--output", "run", "--no-val")
    assert code == 0, err
    assert "classes of one image" in err


@pytest.mark.parametrize("content", [b"", b"hello, I am no image", "half"])
def test_unreadable_images_are_named_and_skipped_on_request(call, tmp_path, content):
    write_images(tmp_path / "some")
    broken = tmp_path / "some" / "class 03" / "2.jpg"
    broken.write_bytes(broken.read_bytes()[:600] if content == "half" else content)
    words = [*TRAIN, "--dataset", "some"]
    assert "2.jpg" in refused(call, *words, "--output", "run")
    code, _, err = call(*words, "--output", "run", "--skip-unreadable", "--epochs", "1")
    assert code == 0, err
    assert "1 unreadable" in err


def test_every_kind_of_image_is_handled(call, tmp_path):
    write_images(tmp_path / "kinds")
    with Image.open(tmp_path / "kinds" / "class 00" / "0.jpg") as opened:
        image = opened.convert("RGB")
    folder = tmp_path / "kinds" / "class 00"
    for path in folder.iterdir():
        path.unlink()
    image.convert("L").save(folder / "grey.jpg")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.convert("RGBA").save(folder / "transparent.png")
    image.convert("P").save(folder / "palette.png")
    deep = (np.asarray(image.convert("L")).astype(np.uint16) * 257).astype(np.uint16)
    Image.fromarray(deep).save(folder / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "rotated.jpg", exif=exif)
    code, _, err = call(*TRAIN, "--dataset", "kinds", "--output", "run", "--no-val")
    assert code == 0, err


def test_output_that_holds_another_run_is_left_alone(call, images, teacher):
    before = (teacher / "config.toml").read_bytes()
    err = refused(call, *TRAIN, "--dataset", images, "--output", teacher)
    assert "--resume" in err
    assert (teacher / "config.toml").read_bytes() == before


def test_loss_that_explodes_names_the_step(call, images):
    err = refused(
        call, *TRAIN, "--dataset", images, "--output", "run", "--lr", "1e20", "--optimizer", "sgd",
        "--scheduler", "none", "--projection-start", "random",
    )  # fmt: skip
    assert "step" in err
    assert not Path("run/final").exists()


def test_dimensions_that_differ_name_the_option(call, images, teacher):
    err = refused(
        call, *DISTILL, "--dataset", images, "--teacher", teacher, "--student", TINY,
        "--no-pretrained", "--whitening", "8", "--output", "run", code=2,
    )  # fmt: skip
    assert "--whitening 16" in err


def test_run_without_a_model_says_how_to_go_on(call, teacher, tmp_path):
    run = tmp_path / "unfinished"
    run.mkdir()
    shutil.copy(teacher / "config.toml", run)
    assert "--resume" in refused(call, "export", run, "--to", "out")


def test_images_that_changed_since_the_run_began(call, tmp_path):
    write_images(tmp_path / "some")
    code, _, err = call(*TRAIN, "--dataset", "some", "--output", "run")
    assert code == 0, err
    shutil.rmtree(tmp_path / "some" / "class 05")
    refused(call, "train", "--resume", "run")


def test_damaged_model_folder(call, teacher, images, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(teacher / "final", folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "model.safetensors" in refused(
        call, "test", "--student", folder, "--dataset", images, "--workers", "0"
    )
    (folder / "config.json").write_text("{" * 5000)
    assert "config.json" in refused(call, "info", folder)


def test_full_disk_is_one_line_and_leaves_no_model(call, images):
    """A limit on the size of files stands for a full disk: both end a write in the middle."""
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        refused(call, *TRAIN, "--dataset", images, "--output", "run", "--log-with", "none")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not Path("run/best").exists()
    assert not list(Path("run").rglob("*.safetensors"))


def test_full_shared_memory_is_told_and_done_without(call, images, monkeypatch, tmp_path):
    from ram_cli.recipes import common

    monkeypatch.setattr(common, "LEAST_SHARED_BYTES", 2**62)
    monkeypatch.setattr(common, "SHARED_MEMORY", tmp_path)
    code, _, err = call(
        *TRAIN, "--dataset", images, "--output", "run", "--no-val", "--workers", "2"
    )
    assert code == 0, err
    assert f"warning: {tmp_path} is full" in err


def test_json_stays_pure_when_things_go_wrong(call, images):
    code, out, _ = call(*TRAIN, "--dataset", "cubb", "--json")
    assert (code, out) == (1, "")
    code, out, _ = call("list", "datasets", "--json")
    assert code == 0
    assert "furniture" in {entry["name"] for entry in json.loads(out)["datasets"]}
