"""What a run may be resumed or repeated with, and what is left where nothing was begun."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_runs import DISTILL, TRAIN, write_images

from ram_cli.cli import app


@pytest.fixture(scope="session")
def distilled(teacher, images, tmp_path_factory) -> Path:
    """Run folder of a tiny student, of fewer dimensions than are usual."""
    from ram_cli.cli.main import main

    run = tmp_path_factory.mktemp("runs") / "student"
    words = ["--dataset", images, "--teacher", teacher, "--output", run, "--epochs", "1"]
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in (*DISTILL, "--no-pretrained", *words)])
    assert not stopped.value.code
    return run


@pytest.fixture
def run(teacher, tmp_path) -> Path:
    return Path(shutil.copytree(teacher, tmp_path / "copy"))


def test_a_distillation_is_resumed_and_repeated_by_its_own_settings(distilled, call):
    code, _, err = call("distill", "--resume", distilled)
    assert code == 0, err
    code, _, err = call("distill", "--config", distilled / "config.toml", "--output", "again")
    assert code == 0, err
    for name in ("best", "final"):
        weights = [(run / name / "model.safetensors") for run in (distilled, Path("again"))]
        assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["--epochs", "3"], "epochs"),
        (["--lr", "0.5"], "lr"),
        (["--backbone", "timm:test_vit"], "backbone"),
        (["--no-val"], "val"),
        (["--output", "elsewhere"], "output"),
    ],
)
def test_other_settings_than_the_run_began_with_are_refused(call, run, words, name):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    code, _, err = call("train", "--resume", run, *words)
    assert code == 2
    assert f"error: {name}:" in err
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_all_other_settings_are_reported_together(call, run, monkeypatch):
    monkeypatch.setenv("RAM_SEED", "7")
    code, _, err = call("train", "--resume", run, "--epochs", "3")
    assert code == 2
    assert "error: epochs:" in err
    assert "error: seed:" in err


def test_machine_and_places_may_change(call, run, images, tmp_path):
    moved = shutil.copytree(images, tmp_path / "moved" / images.name)
    code, _, err = call("train", "--resume", run, "--dataset", moved, "--log-every", "1")
    assert code == 0, err


def test_a_run_that_another_process_trains_is_left_alone(call, run):
    holder = (
        "import sys; from pathlib import Path; from ram_cli.engine import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).lock(): print('held', flush=True); sys.stdin.read()"
    )
    before = sorted(path.stat().st_mtime_ns for path in run.rglob("*"))
    with subprocess.Popen(
        [sys.executable, "-c", holder, run], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        code, out, err = call("train", "--resume", run)
        process.stdin.close()
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith(f"error: another process is training in {run}.")
    assert sorted(path.stat().st_mtime_ns for path in run.rglob("*")) == before


def test_a_student_does_not_go_on_with_another_teacher(call, distilled, teacher):
    shutil.copytree(teacher / "best", "moved")
    code, _, err = call("distill", "--resume", distilled, "--teacher", "moved")
    assert code == 0, err
    code, _, err = call("train", *TRAIN[1:], "--dataset", write_images(Path("few")),
                        "--seed", "3", "--output", "other")  # fmt: skip
    assert code == 0, err
    code, out, err = call("distill", "--resume", distilled, "--teacher", "other")
    assert code == 1
    assert out == ""
    assert "teacher other" in err


@pytest.mark.parametrize("asked", [[], ["--fit", "crop"]])
def test_a_student_sees_as_much_as_its_teacher_unless_told(call, teacher, images, asked):
    shutil.copytree(teacher / "best", "whole")
    config = json.loads(Path("whole/config.json").read_text())
    config["model"]["fit"] = "whole"
    Path("whole/config.json").write_text(json.dumps(config))
    words = ["--teacher", "whole", "--student", teacher, "--dataset", images, "--epochs", "1"]
    code, _, err = call(*DISTILL, *words, *asked, "--output", "student")
    assert code == 0, err
    told = "whole images, not centre crops, as the teacher" in err
    model = json.loads(Path("student/best/config.json").read_text())["model"]
    assert (told, model["fit"]) == ((False, "crop") if asked else (True, "whole"))
    code, _, err = call("distill", "--resume", "student")
    assert code == 0, err
    if not asked:
        code, out, err = call("prepare", images, "--teacher", "whole", "--json")
        assert code == 0, err
        code, _, err = call(*DISTILL, *words, "--output", "other")
        assert f"the teacher's vectors are those in {json.loads(out)['features']}" in err


def test_a_start_that_failed_leaves_no_run_folder(call):
    code, _, _ = call(*TRAIN, "--dataset", "nowhere")
    assert code == 1
    assert not list(Path("runs").iterdir())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_among_the_images_is_named_not_waited_for(call, tmp_path):
    write_images(tmp_path / "some")
    os.mkfifo(tmp_path / "some" / "class 03" / "pipe.jpg")
    code, _, err = call(*TRAIN, "--dataset", "some", "--output", "run")
    assert code == 1
    assert "pipe.jpg" in err


def test_a_job_that_the_launcher_starts_again_goes_on(call, images, monkeypatch):
    monkeypatch.setattr(app, "may_be_started_again", lambda: True)
    words = [*TRAIN, "--dataset", images, "--epochs", "1", "--no-val"]
    code, _, err = call(*words)
    assert code == 2
    assert "error: output:" in err
    for told in (False, True):
        code, _, err = call(*words, "--output", "run")
        assert code == 0, err
        assert ("going on with run" in err) == told
    log = Path("run/log.jsonl").read_text()
    shutil.rmtree("run/checkpoints")  # as if it had ended before the first one
    assert call(*words, "--output", "run")[0] == 0
    assert len(Path("run/log.jsonl").read_text().splitlines()) == len(log.splitlines())
    code, _, err = call(*words, "--output", "run", "--lr", "0.5")
    assert code == 2
    assert "error: lr:" in err
    monkeypatch.setattr(app, "may_be_started_again", lambda: False)
    code, _, err = call(*words, "--output", "run")
    assert code == 1
    assert "already holds a run" in err
