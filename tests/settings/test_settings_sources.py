import os
from pathlib import Path

import pytest

from ram_cli.errors import ConfigError
from ram_cli.settings import (
    PRESETS,
    SETTINGS,
    DemoSettings,
    DistillSettings,
    InfoSettings,
    TestSettings,
    TrainSettings,
    unknown_variables,
)

pytestmark = pytest.mark.usefixtures("empty_folder")

NAMES = {"teacher": "t", "student": "s"}


def write(text: str, name: str = "ram.toml") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("flag", "variable", "file", "dataset", "expected"),
    [
        (None, None, None, "pics", 1e-4),
        (None, None, None, "cub", 1.4025e-4),
        (None, None, "lr = 0.3", "cub", 0.3),
        (None, "0.2", "lr = 0.3", "cub", 0.2),
        ("0.1", "0.2", "lr = 0.3", "cub", 0.1),
    ],
)
def test_flag_beats_variable_beats_file_beats_preset_beats_default(
    flag, variable, file, dataset, expected, monkeypatch
):
    if variable:
        monkeypatch.setenv("RAM_LR", variable)
    if file:
        write(f"[distill]\n{file}\n")
    assert DistillSettings.load({**NAMES, "dataset": dataset, "lr": flag}).lr == expected


def test_preset_follows_the_dataset_whichever_source_names_it(monkeypatch):
    write('[distill]\ntraining-dataset = "Cars-test"\n')
    settings = DistillSettings.load(NAMES)
    assert settings.dataset == "cars"
    chosen = {name: getattr(settings, name) for name in PRESETS["cars"]}
    assert chosen == PRESETS["cars"]
    monkeypatch.setenv("RAM_DATASET", "sop")
    assert DistillSettings.load(NAMES).lambda_ss == PRESETS["sop"]["lambda_ss"]


def test_auto_overrides_a_preset():
    settings = DistillSettings.load({**NAMES, "dataset": "cub", "teacher_image_size": "auto"})
    assert (settings.teacher_image_size, settings.image_size) == (None, 224)


def test_train_takes_from_the_preset_only_what_it_has():
    settings = TrainSettings.load({"backbone": "b", "dataset": "cub"})
    assert (settings.lr, settings.image_size) == (PRESETS["cub"]["lr"], 224)


def test_test_has_no_preset():
    assert TestSettings.load({"dataset": "cub"}).image_size is None


def test_named_file_takes_the_place_of_the_local_one():
    write("[demo]\nseed = 1\n")
    other = write("[demo]\nworkers = 2\n", "other.toml")
    settings = DemoSettings.load({"config": str(other)})
    assert (settings.seed, settings.workers, settings.config) == (1234, 2, other)


def test_variable_may_name_the_file(monkeypatch):
    monkeypatch.setenv("RAM_CONFIG", str(write("[demo]\nseed = 3\n", "other.toml")))
    assert DemoSettings.load().seed == 3
    assert InfoSettings.load({"model": "m"}).size == ()  # a variable is there for all commands


def test_local_file_without_the_table_is_no_matter():
    write("[train]\nepochs = 3\n")
    settings = DemoSettings.load()
    assert (settings.seed, settings.config) == (1234, None)


def test_published_names_serve_as_keys():
    write('[distill]\nmode = "ts_reg"\nlam-1 = 0.1\nquery_size = 5\npos_num = 2\n')
    settings = DistillSettings.load({**NAMES, "dataset": "pics"})
    assert settings.method == "cosine-regression"
    assert (settings.lambda_ts, settings.images_per_epoch, settings.views) == (0.1, 5, 2)


@pytest.mark.parametrize("text", ["1,5", "[1, 5]", " 1 , 5 "])
def test_list_in_a_variable(text, monkeypatch):
    monkeypatch.setenv("RAM_KS", text)
    assert TestSettings.load().ks == (1, 5)


def test_empty_variable_counts_as_unset(monkeypatch):
    monkeypatch.setenv("RAM_KS", "")
    assert TestSettings.load().ks == (1, 4, 8)


def test_folder_with_a_comma_survives_in_a_file():
    write('[test]\ndataset = ["a,b", "cub-test"]\n')
    assert TestSettings.load().dataset == ("a,b", "cub")


@pytest.mark.parametrize(
    ("text", "culprits"),
    [
        ("[demo]\nsed = 1\n", ["sed", "seed"]),
        ("[dmo]\nseed = 1\n", ["[dmo]", "demo"]),
        ("seed = 1\n[demo]\n", ["seed ="]),
        ("demo = 1\n", ["demo ="]),
        ("[demo\n", ["line 1"]),
        ("[demo]\noutput = 'a'\n[demo.machine]\nseed = 1\n", ["machine"]),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_bad_file_is_one_fault(text, culprits, named):
    path = write(text, "other.toml" if named else "ram.toml")
    with pytest.raises(ConfigError) as caught:
        DemoSettings.load({"config": path if named else None})
    assert all(any(culprit in p for p in caught.value.problems) for culprit in culprits)


def test_named_file_must_exist_and_hold_the_table():
    with pytest.raises(ConfigError, match=r"--config.*nope\.toml"):
        DemoSettings.load({"config": "nope.toml"})
    with pytest.raises(ConfigError, match=r"\[demo\].*\[train\]"):
        DemoSettings.load({"config": write("[train]\n", "other.toml")})


def test_a_value_under_two_names_is_a_fault():
    write('[demo]\ngpu_id = 0\ndevice = "cpu"\n')
    with pytest.raises(ConfigError, match="device"):
        DemoSettings.load()


def test_faults_of_all_sources_are_reported_together(monkeypatch):
    monkeypatch.setenv("RAM_BATCH_SIZE", "0")
    write('[distill]\nlambda_tss = 1\nlr = "fast"\n')
    with pytest.raises(ConfigError) as caught:
        DistillSettings.load({"student": "s", "epochs": "x", "pool": "gm", "dataset": "pics"})
    problems = caught.value.problems
    assert len(problems) == 6
    for part in ("--epochs", "RAM_BATCH_SIZE", "lambda_tss", "lr in", "--pool", "--teacher"):
        assert any(part in problem for problem in problems), part
    assert any("gem" in problem for problem in problems if "--pool" in problem)


def test_three_bad_choices_name_the_closest():
    with pytest.raises(ConfigError) as caught:
        TrainSettings.load(
            {"backbone": "b", "dataset": "d", "loss": "triplt", "optimizer": "adm", "pool": "mca"}
        )
    text = str(caught.value)
    assert all(f"did you mean {name}" in text for name in ("triplet", "adam", "mac"))


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0"])
def test_learning_rate_is_a_positive_number(value):
    with pytest.raises(ConfigError, match="--lr"):
        TrainSettings.load({"backbone": "b", "dataset": "d", "lr": value})


@pytest.mark.parametrize(
    ("typed", "device"),
    [("auto", "auto"), ("CPU", "cpu"), ("cuda", "cuda"), ("cuda:1", "cuda:1"), ("0", "cuda:0")],
)
def test_device(typed, device):
    assert InfoSettings.load({"model": "m", "device": typed}).device == device


@pytest.mark.parametrize("typed", ["gpu", "cuda:", "cuda:x", "cpu:1", ""])
def test_unknown_device(typed):
    with pytest.raises(ConfigError, match="--device"):
        InfoSettings.load({"model": "m", "device": typed})


def test_choices_are_read_in_any_case():
    settings = TrainSettings.load({"backbone": "b", "dataset": "d", "optimizer": "adamW"})
    assert settings.optimizer == "adamw"


@pytest.mark.parametrize(
    ("flags", "protocols"),
    [
        ({}, (True, False)),
        ({"asym": True}, (False, True)),
        ({"teacher": "t"}, (True, True)),
        ({"teacher": "t", "sym": True}, (True, True)),
        ({"teacher": "t", "asym": True}, (False, True)),
        ({"teacher": "t", "asym": True, "sym": True}, (True, True)),
    ],
)
def test_protocols(flags, protocols):
    settings = TestSettings.load(flags)
    assert (settings.symmetric, settings.asymmetric) == protocols


def test_unknown_variables_name_the_closest(monkeypatch):
    monkeypatch.setenv("RAM_EPOCS", "1")
    monkeypatch.setenv("RAM_KS", "1")
    monkeypatch.setenv("OTHER", "1")
    fields = {name for settings in SETTINGS.values() for name in settings.model_fields}
    monkeypatch.setenv("RAM_HUB_MIRROR", "https://127.0.0.1")  # read where models are loaded
    (remark,) = unknown_variables(os.environ, fields)
    assert "RAM_EPOCS" in remark
    assert "RAM_EPOCHS" in remark
