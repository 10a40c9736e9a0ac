"""Several processes on one job, as torchrun starts them, do what one process does."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from landmark_maker import make_search_set
from PIL import Image
from safetensors.torch import load_file

from ram_cli.engine import RunFolder, resolve_runtime
from ram_cli.engine.collectives import any_of, first_says, gather, joining, merge_rows, share
from ram_cli.errors import ConfigError
from ram_cli.processes import (
    is_first,
    local_count,
    may_be_started_again,
    process_count,
    process_index,
)

JOB = Path(__file__).with_name("job_of_processes.py")
NAMES = ("coupled", "relations", "tuples", "pool")


def _as_process(monkeypatch, index: int, count: int) -> None:
    values = {"RANK": index, "LOCAL_RANK": index, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    for name, value in {**values, "MASTER_ADDR": "localhost", "MASTER_PORT": 1}.items():
        monkeypatch.setenv(name, str(value))


def test_a_process_that_no_launcher_started_is_alone(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")  # as a scheduler may leave it behind
    assert (process_count(), process_index(), local_count()) == (1, 0, 1)
    assert is_first()
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    assert not may_be_started_again()
    rows = torch.rand(3, 2)
    assert share([1, 2, 3]) == [1, 2, 3]
    assert joining(3)(rows) is rows
    merge_rows(rows)
    assert (gather(5), first_says("a"), any_of(True, False)) == ([5], "a", [True, False])


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shares_of_a_batch_are_equally_long_and_make_the_batch(monkeypatch, count):
    for size in (1, 2, 7, 10):
        parts = []
        for index in range(count):
            _as_process(monkeypatch, index, count)
            parts.append(share(list(range(size))))
        assert len({len(part) for part in parts}) == 1
        assert [key for part in parts for key in part][:size] == list(range(size))


def test_devices_of_a_job(monkeypatch):
    _as_process(monkeypatch, 0, 2)
    assert resolve_runtime("cpu", "fp32").device.type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for index in (0, 1):
        _as_process(monkeypatch, index, 2)
        assert resolve_runtime("cuda", "fp32").device == torch.device("cuda", index)
    with pytest.raises(ConfigError, match="each takes its own"):
        resolve_runtime("cuda:0", "fp32")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="2 processes, but 1 CUDA"):
        resolve_runtime("auto", "fp32")


def test_a_job_may_be_started_again(monkeypatch):
    _as_process(monkeypatch, 0, 2)
    for count in (0, 3):
        monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", str(count))
        assert may_be_started_again() == bool(count)


def test_commands_of_one_process_refuse_a_job(monkeypatch, capsys):
    from ram_cli.cli.main import main

    _as_process(monkeypatch, 0, 2)
    with pytest.raises(SystemExit) as stop:
        main(["demo"])
    assert stop.value.code == 2
    assert "ram demo is the work of one process" in capsys.readouterr().err


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("job")
    pixels = np.random.default_rng(0)
    for label in range(12):
        for number in range(4):
            path = folder / "images" / f"class{label}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            shape = (72, 72 - 16 * (number % 2), 3)
            Image.fromarray(pixels.integers(0, 255, shape, dtype=np.uint8)).save(path)
    classes = [sorted(place.iterdir()) for place in sorted((folder / "images").iterdir())]
    make_search_set(folder / "data", "roxford5k", classes, side=64)
    from ram_cli.models import build_embedder, save_model

    torch.manual_seed(0)
    teacher = build_embedder(
        "timm:test_efficientnet", pretrained=False, dimension=16, input_size=64
    )
    save_model(teacher, folder / "teacher", provenance={})
    return folder


def _start(
    folder: Path, runs: Path, *names: str, processes: int = 2, restarts: int = 0
) -> subprocess.Popen[str]:
    runs.mkdir(parents=True, exist_ok=True)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    launcher += ["--max-restarts", str(restarts)]
    return subprocess.Popen(
        [sys.executable, *(launcher if processes > 1 else []), str(JOB), folder, runs, *names],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _finish(process: subprocess.Popen[str]) -> None:
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output


def _losses(run: Path) -> list[float]:
    lines = (run / "log.jsonl").read_text().splitlines()
    return [item["loss"] for item in map(json.loads, lines) if item["kind"] == "train"]


@pytest.fixture(scope="module")
def alone(folder, tmp_path_factory) -> Path:
    runs = tmp_path_factory.mktemp("alone")
    _finish(_start(folder, runs, *NAMES, "evaluate", "search", processes=1))
    return runs


def _same_training(one: Path, two: Path) -> None:
    assert len(_losses(one)) > 1
    np.testing.assert_allclose(_losses(two), _losses(one), rtol=2e-5)
    first, second = (load_file(run / "final" / "model.safetensors") for run in (one, two))
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-3, atol=2e-5)


@pytest.mark.slow
def test_two_processes_train_and_measure_as_one_does(folder, alone, tmp_path):
    _finish(_start(folder, tmp_path, *NAMES, "evaluate", "prepare", "search"))
    for name in NAMES:
        _same_training(alone / name, tmp_path / name)
    one, two = (np.load(runs / "evaluation.npz") for runs in (alone, tmp_path))
    for name in one.files:
        np.testing.assert_array_equal(two[name], one[name])
    assert (tmp_path / "search").read_text() == (alone / "search").read_text()
    assert (tmp_path / "search.html").read_text().endswith("</html>")
    first, second = ((tmp_path / f"prepared-{i}").read_text().split() for i in (0, 1))
    assert (first[0], second[0]) == ("48", "0")  # images are decoded by one process
    assert first[1:] == second[1:]


@pytest.mark.slow
def test_a_job_whose_process_is_killed_ends_and_goes_on(folder, alone, tmp_path):
    """Goes on with one process: checkpoints do not depend on how many there are."""
    process = _start(folder, tmp_path, "coupled")
    run = tmp_path / "coupled"
    position = run / "checkpoints" / "last" / "position.json"
    _wait(position.exists, process)
    _kill_second(process.pid)
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0, "the job ended before it could be killed"
    assert f"go on with --resume {run}" in output, output
    assert not (run / "final").exists()
    _finish(_start(folder, tmp_path, "coupled", processes=1))
    _same_training(alone / "coupled", run)


@pytest.mark.slow
def test_processes_find_each_other_when_the_launcher_starts_them_again(tmp_path):
    """It keeps the addresses that the processes before had told each other."""
    _finish(_start(tmp_path, tmp_path, "meet", restarts=1))
    for index in (0, 1):
        assert (tmp_path / f"met-{index}").read_text() == repr((True, [0, 1], [0, 1]))


@pytest.mark.slow
def test_a_job_that_a_scheduler_ends_writes_a_checkpoint(folder, alone, tmp_path):
    """SIGTERM goes to every process at once, loaders too, and torchrun hands on its own."""
    job = _start(folder, tmp_path, "loaded")
    log = tmp_path / "loaded" / "log.jsonl"
    _wait(lambda: log.exists() and '"step": 2' in log.read_text(), job)
    for child in _children(job.pid):
        for process in (child, *_children(child)):
            os.kill(process, signal.SIGTERM)
    job.send_signal(signal.SIGTERM)
    output, _ = job.communicate(timeout=120)
    told = re.search(r"Interrupted: at epoch \d+ of 12, step (\d+); go on with", output)
    assert told, output
    run = RunFolder(tmp_path / "loaded")
    assert run.checkpoint()[1].step == int(told[1]) >= 2
    _finish(_start(folder, tmp_path, "loaded", processes=1))
    _same_training(alone / "coupled", run.path)


def _wait(ready: Callable[[], bool], job: subprocess.Popen[str]) -> None:
    for _ in range(1200):
        if ready() or job.poll() is not None:
            return
        time.sleep(0.05)


def _children(process: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _kill_second(launcher: int) -> None:
    """Kill the process of index 1 among the children of a launcher."""
    for child in _children(launcher):
        if b"\0RANK=1\0" in b"\0" + Path(f"/proc/{child}/environ").read_bytes():
            os.kill(child, signal.SIGKILL)
            return
    raise AssertionError("the second process is not there")
