"""A damaged checkpoint: training falls back on the one before, and ends with the same weights."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from test_fit import Squares, assert_equal, network, trainer, weights

from ram_cli.engine import RunFolder
from ram_cli.engine.integrity import RECORD
from ram_cli.errors import CheckpointError, Interrupted, NonFiniteLossError

FILES = ["model.safetensors", "optimizer.bin", "random_states_0.pkl", "position.json", RECORD]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_text("{}")


def nest(path: Path) -> None:
    path.write_text("[" * 100_000)


def stopped_run(folder: Path) -> RunFolder:
    """A run of six steps that was stopped after the third; it has two checkpoints."""
    torch.manual_seed(11)
    with pytest.raises(Interrupted):
        trainer(folder, network(0.5), Squares(stop_at=9)).fit()
    run = RunFolder(folder)
    assert step(run.last) == 3
    assert step(run.previous) == 2
    return run


def step(checkpoint: Path) -> int:
    return json.loads((checkpoint / "position.json").read_text("utf-8"))["step"]


def resume(folder: Path) -> None:
    torch.manual_seed(12)  # a new process would be elsewhere in its random draws
    trainer(folder, network(0.5), Squares()).fit()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    return stopped_run(tmp_path_factory.mktemp("stopped")).path


@pytest.fixture(scope="module")
def calm(tmp_path_factory) -> Path:
    torch.manual_seed(11)
    folder = tmp_path_factory.mktemp("calm")
    trainer(folder, network(0.5), Squares()).fit()
    return folder


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [truncate, zero, flip, empty, nest, Path.unlink])
def test_damaged_checkpoint_gives_way_to_the_one_before(damage, name, stopped, calm, tmp_path):
    run = RunFolder(shutil.copytree(stopped, tmp_path / "run"))
    damage(run.last / name)
    told = run.fallback()
    assert told is not None
    assert name in told or name == RECORD
    assert "after step 2" in told
    assert len(told.splitlines()) == 1
    resume(run.path)
    assert_equal(weights(calm), weights(run.path))
    assert run.fallback() is None


def test_good_checkpoint_is_not_replaced_by_the_damaged_one(stopped, tmp_path):
    run = RunFolder(shutil.copytree(stopped, tmp_path / "run"))
    zero(run.last / "model.safetensors")
    with pytest.raises(Interrupted):
        trainer(run.path, network(0.5), Squares(stop_at=1)).fit()
    assert (step(run.previous), step(run.last)) == (2, 3)
    zero(run.last / "model.safetensors")
    found = run.checkpoint()
    assert found is not None
    assert found[0] == run.previous


def test_checkpoints_do_not_pile_up(calm):
    run = RunFolder(calm)
    assert sorted((calm / "checkpoints").iterdir()) == [run.last, run.previous]


def test_both_damaged_is_one_clear_error(stopped, tmp_path):
    run = RunFolder(shutil.copytree(stopped, tmp_path / "run"))

    truncate(run.last / "optimizer.bin")
    (run.previous / "model.safetensors").unlink()
    names = set(run.path.rglob("*"))
    with pytest.raises(CheckpointError) as refused:
        resume(run.path)
    for part in ("optimizer.bin", "model.safetensors", "--config"):
        assert part in str(refused.value)
    assert set(run.path.rglob("*")) == names


@pytest.mark.parametrize("dose", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("call", range(1, 19))
def test_a_loss_that_is_not_finite_costs_nothing(dose, call, calm, tmp_path):
    """In any batch of the run: it stops, the checkpoint stays, and a sound loss goes on from it."""
    torch.manual_seed(11)
    with pytest.raises(NonFiniteLossError):
        trainer(tmp_path, network(0.5), Squares(poison=call, dose=dose)).fit()
    assert not (tmp_path / "final").exists()
    if RunFolder(tmp_path).checkpoint() is None:  # in the first epoch
        torch.manual_seed(11)
        trainer(tmp_path, network(0.5), Squares()).fit()
    else:
        resume(tmp_path)
    assert_equal(weights(calm), weights(tmp_path))


def test_an_undamaged_run_says_nothing(stopped, tmp_path):
    assert RunFolder(stopped).fallback() is None
    assert RunFolder(tmp_path / "nothing").fallback() is None
