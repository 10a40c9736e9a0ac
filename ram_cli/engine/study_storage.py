"""Where a study is kept: a journal that outlives its writers, or a database."""

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from ram_cli.errors import OutputError
from ram_cli.transfer import writing

try:
    import fcntl
except ImportError:  # Windows has no flock; there Optuna's own lock file serves
    fcntl = None  # type: ignore[assignment]

HEARTBEAT_SECONDS, GRACE_SECONDS = 30, 300
"""How often a trial says in a database that it is alive, and how long it may be silent."""
_SQLITE_WAIT_SECONDS = 60


def open_storage(journal: Path, url: str | None) -> BaseStorage:
    """The storage at `url`, or the journal.

    Raises:
        OutputError: It cannot be reached, written or read.
    """
    with reaching(url or str(journal)):
        if url is None:
            with writing(journal):
                return JournalStorage(_backend(journal))
        waits = {"connect_args": {"timeout": _SQLITE_WAIT_SECONDS}}
        return RDBStorage(
            url,
            engine_kwargs=waits if url.startswith("sqlite") else None,
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=GRACE_SECONDS,
            heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(),
        )


@contextmanager
def reaching(place: str) -> Iterator[None]:
    """Turn what goes wrong between here and a storage into one line.

    Raises:
        OutputError: Naming the place without its password, and what to do.
    """
    try:
        with warnings.catch_warnings():
            # Heartbeats count as experimental, and are meant for another loop than ours.
            warnings.simplefilter("ignore")
            yield
    except (StorageInternalError, SQLAlchemyError, ImportError) as error:
        cause = error.__cause__ or error
        reason = (str(cause).splitlines() or [type(cause).__name__])[0]
        raise OutputError(
            f"cannot use the storage {without_password(place)}: {reason}. Is its server running, "
            "its driver installed and its folder there? Mend it, then run again."
        ) from error
    except (ValueError, KeyError, AssertionError) as error:
        raise OutputError(
            f"the study in {without_password(place)} is damaged or no study: {error}. Choose "
            "another --output, or move it away."
        ) from error


@contextmanager
def heartbeat(storage: BaseStorage, trial: FrozenTrial) -> Iterator[None]:
    """Let a database know, again and again, that the trial is being worked on."""
    if not isinstance(storage, RDBStorage):
        yield
        return
    ended = threading.Event()

    def beat() -> None:
        while True:
            with suppress(StorageInternalError, SQLAlchemyError):  # a report will say it
                storage.record_heartbeat(trial._trial_id)
            if ended.wait(HEARTBEAT_SECONDS):
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def without_password(place: str) -> str:
    """The address of a storage as it may be shown."""
    try:
        return make_url(place).render_as_string(hide_password=True) if "://" in place else place
    except (SQLAlchemyError, ValueError):
        return place.partition("://")[0] + "://…"


def has_password(url: str) -> bool:
    """Whether the address of a storage holds a secret."""
    try:
        return make_url(url).password is not None
    except (SQLAlchemyError, ValueError):
        return True


def _backend(journal: Path) -> JournalFileBackend:
    if fcntl is None:
        return JournalFileBackend(str(journal), lock_obj=JournalFileOpenLock(str(journal)))
    return JournalFileBackend(str(journal), lock_obj=_HeldFile(str(journal)))


class _HeldFile(JournalFileOpenLock):
    """A lock that ends with the process that holds it.

    Optuna's own lock file stays behind a killed process, and the next one waits half a minute
    before it dares to remove it.
    """

    def __init__(self, journal: str) -> None:
        super().__init__(journal)
        self._journal, self._handle = journal, -1

    def acquire(self) -> bool:
        """Wait for the lock, and cut off a line that somebody could not finish."""
        handle = os.open(self._journal + ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(handle, fcntl.LOCK_EX)
        self._handle = handle
        self._cut_unfinished_line()
        return True

    def release(self) -> None:
        """Give the lock back."""
        os.close(self._handle)

    def _cut_unfinished_line(self) -> None:
        """A power cut can leave half a line; one appended to it could never be read again."""
        with open(self._journal, "r+b") as file:  # noqa: PTH123 - the backend's own kind of path
            end = file.seek(0, os.SEEK_END)
            if end == 0:
                return
            file.seek(end - 1)
            if file.read(1) == b"\n":
                return
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
