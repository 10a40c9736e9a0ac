"""Processes that load images outlive what is sent to all processes, and obey the one they serve."""

import signal
import subprocess
import sys
import time

import pytest
from torch.utils.data import DataLoader

from ram_cli.engine.interrupt import batches_of, leave_stopping_to_parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs signals that tell who sent")


def come_late(worker: int) -> None:
    time.sleep(0.5)
    leave_stopping_to_parent(worker)


@pytest.mark.parametrize("begin", [leave_stopping_to_parent, come_late])
def test_a_loader_ends_for_its_parent_alone(begin):
    """A signal from elsewhere does not end it, not even one that comes while it starts."""
    loader = DataLoader(
        list(range(6)), num_workers=1, worker_init_fn=begin, persistent_workers=True
    )
    batches = batches_of(loader)
    (process,) = batches._workers
    for number in ("-TERM", "-INT"):
        subprocess.run(["kill", number, str(process.pid)], check=True)
    assert [int(batch) for batch in batches] == list(range(6))
    subprocess.run(["kill", "-TERM", str(process.pid)], check=True)
    assert [int(batch) for batch in batches_of(loader)] == list(range(6))
    process.terminate()
    process.join(5)
    assert process.exitcode == 0


def test_signals_reach_this_process_as_before():
    loader = DataLoader([1], num_workers=1, worker_init_fn=leave_stopping_to_parent)
    assert len(list(batches_of(loader))) == 1
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, set())
