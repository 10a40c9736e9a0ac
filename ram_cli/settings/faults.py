"""Words for what is wrong with a setting: where it stands, what it holds, what to do instead."""

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from ram_cli.settings.choices import CommandName
from ram_cli.settings.fields import Repeated, choices_of, flag_of

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from ram_cli.settings.base import CommandSettings


def did_you_mean(word: str, known: Iterable[str], most: int = 3) -> str:
    """Return "; did you mean …?" with the names closest to `word`, or nothing."""
    close = get_close_matches(word, list(known), n=most, cutoff=0.6)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def label_of(name: str, field: FieldInfo) -> str:
    """Return how a person writes the field in a call: `--batch-size`, or `MODEL` by place."""
    flag = flag_of(field)
    return flag.metavar if flag.positional else f"--{name.replace('_', '-')}"


def describe(
    error: ValidationError, settings: type["CommandSettings"], flags: Mapping[str, Any]
) -> list[str]:
    """Return one line per fault.

    Args:
        error: What pydantic found.
        settings: The class that was to be built.
        flags: The values given as flags, by field; other values came from a variable or a file.
    """
    details = error.errors(include_url=False)
    at_fault = {str(detail["loc"][0]) for detail in details if detail["loc"]}
    if at_fault & {"config", "resume"}:  # the missing values may stand in the file not read
        details = [detail for detail in details if detail["type"] != "missing"]
    return [_line(detail, settings, flags) for detail in details]


def _line(
    detail: "ErrorDetails", settings: type["CommandSettings"], flags: Mapping[str, Any]
) -> str:
    if not detail["loc"]:
        return _reason(detail)
    name, value = str(detail["loc"][0]), detail["input"]
    if isinstance(value, Repeated):
        value = ",".join(value)  # as it was typed
    field = settings.model_fields.get(name)
    if field is None:
        return _stray(name, settings)
    if detail["type"] == "missing":
        return f"missing {label_of(name, field)}: {field.description}"
    where = _where(name, field, flags)
    if detail["type"] == "literal_error":
        known = choices_of(field)
        close = did_you_mean(str(value).lower(), known)
        return f"{where}: '{value}' is not one of {', '.join(known)}{close}"
    shown = f"'{value}'" if isinstance(value, str | Path) else str(value)
    return f"{where}: {shown} {_reason(detail)}"


def _where(name: str, field: FieldInfo, flags: Mapping[str, Any]) -> str:
    if name in flags:
        return label_of(name, field)
    variable = f"RAM_{name}".upper()
    if variable in {key.upper() for key in os.environ}:
        return variable
    return "settings file" if name == "config" else f"{name} in the settings file"


def _reason(detail: "ErrorDetails") -> str:
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    return detail["msg"].replace("Input should", "should")


def _stray(name: str, settings: type["CommandSettings"]) -> str:
    """Word what a settings file, or a caller, holds under a name that no field has."""
    if name.startswith("["):
        close = did_you_mean(name[1:-1], get_args(CommandName))
        return f"the settings file has an unknown table {name}{close}"
    if name.endswith(" ="):
        return f"the settings file holds '{name}' outside the table of a command"
    names = settings.names()
    twin = names.get(name.replace("-", "_"))
    if twin is not None:
        return f"{name} in the settings file is the same setting as {twin}; keep one of them"
    return f"unknown setting {name} in [{settings.table}]{did_you_mean(name, names)}"
