"""`ram tune` through the command line: what it searches, writes, refuses and survives."""

import json
import tomllib
from pathlib import Path

import pytest
from tiny_runs import DISTILL, write_images

from ram_cli.errors import NonFiniteLossError
from ram_cli.recipes import tune
from ram_cli.recipes.outcome import TrainingResult
from ram_cli.settings import DistillSettings

TUNE = ["tune", *DISTILL[1:], "--lr", "1.5e-4", "--trials", "4"]


@pytest.fixture
def words(teacher, images) -> list[str]:
    data = ["--dataset", str(images), "--teacher", str(teacher), "--student", str(teacher)]
    return [*TUNE, *data, "--output", "study"]


@pytest.fixture
def made(monkeypatch) -> list[DistillSettings]:
    """Settings of all trials; a trial's mAP is told by its learning rate, at once."""
    received: list[DistillSettings] = []

    def distill(settings, reporter, *, watch):
        received.append(settings)
        score = 2000 * settings.lr
        for epoch in range(1, settings.epochs + 1):
            watch(epoch, {"score": score})
        metrics = {"mAP": 100 * score}
        return TrainingResult(Path("r"), Path("m"), metrics, None, metrics, 1, 1, 0.1)

    monkeypatch.setattr(tune, "run_distill", distill)
    return received


def failing(settings, reporter, *, watch):
    raise NonFiniteLossError(3, {"loss": float("nan")}, "No checkpoint was written yet.")


def test_real_trials_end_in_settings_that_distill_takes(words, call):
    code, out, err = call(*words, "--trials", "2", "--epochs", "1", "--json")
    assert code == 0, err
    result = json.loads(out)
    trials = result["trials"]
    assert [trial["state"] for trial in trials] == ["complete", "complete"]
    assert trials[0]["values"] == {"lr": 1.5e-4, "lambda_ts": 0.7, "lambda_ss": 0.7}
    assert 1e-4 <= trials[1]["values"]["lr"] <= 2e-4
    assert result["best"] == max(trials, key=lambda trial: (trial["map"], -trial["number"]))
    for trial in trials:
        run = Path(trial["run"])
        lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        (validation,) = (line for line in lines if line["kind"] == "validation")
        assert validation["mAP"] == trial["map"]
        told = tomllib.loads((run / "config.toml").read_text())["distill"]
        assert {name: told[name] for name in trial["values"]} == trial["values"]
    code, out, err = call("distill", "--config", result["config"], "--output", "again", "--final")
    assert code == 0, err
    told = tomllib.loads(Path("again/config.toml").read_text())["distill"]
    assert {name: told[name] for name in result["best"]["values"]} == result["best"]["values"]
    assert "student 24 → teacher 48" in out


def test_the_table_marks_the_best(words, made, call):
    code, out, err = call(*words, "--no-prune")
    assert code == 0, err
    best = max(made, key=lambda settings: settings.lr)
    rows = [line.split() for line in out.splitlines()[2:] if line.strip()]
    assert [row[-1] == "best" for row in rows] == [settings is best for settings in made]
    assert [row[0] for row in rows] == ["0", "1", "2", "3"]
    assert tomllib.loads(Path("study/best.toml").read_text())["distill"]["lr"] == best.lr


def test_trials_never_look_at_test_classes_but_the_best_settings_keep_them(words, made, call):
    code, _, err = call(*words, "--test-datasets", "sop,cub", "--trials", "1")
    assert code == 0, err
    assert [settings.test_datasets for settings in made] == [()]
    best = tomllib.loads(Path("study/best.toml").read_text())["distill"]
    assert best["test_datasets"] == ["sop", "cub"]


def test_hopeless_trials_end_early_unless_told_otherwise(words, made, call):
    early = ["--prune-after", "1", "--prune-warmup", "0", "--seed", "5", "--json"]
    code, out, err = call(*words, *early, "--trials", "6")
    assert code == 0, err
    trials = json.loads(out)["trials"]
    pruned = [trial for trial in trials if trial["state"] == "pruned"]
    assert pruned
    assert {trial["epochs"] for trial in pruned} == {1}
    best = max(trial["map"] for trial in trials if trial["state"] == "complete")
    assert all(trial["map"] < best for trial in pruned)
    code, out, err = call(*words, *early, "--trials", "6", "--no-prune", "--output", "other")
    assert {trial["state"] for trial in json.loads(out)["trials"]} == {"complete"}


def test_one_seed_one_study_and_more_trials_may_be_added(words, made, call):
    for output, more in (("a", []), ("b", []), ("c", ["--seed", "2"])):
        assert call(*words, "--output", output, *more)[0] == 0
    drawn = [(settings.lr, settings.lambda_ts, settings.lambda_ss) for settings in made]
    assert drawn[:4] == drawn[4:8]
    assert set(drawn[1:4]).isdisjoint(drawn[9:])
    code, out, err = call("tune", "--resume", "a", "--trials", "6", "--json")
    assert code == 0, err
    assert len(json.loads(out)["trials"]) == 6
    assert len(made) == 14


def test_a_trial_whose_loss_is_not_finite_fails_and_others_go_on(words, made, call, monkeypatch):
    distill = tune.run_distill
    monkeypatch.setattr(
        tune,
        "run_distill",
        lambda settings, reporter, *, watch: (
            failing if settings.output.name == "001" else distill
        )(settings, reporter, watch=watch),
    )
    code, out, err = call(*words, "--json")
    assert code == 0, err
    trials = json.loads(out)["trials"]
    assert [trial["state"] for trial in trials] == ["complete", "failed", "complete", "complete"]
    assert "not finite" in trials[1]["reason"]


def test_all_trials_failed(words, call, monkeypatch):
    monkeypatch.setattr(tune, "run_distill", failing)
    code, out, err = call(*words)
    assert code == 1
    assert out == ""
    last = err.splitlines()[-1]
    assert last.startswith("error: all 4 trials failed")
    assert "--lr-range" in last
    assert not Path("study/best.toml").exists()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--lr-range", "2e-4,1e-4"], "'2e-4,1e-4' is reversed"),
        (["--lr-range", "0,1e-4"], "greater than 0"),
        (["--lr-range", "1e-4"], "two numbers"),
        (["--lambda-ts-range=-1,1"], "greater than or equal to 0"),
        (["--lr", "1"], "--lr-range"),
        (["--lambda-ss-range", "0.1,0.2"], "lambda_ss: the first trial"),
        (["--no-val"], "val:"),
        (["--final"], "final:"),
        (["--prune-percent", "100"], "less than 100"),
        (["--trials", "0"], "--trials"),
        (["--optimize"], "ram tune"),
    ],
)
def test_bad_calls(words, made, call, more, expected):
    code, out, err = call(*words, *more)
    assert (code, out) == (2, "")
    assert expected in err
    assert not Path("study").exists()
    assert not made


def test_the_published_flag_leads_to_tune(call):
    for command in ("train", "distill"):
        code, _, err = call(command, "--optimize")
        assert code == 2
        assert "ram tune" in err


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--views", "3"], "views: 3 here"),
        (["--lr-range", "1e-4,3e-4"], "lr_range"),
        (["--lr", "1.6e-4"], "lr:"),
        (["--seed", "9"], "seed"),
    ],
)
def test_a_study_is_joined_only_as_it_began(words, made, call, more, expected):
    assert call(*words)[0] == 0
    code, _, err = call(*words, *more)
    assert code == 2
    assert expected in err
    assert len(made) == 4


def test_another_teacher_or_other_images_are_refused(words, made, call):
    assert call(*words)[0] == 0
    other = write_images(Path("other"), images=5)
    code, _, err = call(*words, "--dataset", other)
    assert code == 2
    assert "content of the dataset" in err
    from ram_cli.models import build_embedder, save_model

    model = build_embedder("timm:test_resnet", pretrained=False, dimension=16, input_size=48)
    save_model(model, Path("another"), provenance={})
    code, _, err = call(*words, "--teacher", "another")
    assert code == 2
    assert "content of the teacher" in err


def test_folders_that_hold_something_else_are_left_as_they_are(words, made, call, teacher):
    before = sorted(path.name for path in Path(teacher).iterdir())
    code, _, err = call(*words, "--output", teacher)
    assert code == 1
    assert "no study" in err
    Path("full").mkdir()
    Path("full/thesis.txt").write_text("…")
    code, _, err = call(*words, "--output", "full")
    assert code == 1
    assert "not empty" in err
    assert [path.name for path in Path("full").iterdir()] == ["thesis.txt"]
    assert sorted(path.name for path in Path(teacher).iterdir()) == before
    Path("file").write_text("")
    assert call(*words, "--output", "file/below")[0] == 1


def test_a_database_is_named_again_or_read_from_the_settings(words, made, call):
    url = "sqlite:///study.db"
    assert call(*words, "--storage", url)[0] == 0
    code, _, err = call(*words)
    assert code == 1
    assert "--storage" in err
    code, _, err = call("tune", "--resume", "study", "--trials", "5")
    assert code == 0, err
    assert len(made) == 5
    nowhere = ["--storage", "sqlite:///no/such/folder.db"]
    code, _, err = call(*words, *nowhere, "--trials", "1", "--output", "new")
    assert code == 1
    assert "no/such/folder.db" in err
    assert call(*words, "--trials", "1", "--views", "3", "--output", "new")[0] == 0
    told = tomllib.loads(Path("new/config.toml").read_text())["tune"]
    assert told["views"] == 3
    assert "storage" not in told


def test_settings_of_distill_serve_and_those_of_tune_come_first(words, made, call):
    Path("ram.toml").write_text("[distill]\nlam_1 = 0.65\nviews = 3\n[tune]\nviews = 4\n")
    for flag in ("--views", "--trials"):
        place = words.index(flag)
        del words[place : place + 2]
    code, _, err = call(*words, "--trials", "1")
    assert code == 0, err
    assert (made[0].lambda_ts, made[0].views) == (0.65, 4)
    Path("mine.toml").write_text("[distill]\nviews = 5\n")
    code, _, err = call(*words, "--trials", "1", "--output", "b", "--config", "mine.toml")
    assert code == 0, err
    assert made[1].views == 5


def test_only_coupled_views_have_weights_to_search(words, made, call):
    code, out, err = call(*words, "--method", "regression", "--trials", "2", "--json")
    assert code == 0, err
    assert [list(trial["values"]) for trial in json.loads(out)["trials"]] == [["lr"], ["lr"]]
