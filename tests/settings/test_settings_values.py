import math
import os
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ram_cli.errors import ConfigError
from ram_cli.settings import (
    PRESETS,
    SETTINGS,
    CommandName,
    DatasetName,
    DemoSettings,
    DistillSettings,
    TestSettings,
    TrainSettings,
    newest_run,
)
from ram_cli.settings.expressions import parse_numbers

pytestmark = pytest.mark.usefixtures("empty_folder")

EXAMPLES = {
    "demo": {"teacher_epochs": 3, "output": "else where", "precision": "fp32"},
    "train": {
        "backbone": "timm:resnet18",
        "dataset": "cub",
        "image_size": "auto",
        "workers": "0",
        "val": False,
        "comment": 'a "quoted" remark\nof two lines',
        "test_datasets": "cub-test,pics",
    },
    "distill": {
        "teacher": "t.pth",
        "student": "s",
        "dataset": "sop",
        "teacher_image_size": "auto",
        "lr": "3.3e-7",
        "mixup_alpha": "0",
    },
    "tune": {
        "teacher": "t",
        "dataset": "cub",
        "lr_range": "1e-5,1e-4",
        "lambda_ss_range": (0, 1),
        "prune": False,
    },
    "compare": {
        "teacher": "t",
        "methods": "CSD,ts_aug,wide",
        "seeds": "1,7",
        "set": ["wide.method=csd,wide.neighbours=99", "csd.views=4"],
    },
    "test": {
        "teacher": "t",
        "asym": True,
        "scales": "[1, 1/2**(1/2), 1/2]",
        "ks": [1, 10],
        "report": Path("a b.html"),
        "dataset": ("x", "y,z"),
    },
    "export": {"run": "runs/a", "to": "out", "force": True},
    "info": {"model": "resnet18", "size": "64,128"},
    "list": {"what": "losses"},
    "download": {"datasets": "cub,SOP", "mirror": "http://m/d", "keep_archive": False},
    "prepare": {"dataset": "cub-test", "teacher": "t", "teacher_image_size": "96"},
}


def test_every_command_has_settings():
    assert set(SETTINGS) == set(get_args(CommandName)) == set(EXAMPLES)


def test_presets_name_fields_of_commands():
    assert set(PRESETS) < set(get_args(DatasetName))
    fields = {name for settings in SETTINGS.values() for name in settings.preset_fields}
    assert fields == {name for preset in PRESETS.values() for name in preset}
    for command in SETTINGS.values():
        assert command.preset_fields <= set(command.model_fields)


def test_landmarks_bring_the_recipe_that_networks_for_them_were_trained_by():
    distill = DistillSettings.load({"teacher": "t", "dataset": "sfm120k"})
    assert (distill.method, distill.optimizer, distill.scheduler) == (
        "contrastive",
        "adam",
        "exponential",
    )
    assert (distill.lr, distill.weight_decay, distill.loss_margin) == (1e-6, 1e-6, 0.7)
    assert (distill.batch_size, distill.accumulate, distill.negatives) == (5, 1, 5)
    assert (distill.image_size, distill.teacher_image_size, distill.fit) == (362, 362, "whole")
    train = TrainSettings.load({"backbone": "b", "dataset": "sfm120k"})
    assert (train.loss, train.mining, train.images_per_epoch) == ("contrastive", "hard", 2000)
    train = TrainSettings.load({"backbone": "b", "dataset": "sfm120k", "mode": "sym"})
    assert (train.loss, train.mining) == ("triplet", "pool")
    distill = DistillSettings.load(
        {"teacher": "t", "dataset": "sfm120k", "method": "TS_RAND", "published_loss": "multi"}
    )
    assert (distill.method, distill.negatives_from) == ("multi-similarity", "random")
    with pytest.raises(ConfigError, match="rand_tpl"):
        DistillSettings.load({"teacher": "t", "method": "reg", "published_loss": "triplet"})
    with pytest.raises(ConfigError, match="ram distill"):
        TrainSettings.load({"backbone": "b", "dataset": "d", "mode": "ts"})


@pytest.mark.parametrize("table", EXAMPLES)
def test_written_settings_repeat_the_run(table):
    settings = SETTINGS[table].load(EXAMPLES[table])
    path = Path("written.toml")
    path.write_text(settings.to_toml(), encoding="utf-8")
    again = SETTINGS[table].load({"config": path})
    assert again.model_copy(update={"config": None}) == settings
    assert again.to_toml() == settings.to_toml()


def test_written_settings_hold_every_value_but_where_the_run_lies():
    run = write_run("runs/a", "train")
    settings = TrainSettings.load({**EXAMPLES["train"], "output": "here", "resume": run})
    written = tomllib.loads(settings.to_toml())["train"]
    assert written["image_size"] == "auto"
    assert set(TrainSettings.model_fields) - set(written) == {
        "mode",
        "output",
        "resume",
        "config",
        "weights",
    }


@pytest.mark.parametrize("table", EXAMPLES)
def test_every_field_says_what_it_is(table):
    fields = SETTINGS[table].model_fields
    assert all((field.description or "").endswith(".") for field in fields.values())


def write_run(folder: str, table: str, **values: object) -> Path:
    settings = SETTINGS[table].load({**EXAMPLES[table], **values})
    path = Path(folder)
    path.mkdir(parents=True)
    (path / "config.toml").write_text(settings.to_toml())
    return path


def test_resumed_run_brings_its_settings():
    run = write_run("elsewhere/run", "distill", epochs=7)
    Path("ram.toml").write_text("[distill]\nseed = 9\n")
    settings = DistillSettings.load({"resume": str(run), "batch_size": "2"})
    assert (settings.resume, settings.epochs, settings.lr) == (run, 7, 3.3e-7)
    assert (settings.batch_size, settings.seed) == (2, 1234)


def test_newest_run_of_the_command_is_resumed():
    for age, (folder, table) in enumerate([("b", "distill"), ("a", "distill"), ("c", "train")]):
        file = write_run(f"runs/{folder}", table) / "config.toml"
        os.utime(file, (age, age))
    assert DistillSettings.load({"resume": "newest"}).resume == Path("runs/a")
    last = Path("runs/b/checkpoints/last")
    last.mkdir(parents=True)
    assert newest_run("distill") == Path("runs/b")


@pytest.mark.parametrize("resume", ["newest", "nowhere"])
def test_nothing_to_resume_is_the_one_fault(resume):
    with pytest.raises(ConfigError, match="--resume") as caught:
        DistillSettings.load({"resume": resume})
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1", (1,)),
        ("[1, 1/2**(1/2), 1/2]", (1, 0.5**0.5, 0.5)),
        ("1,0.7071,.5", (1, 0.7071, 0.5)),
        ("sqrt(2), 1/sqrt(2)", (2**0.5, 0.5**0.5)),
        ("2**-1", (0.5,)),
    ],
)
def test_numbers(text, numbers):
    assert parse_numbers(text) == pytest.approx(numbers)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "__import__('os').system('id')",
        "abs(1)",
        "sqrt",
        "x",
        "'1'",
        "True",
        "1j",
        "1+1",
        "[1",
        "9**9**9",
        "1/0",
        "(-8)**(1/3)",
        "sqrt(-1)",
        "(" * 150 + "1" + ")" * 150,
        "1," * 150,
        "[[1, 2], 3]",
        "sqrt(1, 2)",
        "[i for i in (1,)]",
        "1\x00",
    ],
)
def test_anything_but_numbers_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse_numbers(text)


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=40))
def test_no_text_does_more_than_give_numbers(text):
    try:
        numbers = parse_numbers(text)
    except ValueError:
        return
    assert all(isinstance(number, float) for number in numbers)


@pytest.mark.parametrize("scales", ["0", "9", "1,x", [1, "y"], "", []])
def test_bad_scales(scales):
    with pytest.raises(ConfigError, match="--scales"):
        TestSettings.load({"scales": scales})


def test_scales():
    assert TestSettings.load({"scales": [1, "1/2"]}).scales == (1, 0.5)
    assert math.isclose(TestSettings.load({"scales": "1/sqrt(2)"}).scales[0], 0.5**0.5)


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        DemoSettings.load().seed = 3
