"""Break running commands in every way a machine can, run them again, and count what was lost.

    python tests/faults/inject.py                     # every fault, a few times each
    python tests/faults/inject.py kill full --runs 50 # two of them, fifty times per command

Every command works on tiny images and networks. What it leaves after a fault and one more run must
be, byte for byte, what it leaves when nothing disturbs it; otherwise the result counts as lost.
Full and read-only disks need Linux and the right to mount, in a name space of the process alone.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "datasets")]

import work  # noqa: E402
from work import COMMANDS, Job, Place  # noqa: E402

PATIENCE = 240.0
"""Seconds after which a command counts as hanging."""
Fault = Callable[[Place, str, int], "Tally"]


@dataclass
class Tally:
    """What came of one fault in one command."""

    injected: int = 0
    lost: int = 0

    def add(self, place: Place, job: Job, name: str, *, hurt: bool = True) -> None:
        """Count a fault, and compare what the command left with what it should have."""
        self.injected += hurt
        problem = work.difference(place, job, name)
        if problem:
            self.lost += 1
            print(f"    {name} {job.folder}: {problem}", flush=True)


def started(place: Place, job: Job, name: str, **hurts: object) -> ForkServerProcess:
    """Start a command, and come back once it is at work."""
    job.begun.unlink(missing_ok=True)
    process = place.context.Process(target=work.run, args=(place.base, job.folder, name, hurts))
    process.start()
    while process.exitcode is None and not job.begun.exists():
        process.join(0.002)
    return process


def ended(process: ForkServerProcess, job: Job) -> int:
    """Wait for a command; its exit code."""
    process.join(PATIENCE)
    if process.exitcode is None:
        process.kill()
        raise SystemExit(f"{job.folder}: still at work after {PATIENCE:g} s")
    return process.exitcode


def finish(place: Place, job: Job, name: str) -> None:
    """Run a command undisturbed; it must succeed."""
    code = ended(started(place, job, name), job)
    if code:
        job.problem(f"run again, it ends with {code}")


def kill(place: Place, name: str, runs: int) -> Tally:
    """SIGKILL at a random moment, again and again in one folder, until it gets through."""
    tally, chance = Tally(), random.Random(f"kill {name}")
    while tally.injected < runs:
        job = place.job(name)
        while True:
            process = started(place, job, name)
            process.join(chance.uniform(0, place.seconds[name]))
            if process.exitcode is None and tally.injected < runs:
                process.kill()
            if ended(process, job) != -signal.SIGKILL:
                break
            tally.injected += 1
            work.check_whole(job)
        if process.exitcode:
            job.problem(f"run again, it ends with {process.exitcode}")
        tally.add(place, job, name, hurt=False)
    return tally


def interrupt(place: Place, name: str, runs: int) -> Tally:
    """Ctrl-C at a random moment, and once more before it has stopped."""
    tally, chance = Tally(), random.Random(f"interrupt {name}")
    while tally.injected < runs:
        job = place.job(name)
        process = started(place, job, name)
        for wait in (chance.uniform(0, 0.9 * place.seconds[name]), chance.uniform(0.01, 0.2)):
            process.join(wait)
            if process.exitcode is None:
                os.kill(process.pid, signal.SIGINT)
        code = ended(process, job)
        if code not in (0, 130):
            job.problem(f"interrupted, it ends with {code}")
        work.check_words(job, fails=code != 0, silent=True)
        work.check_whole(job)
        finish(place, job, name)
        tally.add(place, job, name)
    return tally


def full(place: Place, name: str, runs: int) -> Tally:
    """A disk of its own, full after a random number of bytes; then there is room again."""
    return _on_a_disk(place, name, runs, "full")


def readonly(place: Place, name: str, runs: int) -> Tally:
    """A disk that cannot be written; then it can."""
    return _on_a_disk(place, name, min(runs, 2), "readonly")


def _on_a_disk(place: Place, name: str, runs: int, kind: str) -> Tally:
    tally, chance = Tally(), random.Random(f"{kind} {name}")
    for _ in range(runs):
        job = place.job(name)
        part = chance.uniform(0, 0.98)
        code = ended(started(place, job, name, disk=kind, part=part), job)
        if code:
            job.problem(f"on a {kind} disk, then again: {code}")
        tally.add(place, job, name)
    return tally


def memory(place: Place, name: str, runs: int) -> Tally:
    """A full /dev/shm, through which data-loader workers pass images."""
    tally = Tally()
    for number in range(runs):
        job = place.job(name)
        room = 4096 * (1 + 5 * (number % 4))
        code = ended(started(place, job, name, shm=room, workers=2), job)
        if code not in (0, 1):
            job.problem(f"with a full /dev/shm it ends with {code}")
        work.check_words(job, fails=code != 0)
        work.check_whole(job)
        finish(place, job, name)
        tally.add(place, job, name)
    return tally


def worker(place: Place, name: str, runs: int) -> Tally:
    """SIGKILL to a data-loader worker at a random moment."""
    tally, chance = Tally(), random.Random(f"worker {name}")
    while tally.injected < runs:
        job = place.job(name)
        process = started(place, job, name, workers=2)
        process.join(chance.uniform(0.1, place.seconds[name]))
        victims = work.children(process.pid)
        if victims and process.exitcode is None:
            os.kill(chance.choice(victims), signal.SIGKILL)
        code = ended(process, job)
        if code not in (0, 1):
            job.problem(f"without a worker it ends with {code}")
        work.check_words(job, fails=code != 0)
        finish(place, job, name)
        tally.add(place, job, name, hurt=bool(victims))
    return tally


def clock(place: Place, name: str, runs: int) -> Tally:
    """Every look at the clock finds it up to ten years before or after."""
    tally = Tally()
    for seed in range(min(runs, 5)):
        job = place.job(name)
        code = ended(started(place, job, name, clock=seed + 1), job)
        if code:
            job.problem(f"with a clock that jumps it ends with {code}")
        tally.add(place, job, name)
    return tally


def twice(place: Place, name: str, runs: int) -> Tally:
    """The same command at the same time in the same folder."""
    tally = Tally()
    for _ in range(min(runs, 5)):
        job = place.job(name)
        both = [
            place.context.Process(target=work.run, args=(place.base, job.folder, name, {"log": n}))
            for n in (0, 1)
        ]
        for process in both:
            process.start()
        codes = sorted(ended(process, job) for process in both)
        if codes not in ([0, 0], [0, 1]):
            job.problem(f"two at once end with {codes}")
        told = sum(work.check_words(job, fails=False, log=number) for number in (0, 1))
        if told != sum(codes):
            job.problem(f"two at once end with {codes}, and {told} of them say why")
        tally.add(place, job, name)
    return tally


FAULTS: dict[str, tuple[Fault, tuple[str, ...]]] = {
    "kill": (kill, tuple(COMMANDS)),
    "interrupt": (interrupt, ("train", "distill", "tune", "test", "prepare")),
    "full": (full, tuple(COMMANDS)),
    "readonly": (readonly, tuple(COMMANDS)),
    "memory": (memory, ("train", "distill", "test")),
    "worker": (worker, ("train", "distill", "test")),
    "clock": (clock, ("download", "prepare", "train", "distill", "tune")),
    "twice": (twice, tuple(COMMANDS)),
}
"""Every fault, and the commands it is injected into."""


def rows(place: Place, faults: list[str], commands: list[str], runs: int) -> Iterator[str]:
    """Inject; one row of a Markdown table per fault and command."""
    yield "| fault | command | injected | lost |"
    yield "|---|---|---:|---:|"
    for fault in faults:
        inject, among = FAULTS[fault]
        for name in among:
            if name in commands:
                tally = inject(place, name, runs)
                yield f"| {fault} | {name} | {tally.injected} | {tally.lost} |"


def main() -> None:
    """Read the words of the call, inject, and end with 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faults", nargs="*", default=list(FAULTS), help=", ".join(FAULTS))
    parser.add_argument("--commands", nargs="*", default=list(COMMANDS))
    parser.add_argument("--runs", type=int, default=3, help="faults per command")
    words = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="ram-faults-"))
    began = time.monotonic()
    with work.prepared(scratch, words.commands) as place:
        for row in rows(place, words.faults, words.commands, words.runs):
            print(row, flush=True)
        problems = place.problems
    print(f"{len(problems)} problems, {time.monotonic() - began:.0f} s")
    for problem in problems:
        print(f"  {problem}")
    if problems:
        print(f"left for a look: {scratch}")
        sys.exit(1)
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
