"""Requests to stop: the first is for a clean stop, a second Ctrl-C stops at once."""

import multiprocessing
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.utils.data import DataLoader

_CAN_WAIT = hasattr(signal, "sigwaitinfo")
"""Whether a thread can wait for a signal and learn who sent it, as on Linux."""


class StopRequest:
    """Context in which SIGINT and SIGTERM set `requested` instead of raising.

    A second SIGINT raises `KeyboardInterrupt`, so a person is never held up. SIGTERM is what
    machines send, and often twice: a scheduler to every process, and torchrun to its own. Outside
    the main thread, where Python allows no signal handlers, the context changes nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Put the former handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True


def batches_of(loader: "DataLoader[Any]") -> "Iterator[Any]":
    """Go through a loader whose processes leave stopping to this one from their first moment.

    Args:
        loader: Its `worker_init_fn` is `leave_stopping_to_parent`.
    """
    if not _CAN_WAIT:
        return iter(loader)
    before = signal.pthread_sigmask(  # they inherit this
        signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM}
    )
    try:
        return iter(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_stopping_to_parent(worker: int) -> None:
    """Let a process that loads images outlive what is sent to a whole group of processes.

    A terminal sends Ctrl-C to the group, schedulers and torchrun send SIGTERM: without its loaders
    a training could not end its step and write a checkpoint. The loader still ends when the process
    that started it asks for it, or is gone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _CAN_WAIT:
        # Blocked, so that only the thread takes it; a handler would not learn who sent it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_when_parent_says, daemon=True).start()


def _end_when_parent_says() -> None:
    parent = multiprocessing.parent_process()  # not who forked it, where a server of forks did
    may_ask = {os.getppid(), parent.pid if parent else None}
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid not in may_ask:
        pass
    os._exit(0)
