"""Derives Typer's options from a settings class, so that no default or help is written twice."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo

from ram_cli.settings import (
    CommandSettings,
    Repeated,
    choices_of,
    flag_of,
    kinds_of,
    takes_auto,
    takes_many,
)

Run = Callable[[dict[str, Any], bool], None]
METAVARS: dict[object, str] = {int: "N", float: "X", Path: "PATH"}
DENIED = "no_"
"""Prefix of the parameter that turns a field off."""


def command_function(settings: type[CommandSettings], run: Run) -> Callable[..., None]:
    """Return a function that Typer can register: its parameters are the fields of `settings`.

    Every value reaches `run` as text, so that pydantic, and not Typer, judges all of them at once.

    Args:
        settings: The settings class of the command.
        run: Called with the values given, by field, and whether `--json` was.
    """

    def command(**given: Any) -> None:
        as_json = bool(given.pop("json"))
        given.pop("debug")  # read from the words of the call, before anything can fail
        run(_values(given), as_json)

    parameters = [
        parameter
        for name, field in settings.ordered().items()
        for parameter in _parameters(settings, name, field)
    ]
    parameters += [
        _switch("json", "Print the report as one JSON document."),
        _switch("debug", "Show tracebacks and the remarks of the libraries."),
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
    panel, flag = _title(settings.panel(name)), f"--{name.replace('_', '-')}"
    if flag_of(field).positional:
        metavar = flag_of(field).metavar
        argument = typer.Argument(help=_help(field), metavar=metavar, show_default=False)
        return [_parameter(name, list[str] if takes_many(field) else str, argument)]
    if field.annotation is bool:
        denied = field.default is True
        on = typer.Option(flag, help=_help(field), rich_help_panel=panel, hidden=denied)
        off = typer.Option(
            f"--no-{flag[2:]}", help=_help(field), rich_help_panel=panel, hidden=not denied
        )
        return [_parameter(name, bool, on), _parameter(f"{DENIED}{name}", bool, off)]
    option = typer.Option(
        flag,
        help=_help(field),
        metavar=_metavar(field),
        show_default=False,
        rich_help_panel=panel,
        autocompletion=_completion(field),
    )
    return [_parameter(name, list[str] if takes_many(field) else str, option)]


def _parameter(name: str, kind: Any, option: Any) -> inspect.Parameter:
    annotation = Annotated[kind | None, option]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def _switch(name: str, description: str) -> inspect.Parameter:
    panel = _title(CommandSettings)
    return _parameter(
        name, bool, typer.Option(f"--{name}", help=description, rich_help_panel=panel)
    )


def _title(group: type) -> str:
    return (inspect.getdoc(group) or "").splitlines()[0].rstrip(".")


def _help(field: FieldInfo) -> str:
    """The description, the choices and the published names of a field."""
    flag = flag_of(field)
    parts = [flag.denial or field.description or ""]
    if choices_of(field):
        parts.append(f"One of {', '.join(choices_of(field))}.")
    if flag.aliases or flag.negatives:
        parts.append(f"Also {', '.join(f'--{name}' for name in flag.aliases + flag.negatives)}.")
    if field.is_required():
        parts.append("Required.")
    elif default := _default(field):
        parts.append(f"[default: {default}]")
    return " ".join(parts)


def _metavar(field: FieldInfo) -> str:
    """What stands for the value: the field's own word, or one for its type."""
    if flag_of(field).metavar:
        return flag_of(field).metavar
    known = (METAVARS[kind] for kind in kinds_of(field.annotation) if kind in METAVARS)
    return next(known, "NAME" if choices_of(field) else "TEXT")


def _default(field: FieldInfo) -> str:
    """The default as help words it; empty where there is nothing to say."""
    if flag_of(field).shown:
        return flag_of(field).shown
    value = field.get_default(call_default_factory=True)
    if isinstance(value, bool):
        return ""
    if isinstance(value, tuple):
        return ",".join(item if isinstance(item, str) else f"{item:g}" for item in value)
    if value is None:
        return "auto" if takes_auto(field) else ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _completion(field: FieldInfo) -> Callable[[str], list[str]] | None:
    choices = choices_of(field)
    if not choices:
        return None
    return lambda incomplete: [name for name in choices if name.startswith(incomplete)]
