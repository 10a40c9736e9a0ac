"""Words for the settings of a command, the same in help and in the documentation."""

import inspect
from pathlib import Path

from pydantic.fields import FieldInfo

from ram_cli.settings import choices_of, flag_of, kinds_of, takes_auto

METAVARS: dict[object, str] = {int: "N", float: "X", Path: "PATH"}
SWITCHES = {
    "json": "Print the report as one JSON document.",
    "debug": "Show tracebacks and the remarks of the libraries.",
    "help": "Show this message and exit.",
}
"""Flags of every command that hold no setting."""


def title_of(group: type) -> str:
    """Return the title of a group of settings: its panel in help, its heading in the docs.

    Args:
        group: A settings class that fields are declared in.
    """
    return (inspect.getdoc(group) or "").splitlines()[0].rstrip(".")


def help_of(field: FieldInfo) -> str:
    """Return the description, choices, published names and default of a field."""
    flag = flag_of(field)
    parts = [flag.denial or field.description or ""]
    if choices_of(field):
        parts.append(f"One of {', '.join(choices_of(field))}.")
    if flag.aliases or flag.negatives:
        parts.append(f"Also {', '.join(f'--{name}' for name in flag.aliases + flag.negatives)}.")
    if field.is_required():
        parts.append("Required.")
    elif default := default_of(field):
        parts.append(f"[default: {default}]")
    return " ".join(parts)


def metavar_of(field: FieldInfo) -> str:
    """Return what stands for the value: the field's own word, or one for its type."""
    if flag_of(field).metavar:
        return flag_of(field).metavar
    known = (METAVARS[kind] for kind in kinds_of(field.annotation) if kind in METAVARS)
    return next(known, "NAME" if choices_of(field) else "TEXT")


def default_of(field: FieldInfo) -> str:
    """Return the default as help words it; empty where there is nothing to say."""
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
