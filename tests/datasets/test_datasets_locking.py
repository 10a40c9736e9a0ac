"""One process at a time, whatever becomes of the one before."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from ram_cli.datasets import locking

HOLDER = """
import os, sys, time
from pathlib import Path
from ram_cli.datasets.locking import try_hold
assert try_hold(Path(sys.argv[1]))
child = os.fork()
if child == 0:
    time.sleep(60)
print(child, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_killed_process_holds_nothing_though_its_children_live_on(tmp_path):
    lock = tmp_path / "folder" / ".lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, lock], stdout=subprocess.PIPE) as holder:
        child = int(holder.stdout.readline())
        try:
            assert locking.try_hold(lock) is None
            holder.kill()
            holder.wait()
            os.kill(child, 0)  # it lives
            until = time.monotonic() + 5  # a child of a busy machine may not have begun yet
            while (hold := locking.try_hold(lock)) is None and time.monotonic() < until:
                time.sleep(0.01)
            assert hold is not None
            hold.release()
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_lock_file_that_its_holder_removed_is_made_anew(tmp_path, monkeypatch):
    lock, take = tmp_path / ".lock", locking._take
    takes = []

    def removed_meanwhile(handle: int) -> None:
        if not takes:
            lock.unlink()
        takes.append(handle)
        take(handle)

    monkeypatch.setattr(locking, "_take", removed_meanwhile)
    hold = locking.try_hold(lock)
    assert len(takes) == 2
    assert lock.exists()
    assert locking.try_hold(lock) is None
    hold.release()


def test_who_waits_does_not_take_a_file_that_the_holder_removed(tmp_path):
    lock, waits, inside = tmp_path / ".lock", threading.Event(), []
    hold = locking.try_hold(lock)

    def second():
        with locking.held(lock, waits.set):
            inside.append(locking.try_hold(lock))

    thread = threading.Thread(target=second)
    thread.start()
    assert waits.wait(5)
    lock.unlink()
    hold.release()
    thread.join(5)
    assert inside == [None]


def test_a_file_system_without_locks_lets_everyone_pass(tmp_path, monkeypatch):
    def refuse(handle: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(locking, "_take", refuse)
    with locking.held(tmp_path / ".lock", lambda: pytest.fail("it waits")):
        hold = locking.try_hold(tmp_path / ".lock")
    hold.release()
