"""Derives Typer's options from a settings class, so that no default or help is written twice."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo

from ram_cli.cli.completion import completion_of
from ram_cli.cli.wording import SWITCHES, help_of, metavar_of, title_of
from ram_cli.settings import (
    CommandSettings,
    Repeated,
    flag_of,
    takes_many,
)

Run = Callable[[dict[str, Any], bool], None]
DENIED = "no_"
"""Prefix of the parameter that turns a field off."""


def command_function(
    settings: type[CommandSettings], run: Run, show_help: Callable[..., None]
) -> Callable[..., None]:
    """Return a function that Typer can register: its parameters are the fields of `settings`.

    Every value reaches `run` as text, so that pydantic, and not Typer, judges all of them at once.

    Args:
        settings: The settings class of the command.
        run: Called with the values given, by field, and whether `--json` was.
        show_help: Typer's callback of `--help`.
    """

    def command(**given: Any) -> None:
        as_json = bool(given.pop("json"))
        given.pop("help")  # shown before the command is called
        given.pop("debug")  # read from the words of the call, before anything can fail
        run(_values(given), as_json)

    parameters = [
        parameter
        for name, field in settings.ordered().items()
        for parameter in _parameters(settings, name, field)
    ]
    parameters += [
        _switch("json"),
        _switch("debug"),
        _switch("help", callback=show_help, is_eager=True),
    ]
    setattr(command, "__signature__", inspect.Signature(parameters))  # noqa: B010
    command.__annotations__ = {}
    return command


def _values(given: dict[str, Any]) -> dict[str, Any]:
    """Return what was given, by field; lists keep their parts as typed, denials become false."""
    told = {name: value for name, value in given.items() if value is not None and value != []}
    values: dict[str, Any] = {}
    for name, value in told.items():
        if name.startswith(DENIED) and isinstance(value, bool):
            values[name.removeprefix(DENIED)] = False
        else:
            values[name] = Repeated(value) if isinstance(value, list) else value
    return values


def _parameters(
    settings: type[CommandSettings], name: str, field: FieldInfo
) -> list[inspect.Parameter]:
    """Return the parameter of a field; a field that is on or off has a second one, hidden."""
    panel, flag = title_of(settings.panel(name)), f"--{name.replace('_', '-')}"
    if flag_of(field).positional:
        metavar = flag_of(field).metavar
        argument = typer.Argument(
            help=help_of(field),
            metavar=metavar,
            show_default=False,
            autocompletion=completion_of(field),
        )
        return [_parameter(name, list[str] if takes_many(field) else str, argument)]
    if field.annotation is bool:
        denied = field.default is True
        on = typer.Option(flag, help=help_of(field), rich_help_panel=panel, hidden=denied)
        off = typer.Option(
            f"--no-{flag[2:]}", help=help_of(field), rich_help_panel=panel, hidden=not denied
        )
        return [_parameter(name, bool, on), _parameter(f"{DENIED}{name}", bool, off)]
    option = typer.Option(
        flag,
        help=help_of(field),
        metavar=metavar_of(field),
        show_default=False,
        rich_help_panel=panel,
        autocompletion=completion_of(field),
    )
    return [_parameter(name, list[str] if takes_many(field) else str, option)]


def _parameter(name: str, kind: Any, option: Any) -> inspect.Parameter:
    annotation = Annotated[kind | None, option]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def _switch(name: str, **more: Any) -> inspect.Parameter:
    panel = title_of(CommandSettings)
    option = typer.Option(f"--{name}", help=SWITCHES[name], rich_help_panel=panel, **more)
    return _parameter(name, bool, option)
