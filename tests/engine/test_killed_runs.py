"""A run killed with SIGKILL at random moments and resumed ends with the very same weights."""

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from ram_cli.engine import RunFolder

KILLS = int(os.environ.get("RAM_TEST_KILLS", "6"))
"""How often to kill; raise it to look harder."""


def _settings(command: str, folder: Path, **more):
    from ram_cli.settings import DistillSettings, TrainSettings

    common = {
        "dataset": str(folder / "images"),
        "data_root": folder / "data",
        "image_size": 32,
        "epochs": 4,
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
        # Dropout draws from torch's own generator, whose state has to survive as well.
        return TrainSettings.model_construct(
            backbone="timm:test_vit", pretrained=False, whitening=16, negatives=2, **common
        )
    teacher = str(folder / "teacher")
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
    teacher = build_embedder("timm:test_vit", pretrained=False, dimension=16, input_size=64)
    save_model(teacher, folder / "teacher", provenance={})
    return folder


@pytest.fixture(scope="module")
def context():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ram_cli.recipes.train", "ram_cli.recipes.distill"])
    return context


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "distill"])
def test_killed_and_resumed_run_equals_an_uninterrupted_one(command, folder, context, tmp_path):
    calm, hunted = tmp_path / "calm", tmp_path / "hunted"
    started = time.monotonic()
    process = _start(context, command, folder, calm)
    process.join()
    assert process.exitcode == 0
    whole = time.monotonic() - started
    chance = random.Random(7)
    kills = 0
    for _ in range(20 * KILLS):
        process = _start(context, command, folder, hunted)
        process.join(chance.uniform(0.3, 0.9) * whole)
        if process.exitcode == 0 and kills >= KILLS:
            break
        if process.exitcode is None and kills < KILLS:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            kills += 1
        else:
            process.join()
            assert process.exitcode == 0, "a resumed run must finish"
            if kills < KILLS:  # it got through: hunt another one
                _same_weights(calm, hunted)
                hunted = tmp_path / f"hunted-{kills}"
    assert kills == KILLS
    _same_weights(calm, hunted)


def _same_weights(calm: Path, hunted: Path) -> None:
    for part in ("final", "best"):
        expected = load_file(calm / part / "model.safetensors")
        found = load_file(hunted / part / "model.safetensors")
        assert expected.keys() == found.keys()
        for name, value in expected.items():
            assert value.tobytes() == found[name].tobytes(), f"{part}: {name} differs"
