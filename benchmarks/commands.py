"""Commands of `ram` as processes of their own, watched from outside."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from peers import tree_cpu_seconds

RAM = [sys.executable, "-m", "ram_cli"]
POLL = 0.01
"""Seconds between two looks at a log, and so the error of a time until a step."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Wall and CPU time in seconds, of a command and its children."""

    wall: float
    cpu: float


def run_to_end(command: list[str]) -> Spent:
    """Run a command that succeeds; its output is not shown.

    Raises:
        SystemExit: It fails.
    """
    start = time.perf_counter()
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert running.stdout is not None
    said = running.stdout.read()
    _, status, used = os.wait4(running.pid, 0)
    running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        raise SystemExit(f"{' '.join(command)} fails:\n{said.decode(errors='replace')}")
    return Spent(time.perf_counter() - start, used.ru_utime + used.ru_stime)


def run_until_step(
    command: list[str], run: Path, steps: int = 1, environment: dict[str, str] | None = None
) -> Spent:
    """Start a training and stop it, by Ctrl-C, once its log tells of so many more steps.

    Args:
        command: Trains in the folder `run`, with `--log-every 1`.
        run: The run folder, which may not exist yet.
        steps: Steps to wait for, on top of those that the log has already.
        environment: Of the command; None for that of this process.

    Raises:
        SystemExit: It ends before.
    """
    log = run / "log.jsonl"
    known = count_steps(log)
    start = time.perf_counter()
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    while count_steps(log) < known + steps:
        if running.poll() is not None:
            assert running.stdout is not None
            said = running.stdout.read().decode(errors="replace")
            raise SystemExit(f"{' '.join(command)} ends before its step:\n{said}")
        time.sleep(POLL)
    spent = Spent(time.perf_counter() - start, tree_cpu_seconds(running.pid))
    running.send_signal(signal.SIGINT)
    running.communicate()
    return spent


def count_steps(log: Path) -> int:
    return log.read_text().count('"kind": "train"') if log.exists() else 0


def fresh(folder: Path) -> Path:
    """The path of a folder that does not exist, whatever was there."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder
