"""A limit of time for work in this process that gives no say in when it stops."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TooLongError(BaseException):
    """The limit is over. No `Exception`: the work's own handlers must not take it for a failure."""


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Interrupt what runs inside after so many seconds.

    Without effect outside of the main thread, and where the system knows no alarm (Windows).

    Raises:
        TooLongError: It is still running then.
    """
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(signum: int, frame: FrameType | None) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
