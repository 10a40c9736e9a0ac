"""Ctrl-C during training: the first asks for a clean stop, the second stops at once."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class StopRequest:
    """Context in which SIGINT and SIGTERM set `requested` instead of raising.

    A second signal raises `KeyboardInterrupt`, so a person is never held up. Outside the main
    thread, where Python allows no signal handlers, the context changes nothing.
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
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


def ignore_interrupts(worker: int) -> None:
    """Let data-loader workers outlive a Ctrl-C that the terminal sends to the whole group."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
