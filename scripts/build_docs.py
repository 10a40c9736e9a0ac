#!/usr/bin/env python
"""Writes the tables of flags into docs/commands/*.md, from the declarations of the settings.

python scripts/build_docs.py            # write them
python scripts/build_docs.py --check    # say which pages are out of date, and exit with 1
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic.fields import FieldInfo

from ram_cli.cli.wording import SWITCHES, default_of, metavar_of, title_of
from ram_cli.files import write_text
from ram_cli.settings import SETTINGS, CommandSettings, choices_of, flag_of, takes_many

FOLDER = Path(__file__).parents[1] / "docs" / "commands"
BEGIN = "<!-- flags: written by scripts/build_docs.py -->"
END = "<!-- end of flags -->"
HEAD = "| flag | value | default | variable, key | meaning |\n|---|---|---|---|---|\n"
BROUGHT = "†"


def tables(command: str) -> str:
    """Return one table per group of settings, in the order of help."""
    settings = SETTINGS[command]
    groups: dict[str, list[str]] = {}
    for name, field in settings.ordered().items():
        row = _row(name, field, brought=name in settings.preset_fields)
        groups.setdefault(title_of(settings.panel(name)), []).append(row)
    general = groups[title_of(CommandSettings)]
    for name, meaning in SWITCHES.items():
        variable = "`RAM_DEBUG`" if name == "debug" else ""
        general.append(_cells(f"`--{name}`", "", "", variable, meaning))
    parts = [f"### {title}\n\n{HEAD}{''.join(rows)}" for title, rows in groups.items()]
    if settings.preset_fields:
        parts.append(f"{BROUGHT} A known dataset brings its published value.\n")
    return "\n".join(parts)


def _row(name: str, field: FieldInfo, *, brought: bool) -> str:
    flag = flag_of(field)
    default = "required" if field.is_required() else _escaped(default_of(field))
    if field.annotation is bool and not default:
        default = "on" if field.default is True else "off"
    return _cells(
        ", ".join(f"`{spelling}`" for spelling in _spellings(name, field)),
        _value(field),
        f"{default} {BROUGHT}" if brought else default,
        f"`RAM_{name.upper()}`, `{name}`",
        flag.denial or field.description or "",
    )


def _spellings(name: str, field: FieldInfo) -> Iterator[str]:
    flag = flag_of(field)
    if flag.positional:
        yield flag.metavar
        return
    denied = field.annotation is bool and field.default is True
    yield f"--no-{name.replace('_', '-')}" if denied else f"--{name.replace('_', '-')}"
    yield from (f"--{other}" for other in (flag.negatives if denied else flag.aliases))


def _value(field: FieldInfo) -> str:
    if field.annotation is bool:
        return ""
    choices = ", ".join(f"`{name}`" for name in choices_of(field))
    kind = choices or f"{metavar_of(field)}"
    return f"{kind}; one or more" if takes_many(field) and flag_of(field).positional else kind


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def _cells(flag: str, value: str, default: str, key: str, meaning: str) -> str:
    return f"| {flag} | {value} | {default} | {key} | {_escaped(meaning)} |\n".replace(
        "|  |", "| |"
    )


def rebuilt(page: str, command: str) -> str:
    """Return a page with the tables of a command between its markers.

    Args:
        page: Text of the page.
        command: Name of the command.

    Raises:
        ValueError: The page has no markers.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{command}.md lacks the line {BEGIN} or {END}")
    return f"{before}{BEGIN}\n\n{tables(command)}\n{END}{after}"


def main(words: Sequence[str] | None = None) -> int:
    """Write the tables, or check them; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say what is out of date")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pages are")
    asked = parser.parse_args(words)
    stale = []
    for command in SETTINGS:
        path = asked.folder / f"{command}.md"
        page = path.read_text("utf-8")
        text = rebuilt(page, command)
        if text != page:
            stale.append(path.name)
            if not asked.check:
                write_text(path, text)
    if stale:
        sys.stdout.write(f"{'out of date' if asked.check else 'written'}: {', '.join(stale)}\n")
    return 1 if stale and asked.check else 0


if __name__ == "__main__":
    sys.exit(main())
