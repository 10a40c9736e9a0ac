"""Work that is stopped when it takes too long."""

import signal
import threading
import time

import pytest

from ram_cli.export.deadline import TooLongError, at_most


def sleep_and_swallow() -> None:
    """As libraries do: any failure is followed by another attempt."""
    while True:
        try:
            time.sleep(0.05)
            raise ValueError
        except Exception:  # noqa: BLE001
            continue


def test_what_takes_too_long_is_interrupted_whatever_it_catches():
    start, before = time.monotonic(), signal.getsignal(signal.SIGALRM)
    with pytest.raises(TooLongError), at_most(1):
        sleep_and_swallow()
    assert 0.9 < time.monotonic() - start < 5
    assert signal.getsignal(signal.SIGALRM) is before


def test_nothing_is_left_pending_after_work_in_time():
    with at_most(1):
        pass
    time.sleep(1.1)


def test_another_thread_has_no_limit():
    seen = []

    def work() -> None:
        with at_most(1):
            time.sleep(1.2)
        seen.append("done")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == ["done"]
