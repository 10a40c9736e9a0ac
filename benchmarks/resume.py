"""What checkpoints cost: seconds to write and to read one, and from `--resume` to the next step.

    python benchmarks/resume.py --backbone torchvision:resnet50 --rounds 5

A checkpoint holds weights, both moments of AdamW, schedule, random states and position. It is
written beside the one before and flushed to the disk before it takes its place; so are the bytes
of the bare row, of the same size, in one file. Then a training of that network is stopped after
its first step and gone on with, and compared with a training that starts.
"""

import argparse
import os
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator
from commands import RAM, fresh, run_until_step
from peers import machine

from ram_cli.engine import Position, RunFolder, Runtime, build_optimiser, make_accelerator
from ram_cli.engine.checkpoint import random_states, read_state, write_state
from ram_cli.models import build_embedder

DIMENSION = 512


def checkpoints(options: argparse.Namespace) -> tuple[int, dict[str, float]]:
    """Bytes of a checkpoint, and medians of seconds by what is done with it."""
    run = RunFolder(fresh(options.work / "checkpoints"))
    run.path.mkdir(parents=True)
    model = build_embedder(options.backbone, dimension=DIMENSION, pretrained=False)
    optimiser = build_optimiser(model.parameter_groups(1e-4, 1e-6), "adamw", 1e-4, 1e-6, 0.9)
    accelerator = make_accelerator(Runtime(torch.device("cpu"), "fp32"))
    model, optimiser = accelerator.prepare(model, optimiser)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    times: dict[str, list[float]] = {"write": [], "bare": [], "read": []}
    size = 0
    for step in range(options.rounds + 1):
        times["write"].append(seconds(write, run, accelerator, step))
        size = sum(path.stat().st_size for path in run.last.rglob("*") if path.is_file())
        times["bare"].append(seconds(bare_write, run.path / "bare", size))
        times["read"].append(seconds(read, run, accelerator))
    shutil.rmtree(run.path)
    return size, {name: statistics.median(found[1:]) for name, found in times.items()}


def write(run: RunFolder, accelerator: Accelerator, step: int) -> None:
    """As the training loop does."""
    states = random_states()
    run.save_checkpoint(
        Position(step=step), lambda folder: write_state(accelerator, {}, folder, states)
    )


def read(run: RunFolder, accelerator: Accelerator) -> None:
    """The newest one, after a look for damage."""
    found = run.checkpoint()
    assert found is not None
    read_state(accelerator, found[0])


def bare_write(path: Path, size: int) -> None:
    """So many bytes in a file, on the disk."""
    with path.open("wb") as file:
        block = memoryview(os.urandom(1 << 20))
        for start in range(0, size, len(block)):
            file.write(block[: size - start])
        file.flush()
        os.fsync(file.fileno())


def seconds(work: Callable[..., None], *arguments: object) -> float:
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def first_steps(options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Medians of wall and CPU seconds until a step of a run that starts, or goes on."""
    begun, run = options.work / "begun", options.work / "run"
    train = [*RAM, "train", "--dataset", "furniture", "--data-root", str(options.work / "data")]
    train += ["--student", options.backbone, "--not-pretrained", "--projection-start", "random"]
    train += ["--image-size", "64", "--mining", "batch", "--batch-size", "8", "--accumulate", "1"]
    train += ["--no-val", "--device", "cpu", "--log-every", "1", "--epochs", "50"]
    run_until_step([*train, "--output", str(fresh(begun))], begun)
    rows = {"start": [*train, "--output", str(run)], "resume": [*train, "--resume", str(run)]}
    spent: dict[str, list] = {name: [] for name in rows}
    for _ in range(options.rounds):
        for name, command in rows.items():
            fresh(run)
            if name == "resume":
                shutil.copytree(begun, run)
            spent[name].append(run_until_step(command, run))
    return {
        name: tuple(
            statistics.median(getattr(one, clock) for one in found) for clock in ("wall", "cpu")
        )
        for name, found in spent.items()
    }


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    """Options, of the command line if none are given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="torchvision:resnet50")
    parser.add_argument("--work", type=Path, default=Path("resume"), help="folder to train in")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args(words)


def main() -> None:
    options = parsed()
    print(machine(), flush=True)
    size, times = checkpoints(options)
    print(f"\n{options.backbone}, {DIMENSION}-d, AdamW: {size / 2**20:.0f} MiB on disk\n")
    print("| | s | MiB/s |\n|---|---:|---:|")
    for name, title in {
        "write": "write a checkpoint",
        "bare": "as many bytes in one file, flushed",
        "read": "find, check and read it",
    }.items():
        print(f"| {title} | {times[name]:.2f} | {size / 2**20 / times[name]:.0f} |", flush=True)
    print("\n| until the next step | wall, s | CPU, s |\n|---|---:|---:|")
    for name, (wall, cpu) in first_steps(options).items():
        title = "a run that starts" if name == "start" else "a run that goes on, `--resume`"
        print(f"| {title} | {wall:.1f} | {cpu:.1f} |", flush=True)


if __name__ == "__main__":
    main()
