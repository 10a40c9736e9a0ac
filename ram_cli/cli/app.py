"""Builds the Typer app for one call: only the command that is asked for is fitted with options."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ram_cli.cli.examples import epilog
from ram_cli.errors import ConfigError, Interrupted, RamError, TrainingError
from ram_cli.processes import is_first, may_be_started_again, process_count
from ram_cli.progress import SILENT, Reporter
from ram_cli.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from ram_cli.cli.console import Report
    from ram_cli.settings import CommandSettings

WORKER_ENDED = (
    "a process that decodes images cannot go on: it was killed, or the machine's memory, /dev/shm "
    "or the disk is full. What was saved is kept: run again, a training with --resume; with "
    "--workers 0 it needs no /dev/shm."
)
Body = Callable[[Any, Any], "Report"]
"""A command: settings and a reporter in, a report out."""

App = Callable[..., Any]
"""Called with the arguments of the command line; ends with an exit code."""
VARIABLE = "_RAM_COMPLETE"
"""Set by the shell when it asks for completions instead of running a command."""
SHARED_WORK = ("train", "distill", "prepare", "test")
"""Commands that several processes may do together, as torchrun starts them."""

QUIET_VARIABLES = {"TF_CPP_MIN_LOG_LEVEL": "3", "TORCH_CPP_LOG_LEVEL": "ERROR"}


def build_app(commands: Mapping[str, Body], words: Sequence[str]) -> tuple[App, list[str]]:
    """Return the app and the arguments to call it with.

    Args:
        commands: Every command, by name.
        words: The command line as typed.

    Raises:
        ConfigError: No command has the name that was typed.
    """
    completing = VARIABLE in os.environ
    if completing:
        words = _words_before_the_cursor(commands)
    place = next((i for i, word in enumerate(words) if not word.startswith("-")), len(words))
    name = words[place] if place < len(words) else None
    if name is not None and name not in commands and not completing:
        raise ConfigError(_unknown(name, words[:place], commands))
    app = typer.Typer(
        name="ram",
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": []},  # --help is declared with the other flags
    )
    app.callback(epilog="Begin with **ram demo**; every command explains itself with **--help**.")(
        _root
    )
    arguments = ["--help" if word == "-h" else word for word in words[: place + 1]] or ["--help"]
    for command, body in commands.items():
        function: Callable[..., None] = _stand_in
        if command == name:
            function, accepted = _fitted(command, body, words[place + 1 :])
            arguments += accepted
        app.command(command, help=body.__doc__, epilog=epilog(command))(function)
    group = typer.main.get_command(app)
    _offer_whole_words(group)
    return _without_types(group), arguments


def _unknown(name: str, flags: Sequence[str], commands: Collection[str]) -> str:
    """Word that no command has this name, or that it is the value of a flag that takes none."""
    from ram_cli.settings import did_you_mean

    if flags and flags[-1] in ("--install-completion", "--show-completion"):
        return (
            f"{flags[-1]} takes no value: it serves the shell that it is called from. For another "
            "shell: _RAM_COMPLETE=source_bash ram (or source_zsh, source_fish) prints the script"
        )
    return f"unknown command '{name}'{did_you_mean(name, commands)}"


def _words_before_the_cursor(commands: Collection[str]) -> list[str]:
    """Return the command that a shell wants completions for, if one is typed already."""
    from ram_cli.cli.shells import completed_words, mend_words

    mend_words(os.environ)
    return [word for word in completed_words(os.environ)[:1] if word in commands]


def _without_types(group: Any) -> App:
    """Keep the types of Python from help: Typer would write `<bool>` behind a plain flag."""
    for command in (group, *group.commands.values()):
        for parameter in command.params:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
            elif parameter.param_type_name == "argument":
                parameter.display_type_rich = _no_type
    return cast("App", group)


def _offer_whole_words(group: Any) -> None:
    """Offer `--flag=value` where the shell takes that as one word; Typer would offer the value."""
    from ram_cli.cli.shells import flag_before

    if flag := flag_before(os.environ):
        for parameter in (one for command in group.commands.values() for one in command.params):
            parameter.shell_complete = _behind(flag, parameter.shell_complete)


def _behind(flag: str, complete: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    def completed(context: typer.Context, incomplete: str) -> list[Any]:
        items = complete(context, incomplete)
        for item in items:
            item.value = f"{flag}{item.value}"
        return items

    return completed


def _no_type(ctx: typer.Context) -> str:
    """Return what help shows as the type of an argument, whose name says enough."""
    return ""


def wants_debug(words: Sequence[str]) -> bool:
    """Whether the call, or `RAM_DEBUG`, asks for tracebacks and the remarks of the libraries."""
    return "--debug" in words or bool(os.environ.get("RAM_DEBUG"))


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ram {__version__}")
        raise typer.Exit


def show_help(context: typer.Context, wanted: bool) -> None:
    """Show the help of a command and end, if that is wanted."""
    if wanted and not context.resilient_parsing:
        context.get_help()  # prints it
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    show_this: Annotated[
        bool,
        typer.Option(
            "--help", callback=show_help, is_eager=True, help="Show this message and exit."
        ),
    ] = False,
) -> None:
    """Retrieve images with a cheap query network and a strong gallery network."""


def _stand_in() -> None:
    """Hold the place of a command that was not asked for."""


def _fitted(name: str, body: Body, words: Sequence[str]) -> tuple[Callable[..., None], list[str]]:
    """Return a command with its options, and the arguments it is to be called with."""
    from ram_cli.cli.arguments import read_arguments
    from ram_cli.cli.options import command_function
    from ram_cli.settings import SETTINGS

    settings = SETTINGS[name]
    read = read_arguments(words, settings)

    def run(values: dict[str, Any], as_json: bool) -> None:
        _run(name, body, values, read.faults, as_json=as_json, debug=wants_debug(words))

    accepted = ["--help"] if "--help" in read.accepted else read.accepted
    return command_function(settings, run, show_help), accepted


def _run(
    name: str,
    body: Body,
    values: dict[str, Any],
    faults: Sequence[str],
    *,
    as_json: bool,
    debug: bool,
) -> None:
    """Resolve the settings, do the work, print the report."""
    from ram_cli.cli.console import ConsoleReporter, show
    from ram_cli.settings import SETTINGS, unknown_variables

    if process_count() > 1 and name not in SHARED_WORK:
        raise ConfigError(
            f"ram {name} is the work of one process. Start {', '.join(SHARED_WORK)} with several."
        )
    console = ConsoleReporter()
    reporter: Reporter = console if is_first() else SILENT
    fields = {field for settings in SETTINGS.values() for field in settings.model_fields}
    for remark in unknown_variables(os.environ, fields):
        reporter.warn(remark)
    settings = SETTINGS[name].load(values, faults)
    if may_be_started_again() and (begun := _begun_run(settings)) is not None:
        reporter.note(f"going on with {begun}")
        settings = SETTINGS[name].load({**values, "resume": begun}, faults)
    if settings.config is not None and "config" not in values:
        reporter.note(f"settings from {settings.config}")
    try:
        with _quiet(debug), redirect_stdout(sys.stderr):
            report = body(settings, reporter)
    except KeyboardInterrupt:
        raise Interrupted("stopped on request") from None
    except EOFError as error:  # of a helper that was killed; typer would take it for Ctrl-D
        raise RamError(WORKER_ENDED) from error
    if is_first():
        show(report, as_json=as_json, reporter=console)
    if process_count() > 1:
        from ram_cli.engine.collectives import leave_processes

        leave_processes()
    if failure := getattr(report, "failure", ""):
        raise TrainingError(failure)


def _begun_run(settings: "CommandSettings") -> "Path | None":
    """The run that a job started again is to go on with; None where it is to begin one.

    Raises:
        ConfigError: It could not find its run.
    """
    from ram_cli.settings import DistillSettings, TrainSettings
    from ram_cli.settings.sources import RUN_FILE

    if not isinstance(settings, DistillSettings | TrainSettings) or settings.resume is not None:
        return None
    if settings.output is None:
        raise ConfigError(
            "output: a job that --max-restarts starts again goes on in the folder of its run. "
            "Name it with --output."
        )
    return settings.output if (settings.output / RUN_FILE).is_file() else None


@contextmanager
def _quiet(debug: bool) -> Iterator[None]:
    """Keep the remarks of the libraries from the terminal, unless a person wants them."""
    if debug:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)
        yield
        return
    for variable, value in QUIET_VARIABLES.items():
        os.environ.setdefault(variable, value)
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
