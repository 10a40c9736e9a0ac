"""Makes text from outside, such as file names, safe and short enough for a terminal."""

import json
import unicodedata

UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that move the cursor, change the direction of writing or cannot be encoded."""


def printable(text: str) -> str:
    """Return `text` with every character that could disturb a terminal written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in UNSAFE
        else character
        for character in text
    )


def printable_json(document: str) -> str:
    """`printable` for JSON of several lines: the same document, in the escapes that JSON knows."""
    if document.isascii() and "\x7f" not in document:
        return document
    return "".join(
        json.dumps(character)[1:-1].replace("\x7f", "\\u007f")
        if character != "\n" and unicodedata.category(character) in UNSAFE
        else character
        for character in document
    )


def shortened(text: str, length: int) -> str:
    """Return `text`, cut to `length` characters with an ellipsis if it is longer."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def count(number: float) -> str:
    """Return a count or a rate with three digits or all its whole ones: `8,000`, `85.3`."""
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.3g}"


def duration(seconds: float) -> str:
    """Return a time span as `m:ss` or `h:mm:ss`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def values_line(values: dict[str, float | str]) -> str:
    """Return the latest values of a task as `loss 0.123  mAP 41.2`."""
    return "  ".join(f"{printable(name)} {_value(value)}" for name, value in values.items())


def _value(value: float | str) -> str:
    return printable(value) if isinstance(value, str) else f"{value:.4g}"
