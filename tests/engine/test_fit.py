"""The training loop: exact accumulation, interruption, faults, and what a run folder holds."""

import json
import math
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ram_cli.engine import (
    FitPlan,
    RunFolder,
    Trainer,
    make_accelerator,
    resolve_runtime,
    total_steps,
)
from ram_cli.engine.collectives import Join
from ram_cli.engine.optimiser import build_optimiser
from ram_cli.engine.schedule import build_schedule
from ram_cli.errors import Interrupted, NonFiniteLossError, OutputError
from ram_cli.files import previous_folder
from ram_cli.views import ViewKey

IMAGES, BATCH = 22, 4  # six batches, the last of two images
RUNTIME = resolve_runtime("cpu", "fp32")


class Rows(Dataset[Tensor]):
    """Row `i` of a fixed table."""

    def __getitem__(self, key: ViewKey) -> Tensor:
        generator = torch.Generator().manual_seed(key.image)
        return torch.randn(5, generator=generator)


class Squares:
    """Pulls outputs to one; with dropout in the network, the global generator matters."""

    dataset = Rows()

    def __init__(
        self, poison: int | None = None, stop_at: int | None = None, dose: float = math.nan
    ) -> None:
        self.poison, self.stop_at, self.calls, self.prepared = poison, stop_at, 0, []
        self.dose = dose

    def collate(self, items: Sequence[Tensor], /) -> Tensor:
        return torch.stack(list(items))

    def prepare(self, model: nn.Module, epoch: int) -> dict[str, Tensor]:
        assert not model.training
        self.prepared.append(epoch)
        return {"shift": torch.tensor([epoch, *(int(p.sum() * 1e6) for p in model.parameters())])}

    def batch_count(self, epoch: int) -> int:
        return math.ceil(IMAGES / BATCH)

    def image_count(self, epoch: int) -> int:
        return IMAGES

    def batches(self, epoch: int, state: dict[str, Tensor]) -> list[list[ViewKey]]:
        # The order depends on the state, so a resumed run that lost it would go another way.
        shift = int(state["shift"].sum()) % IMAGES
        keys = [ViewKey((i + shift) % IMAGES, epoch, i) for i in range(IMAGES)]
        return [keys[start : start + BATCH] for start in range(0, IMAGES, BATCH)]

    def count(self, keys: Sequence[ViewKey]) -> int:
        return len(keys)

    def loss(self, model: nn.Module, batch: Tensor, join: Join) -> dict[str, Tensor]:
        self.calls += 1
        if self.calls == self.stop_at:
            signal.raise_signal(signal.SIGINT)
        value = (model(batch) - 1).square().mean()
        if self.calls == self.poison:
            value = value * self.dose
        return {"loss": value, "output": model(batch).mean().detach()}


def network(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1))


def trainer(
    folder: Path,
    model: nn.Module,
    objective: Squares,
    *,
    epochs: int = 3,
    accumulate: int = 4,
    workers: int = 0,
    schedule: str = "onecycle",
    validate: Any = None,
    minutes: float = 60.0,
) -> Trainer:
    run = RunFolder(folder)
    if not run.config.exists():
        run.claim("[train]\n", {"dataset": "hash"})
    optimiser = build_optimiser(
        [{"params": list(model.parameters())}], "adamw", 1e-2, 1e-3, momentum=0.9
    )
    steps = total_steps(objective, epochs, accumulate)

    def save(network: nn.Module, where: Path, metrics: Any) -> None:
        where.mkdir(exist_ok=True)
        torch.save(network.state_dict(), where / "weights.pt")

    return Trainer(
        make_accelerator(RUNTIME, folder=folder, tracker=None),
        model,
        optimiser,
        build_schedule(optimiser, schedule, 1e-2, steps, steps // epochs),
        objective,
        FitPlan(epochs, accumulate, log_every=1, workers=workers, checkpoint_minutes=minutes),
        run,
        save_model=save,
        validate=validate,
    )


def weights(folder: Path) -> dict[str, Tensor]:
    return torch.load(folder / "final" / "weights.pt", weights_only=True)


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_accumulated_steps_equal_steps_on_whole_batches(tmp_path):
    model = network().double()
    reference = network().double()
    objective = Squares()
    objective.collate = lambda items, /: torch.stack(list(items)).double()
    position = trainer(tmp_path, model, objective, schedule="none").fit()
    # Four batches of four, then the leftover batches of four and two, in each of three epochs.
    assert position.step == 6
    optimiser = torch.optim.AdamW(reference.parameters(), lr=1e-2, weight_decay=1e-3)
    twin = Squares()
    for epoch in range(3):
        keys = [
            key
            for batch in twin.batches(epoch, twin.prepare(reference.eval(), epoch))
            for key in batch
        ]
        for group in (keys[:16], keys[16:]):
            rows = torch.stack([Rows()[key] for key in group]).double()
            optimiser.zero_grad()
            (reference(rows) - 1).square().mean().backward()
            optimiser.step()
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


def test_schedule_ends_exactly_at_its_last_step(tmp_path):
    model = network()
    training = trainer(tmp_path, model, Squares())
    training.fit()
    assert training.schedule.last_epoch == training.schedule.total_steps == 6
    records = (tmp_path / "log.jsonl").read_text().splitlines()
    rates = [json.loads(record)["lr"] for record in records]
    assert rates[0] == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(1e-7)


@pytest.mark.parametrize(
    ("stop_at", "workers"), [(1, 0), (4, 0), (5, 0), (5, 2), (6, 0), (9, 0), (14, 0)]
)
def test_interrupted_run_resumes_to_the_same_weights(tmp_path, stop_at, workers):
    calm = trainer(tmp_path / "calm", network(0.5), Squares())
    torch.manual_seed(11)
    calm.fit()
    broken = trainer(
        tmp_path / "broken", network(0.5), Squares(stop_at=stop_at), accumulate=4, workers=workers
    )
    torch.manual_seed(11)
    with pytest.raises(Interrupted):
        broken.fit()
    torch.manual_seed(999)  # whatever the new process draws first must not matter
    objective = Squares()
    resumed = trainer(tmp_path / "broken", network(0.5), objective, workers=workers)
    position = resumed.fit()
    assert position.step == 6
    assert_equal(weights(tmp_path / "calm"), weights(tmp_path / "broken"))
    steps = [
        json.loads(line)["step"]
        for line in (tmp_path / "broken" / "log.jsonl").read_text().splitlines()
    ]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_resume_inside_an_epoch_does_not_prepare_it_again(tmp_path):
    broken = trainer(tmp_path, network(), Squares(stop_at=2), accumulate=2)
    with pytest.raises(Interrupted):
        broken.fit()
    objective = Squares()
    trainer(tmp_path, network(), objective, accumulate=2).fit()
    assert objective.prepared == [1, 2]


def test_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path):
    with pytest.raises(NonFiniteLossError) as stopped:
        trainer(tmp_path, network(), Squares(poison=9)).fit()
    assert stopped.value.step == 3
    assert math.isnan(stopped.value.parts["loss"])
    found = RunFolder(tmp_path).checkpoint()
    assert found is not None
    assert found[1].step == 2
    assert not (tmp_path / "final").exists()


def test_checkpoint_by_the_clock_inside_an_epoch(tmp_path):
    model = network()
    training = trainer(tmp_path, model, Squares(), accumulate=1, minutes=1e-9)
    saved: list[tuple[int, int]] = []
    save = training._save_checkpoint
    training._save_checkpoint = lambda: (  # type: ignore[method-assign]
        saved.append((training.position.epoch, training.position.batch)),
        save(),
    )
    training.fit()
    assert saved[:7] == [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 0), (1, 1)]


def test_validation_chooses_the_best_epoch(tmp_path):
    scores = iter([0.2, 0.9, 0.4])
    training = trainer(
        tmp_path,
        network(),
        Squares(),
        validate=lambda model: {"score": (value := next(scores)), "mAP": 100 * value},
    )
    position = training.fit()
    assert (position.best_epoch, position.best_score) == (2, 0.9)
    assert position.metrics == {"mAP": 40.0}
    best = torch.load(tmp_path / "best" / "weights.pt", weights_only=True)
    final = weights(tmp_path)
    assert not torch.equal(best["0.weight"], final["0.weight"])


def test_finished_run_is_not_trained_again(tmp_path):
    trainer(tmp_path, network(), Squares()).fit()
    before = weights(tmp_path)
    objective = Squares()
    position = trainer(tmp_path, network(), objective).fit()
    assert objective.calls == 0
    assert position.step == 6
    assert_equal(before, weights(tmp_path))


def test_checkpoint_is_found_while_it_is_exchanged(tmp_path):
    with pytest.raises(Interrupted):
        trainer(tmp_path, network(), Squares(stop_at=5)).fit()
    run = RunFolder(tmp_path)
    run.last.rename(previous_folder(run.last))  # as if killed between the two renames
    found = run.checkpoint()
    assert found is not None
    assert found[1].step == 2


def test_taken_folders_are_refused(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.claim("[train]\n", {"dataset": "hash"})
    with pytest.raises(OutputError):
        run.claim("[train]\n", {"dataset": "hash"})
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("precious")
    with pytest.raises(OutputError):
        RunFolder(other).claim("[train]\n", {"dataset": "hash"})
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]
    with pytest.raises(OutputError):
        RunFolder(other / "thesis.txt").claim("[train]\n", {"dataset": "hash"})


def test_one_process_at_a_time(tmp_path):
    run = RunFolder(tmp_path / "run")
    with run.lock(), pytest.raises(OutputError), run.lock():
        pass
    with run.lock():
        pass
