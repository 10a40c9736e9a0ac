"""Time from a command to its answer, and to the first step of a training.

    python benchmarks/startup.py --teacher ram-demo/teacher --rounds 5

Commands take turns, each in a process of its own; medians. A bare Python and one that loads torch
are the limits of what could be had. Training sees small furniture images, so that its first step
takes a fraction of a second. A first round, in which files are fetched and compiled, is not
counted.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from commands import RAM, Spent, fresh, run_to_end, run_until_step
from peers import machine


def trainings(options: argparse.Namespace) -> dict[str, Callable[[], Spent]]:
    """Commands that are stopped after their first step."""
    shared = ["--dataset", "furniture", "--data-root", str(options.work / "data"), "--no-val"]
    shared += ["--device", "cpu", "--log-every", "1", "--accumulate", "1", "--batch-size", "8"]
    run = options.work / "run"
    train = ["train", *shared, "--student", "efficientnet-lite0", "--image-size", "80"]
    train += ["--mining", "batch", "--projection-start", "random", "--whitening", "128"]
    coupled = ["distill", *shared, "--teacher", options.teacher, "--image-size", "80"]
    coupled += ["--views", "2"]
    return {
        f"`ram {words[0]}`, until its first step": lambda words=words: run_until_step(
            [*RAM, *words, "--output", str(fresh(run))], run
        )
        for words in (train, coupled)
    }


def commands(options: argparse.Namespace) -> dict[str, Callable[[], Spent]]:
    """All rows of the table."""
    python = [sys.executable, "-c"]
    plain = {
        "bare Python": [*python, "pass"],
        "`ram --version`": [*RAM, "--version"],
        "`ram --help`": [*RAM, "--help"],
        "`ram distill --help`": [*RAM, "distill", "--help"],
        "`ram list`": [*RAM, "list"],
        "Python, `import torch`": [*python, "import torch"],
    }
    rows: dict[str, Callable[[], Spent]] = {
        name: lambda words=words: run_to_end(words) for name, words in plain.items()
    }
    return rows | (trainings(options) if options.teacher else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", help="model folder; without one, no training is started")
    parser.add_argument("--work", type=Path, default=Path("startup"), help="folder to train in")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = commands(options)
    times: dict[str, list[Spent]] = {name: [] for name in rows}
    for round_number in range(options.rounds + 1):
        for name, run in rows.items():
            spent = run()
            if round_number:
                times[name].append(spent)
    print(f"{machine()}; median of {options.rounds} rounds\n")
    print("| command | wall, s | CPU, s |\n|---|---:|---:|")
    for name, spent in times.items():
        wall = statistics.median(one.wall for one in spent)
        cpu = statistics.median(one.cpu for one in spent)
        print(f"| {name} | {wall:.2f} | {cpu:.2f} |", flush=True)


if __name__ == "__main__":
    main()
