"""A run killed with SIGKILL at random moments and resumed ends with the very same weights."""

import json
import multiprocessing
import os
import random
import signal
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from ram_cli.engine import RunFolder

KILLS = int(os.environ.get("RAM_TEST_KILLS", "3"))
"""How often to kill; raise it to look harder."""


def _settings(command: str, folder: Path, **more):
    from ram_cli.settings import DistillSettings, TrainSettings

    common = {
        "dataset": str(folder / "images"),
        "data_root": folder / "data",
        "image_size": 32,
        "epochs": 8,
        "images_per_epoch": 16,
        "batch_size": 4,
        "accumulate": 2,
        "checkpoint_minutes": 1e-5,
        "precision": "fp32",
        "device": "cpu",
        "workers": 0,
        "log_with": "none",
        **more,
    }
    if command == "train":
        return TrainSettings.model_construct(
            backbone="timm:test_resnet", pretrained=False, whitening=16, negatives=2, **common
        )
    if command == "onnxruntime":
        common["engine"] = command
    teacher = str(folder / "teacher")
    if command == "tuples":
        common |= {"method": "contrastive", "negatives": 2, "fit": "whole"}
    return DistillSettings.model_construct(
        teacher=teacher, student=teacher, teacher_image_size=64, views=2, **common
    )


def _train(command: str, folder: Path, run: Path) -> None:
    import torch

    torch.set_num_threads(1)
    from ram_cli.recipes.distill import run_distill
    from ram_cli.recipes.train import run_train

    place = "resume" if RunFolder(run).config.exists() else "output"
    settings = _settings(command, folder, **{place: run})
    (run_train if command == "train" else run_distill)(settings)


def _start(context, command: str, folder: Path, run: Path) -> ForkServerProcess:
    process = context.Process(target=_train, args=(command, folder, run))
    process.start()
    return process


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    random_pixels = np.random.default_rng(0)
    for label in range(12):
        for number in range(4):
            path = folder / "images" / f"class{label}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = random_pixels.integers(0, 255, (72, 72, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
    import torch

    from ram_cli.models import build_embedder, save_model

    torch.manual_seed(0)
    teacher = build_embedder(
        "timm:test_efficientnet", pretrained=False, dimension=16, input_size=64
    )
    save_model(teacher, folder / "teacher", provenance={})
    return folder


@pytest.fixture(scope="module")
def context():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ram_cli.recipes.train", "ram_cli.recipes.distill"])
    return context


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "distill", "tuples", "onnxruntime"])
def test_killed_and_resumed_run_equals_an_uninterrupted_one(command, folder, context, tmp_path):
    if command == "onnxruntime":
        pytest.importorskip(command)
    calm, hunted = tmp_path / "calm", tmp_path / "hunted"
    process = _start(context, command, folder, calm)
    process.join()
    assert process.exitcode == 0
    chance = random.Random(7)
    kills = runs = 0
    while kills < (KILLS // 2 if command in {"tuples", "onnxruntime"} else KILLS):
        process = _start(context, command, folder, hunted)
        if _killed_on_its_way(process, hunted, chance):
            kills += 1
        else:  # it got through: hunt another one
            assert process.exitcode == 0, "a resumed run must finish"
            _same_weights(calm, hunted)
            runs += 1
            hunted = tmp_path / f"hunted-{runs}"
    process = _start(context, command, folder, hunted)
    process.join()
    assert process.exitcode == 0, "a resumed run must finish"
    _same_weights(calm, hunted)


def _killed_on_its_way(process: ForkServerProcess, run: Path, chance: random.Random) -> bool:
    """Kill at a random instant around a few steps from now; tell whether it was still at work.

    The instant is told by the run's own progress, not by a clock: machines differ in speed, and
    one machine from minute to minute.
    """
    goal = _step(run) + chance.randint(0, 3)
    while process.exitcode is None and _step(run) < goal:
        process.join(0.001)
    process.join(chance.uniform(0, 0.15) if goal else chance.uniform(0, 3))
    if process.exitcode is not None:
        return False
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode == -signal.SIGKILL


def _step(run: Path) -> int:
    """Steps in the newest checkpoint; it may be replaced while it is looked at."""
    try:
        return json.loads((run / "checkpoints/last/position.json").read_text("utf-8"))["step"]
    except FileNotFoundError:
        return 0


def _same_weights(calm: Path, hunted: Path) -> None:
    for part in ("final", "best"):
        expected = load_file(calm / part / "model.safetensors")
        found = load_file(hunted / part / "model.safetensors")
        assert expected.keys() == found.keys()
        for name, value in expected.items():
            assert value.tobytes() == found[name].tobytes(), f"{part}: {name} differs"
