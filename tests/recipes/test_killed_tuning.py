"""A study that is killed, and one that two processes share, end as one that was left alone."""

import json
import multiprocessing
import os
import random
import signal
from collections import Counter
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from tiny_runs import write_images

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("RAM_TEST_KILLS", "2"))
"""How often to kill; raise it to look harder."""
TRIALS, EPOCHS = 2, 2


def _tune(folder: Path, output: Path) -> None:
    import torch

    torch.set_num_threads(1)
    from ram_cli.recipes.tune import run_tune
    from ram_cli.settings import TuneSettings

    teacher = str(folder / "teacher")
    settings = TuneSettings.model_construct(
        dataset=str(folder / "images"),
        data_root=folder / "data",
        teacher=teacher,
        student=teacher,
        image_size=32,
        teacher_image_size=48,
        views=2,
        trials=TRIALS,
        prune=False,
        epochs=EPOCHS,
        images_per_epoch=8,
        batch_size=4,
        accumulate=1,
        checkpoint_minutes=1e-5,
        precision="fp32",
        device="cpu",
        workers=0,
        log_with="none",
        output=output,
    )
    run_tune(settings)


@pytest.fixture(scope="module")
def context():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ram_cli.recipes.tune"])
    return context


@pytest.fixture(scope="module")
def start(context, tmp_path_factory):
    """Start a process that tunes in a folder."""
    import torch

    from ram_cli.models import build_embedder, save_model

    folder = tmp_path_factory.mktemp("tuned")
    write_images(folder / "images")
    torch.manual_seed(0)
    teacher = build_embedder("timm:test_resnet", pretrained=False, dimension=16, input_size=48)
    save_model(teacher, folder / "teacher", provenance={})

    def begin(output: Path) -> ForkServerProcess:
        process = context.Process(target=_tune, args=(folder, output))
        process.start()
        return process

    return begin


@pytest.fixture(scope="module")
def calm(start, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("calm") / "study"
    process = start(output)
    process.join()
    assert process.exitcode == 0
    return output


def test_a_killed_study_goes_on_in_the_trial_it_was_killed_in(calm, start, tmp_path):
    hunted = tmp_path / "study"
    chance = random.Random(11)
    kills = 0
    while kills < KILLS:
        process = start(hunted)
        if not _killed(process, hunted, _progress(hunted) + chance.randint(1, 8)):
            assert process.exitcode == 0, "a study that goes on must finish"
            _ended_alike(calm, hunted)
            hunted = tmp_path / f"study-{kills}"
        kills += 1
    process = start(hunted)
    process.join()
    assert process.exitcode == 0
    _ended_alike(calm, hunted)


def test_two_processes_share_a_study_and_one_takes_over_from_the_other(calm, start, tmp_path):
    shared = tmp_path / "study"
    victim = start(shared)
    _wait_for(victim, shared, 3)
    other = start(shared)
    assert _killed(victim, shared, _progress(shared) + 3)
    other.join()
    assert other.exitcode == 0
    _ended_alike(calm, shared)


def _progress(study: Path) -> int:
    """Records of the study and steps of its trials: what a process has done, not how long it took.

    A checkpoint may be replaced while it is looked at.
    """
    steps = 0
    for position in (study / "trials").glob("*/checkpoints/last/position.json"):
        try:
            steps += json.loads(position.read_text("utf-8"))["step"]
        except FileNotFoundError:
            steps += 1
    journal = study / "study.journal"
    return steps + (len(journal.read_bytes().splitlines()) if journal.exists() else 0)


def _wait_for(process: ForkServerProcess, study: Path, goal: int) -> None:
    while process.exitcode is None and _progress(study) < goal:
        process.join(0.002)


def _killed(process: ForkServerProcess, study: Path, goal: int) -> bool:
    """Kill once there is so much progress; tell whether the process was still at work."""
    _wait_for(process, study, goal)
    if process.exitcode is not None:
        return False
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode == -signal.SIGKILL


def _ended_alike(calm: Path, found: Path) -> None:
    assert (found / "best.toml").read_text() == (calm / "best.toml").read_text()
    records = [json.loads(line) for line in (found / "study.journal").read_text().splitlines()]
    reports = Counter((r["trial_id"], r["step"]) for r in records if "step" in r)
    assert set(reports.values()) == {1}, "an epoch was reported twice"
    assert len(reports) == EPOCHS * TRIALS
    runs = sorted(path.name for path in (found / "trials").iterdir() if path.is_dir())
    assert runs == [f"{number:03d}" for number in range(TRIALS)]
    for run in runs:
        expected = load_file(calm / "trials" / run / "final" / "model.safetensors")
        weights = load_file(found / "trials" / run / "final" / "model.safetensors")
        for name, value in expected.items():
            assert value.tobytes() == weights[name].tobytes(), f"trial {run}: {name} differs"
