"""The `ram` command: a table of contents, and the one place where errors become messages."""

import errno
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from ram_cli.cli.app import WORKER_ENDED, Body, build_app, wants_debug
from ram_cli.errors import Interrupted, RamError
from ram_cli.processes import is_first, process_count, process_index

if TYPE_CHECKING:
    from ram_cli.cli.console import Report
    from ram_cli.progress import Reporter
    from ram_cli.settings import (
        CompareSettings,
        DemoSettings,
        DistillSettings,
        DownloadSettings,
        ExportSettings,
        InfoSettings,
        ListSettings,
        PrepareSettings,
        TestSettings,
        TrainSettings,
        TuneSettings,
    )


def demo(settings: "DemoSettings", reporter: "Reporter") -> "Report":
    """Train a teacher and a small student, and compare them."""
    from ram_cli.recipes.demo import run_demo

    return run_demo(settings, reporter)


def download(settings: "DownloadSettings", reporter: "Reporter") -> "Report":
    """Bring a public dataset onto this machine."""
    from ram_cli.recipes.download import run_download

    return run_download(settings, reporter)


def prepare(settings: "PrepareSettings", reporter: "Reporter") -> "Report":
    """Check every image of a dataset, and keep a teacher's vectors."""
    from ram_cli.recipes.prepare import run_prepare

    return run_prepare(settings, reporter)


def train(settings: "TrainSettings", reporter: "Reporter") -> "Report":
    """Train a network, such as a teacher, by metric learning."""
    from ram_cli.recipes.train import run_train

    return run_train(settings, reporter)


def distill(settings: "DistillSettings", reporter: "Reporter") -> "Report":
    """Train a cheap student into the embedding space of a teacher."""
    from ram_cli.recipes.distill import run_distill

    return run_distill(settings, reporter)


def tune(settings: "TuneSettings", reporter: "Reporter") -> "Report":
    """Search the learning rate and loss weights of a distillation."""
    from ram_cli.recipes.tune import run_tune

    return run_tune(settings, reporter)


def compare(settings: "CompareSettings", reporter: "Reporter") -> "Report":
    """Train several methods with one budget, and say which is best."""
    from ram_cli.recipes.compare import run_compare

    return run_compare(settings, reporter)


def test(settings: "TestSettings", reporter: "Reporter") -> "Report":
    """Measure retrieval by one network, or by a student and a teacher."""
    from ram_cli.recipes.test import run_test

    return run_test(settings, reporter)


def export(settings: "ExportSettings", reporter: "Reporter") -> "Report":
    """Write a model folder that others can load."""
    from ram_cli.recipes.export import run_export

    return run_export(settings, reporter)


def info(settings: "InfoSettings", reporter: "Reporter") -> "Report":
    """Describe a model: parameters, multiply-adds, latency."""
    from ram_cli.recipes.info import run_info

    return run_info(settings, reporter)


def list_(settings: "ListSettings", reporter: "Reporter") -> "Report":
    """List what has a name: datasets, models, methods and more."""
    from ram_cli.recipes.listing import run_list

    return run_list(settings, reporter)


COMMANDS: dict[str, Body] = {
    "demo": demo,
    "download": download,
    "prepare": prepare,
    "train": train,
    "distill": distill,
    "tune": tune,
    "compare": compare,
    "test": test,
    "export": export,
    "info": info,
    "list": list_,
}
"""Every command, in the order help shows them."""

MEMORY_HINT = "Lower --batch-size, --views or --image-size."
OUT_OF_MEMORY = {
    "OutOfMemoryError": f"the device is out of memory. {MEMORY_HINT}",
    "MemoryError": f"the machine is out of memory. {MEMORY_HINT}",
}
"""Advice by the name of the exception: naming torch's own here would load torch."""
LOST_PROCESS = "a process of this job has ended, so the others cannot go on. Start the job again."
PATIENCE_SECONDS = 3.0
"""How long a process that is not the first waits before it says what went wrong with it."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; expected failures become one line on stderr and an exit code.

    Args:
        argv: Words of the call; those of the process, if left out.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that lacks a character shows its code
            stream.reconfigure(errors="backslashreplace")
    try:
        with _leaving_on_request():
            app, arguments = build_app(COMMANDS, words)
            app(args=arguments, prog_name="ram")
    except KeyboardInterrupt:
        sys.exit(Interrupted.exit_code)
    except Interrupted as error:
        if not is_first() and error.__cause__ is None:  # all were asked, and the first one says so
            sys.exit(error.exit_code)
        _stop(str(error), error, words, kind="stopped")
    except RamError as error:
        _stop(str(error), error, words)
    except OSError as error:
        if error.errno == errno.ENOSPC and not error.filename:  # of memory shared with workers
            if not wants_debug(words):  # what torch left half made complains while it goes away
                sys.unraisablehook = _unheard
            _stop(WORKER_ENDED, error, words)
        _stop(f"{error.strerror or error}: {error.filename or 'no file named'}", error, words)
    except Exception as error:  # noqa: BLE001 - the last place that can turn it into a message
        if process_count() > 1:
            from ram_cli.engine.collectives import is_lost_process

            if is_lost_process(error):
                _stop(LOST_PROCESS, error, words)
        name = type(error).__name__
        unknown = f"internal error: {name}: {error}. Run again with --debug to see where."
        if isinstance(error, RuntimeError) and "DataLoader worker" in str(error):
            unknown = WORKER_ENDED
        _stop(OUT_OF_MEMORY.get(name, unknown), error, words)


@contextmanager
def _leaving_on_request() -> Iterator[None]:
    """Let SIGTERM end the command as an exception does, so that nothing half written stays.

    Trainings take it for a request to write a checkpoint, while they run. The processes of a job
    die of it at once: one that waits for another would never come to an exception.
    """
    if process_count() > 1 or threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _unheard(_: object) -> None:
    """Say nothing of an error that nobody could catch."""


def _stop(message: str, error: Exception, words: Sequence[str], kind: str = "error") -> NoReturn:
    """Print why the command ends, with a traceback if a person asked for one, and exit."""
    from ram_cli.cli.console import ConsoleReporter

    if not is_first():
        # What went wrong everywhere the first process says; the launcher then ends this one.
        time.sleep(PATIENCE_SECONDS)
        message = f"process {process_index() + 1} of {process_count()}: {message}"
    if wants_debug(words):
        traceback.print_exception(error)
    else:
        # Loaders of images that were killed are missed once more while Python ends.
        sys.unraisablehook = lambda missed: None
    ConsoleReporter().fail(message, kind)
    sys.exit(error.exit_code if isinstance(error, RamError) else 1)
