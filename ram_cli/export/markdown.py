"""Texts from outside as Markdown that shows them, and nothing else."""

import html
import re
from collections.abc import Sequence

from ram_cli.evaluation.report import clean

_SPECIAL = re.compile(r"([\\`*_\[\]{}|~#!])")
_LENGTH = 120


def inline(text: object, length: int | None = _LENGTH) -> str:
    """A text on one line, with every character of Markdown or HTML shown as itself.

    Args:
        text: Any name.
        length: Most characters; what is longer ends in an ellipsis.
    """
    escaped = html.escape(_SPECIAL.sub(r"\\\1", clean(str(text), length)), quote=False)
    return re.sub(r"^(\d*)([-+=.)])(?=\s|$)", r"\1\\\2", escaped)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: int = 0) -> str:
    """A table; the last `numeric` columns are set flush right.

    Args:
        columns: Headings, already Markdown.
        rows: Cells, already Markdown.
        numeric: How many columns hold numbers.
    """
    left = len(columns) - numeric
    lines = [columns, ["---"] * left + ["---:"] * numeric, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
