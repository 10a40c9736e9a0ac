"""Names that strangers might give to classes, files and folders."""

import os
import re

from hypothesis import strategies as st

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What a terminal obeys, and what turns the direction of writing."""
NAMES = [
    "..x", "a\nerror: all is lost", "a\rb", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x9b31m",
    "a\tb",
    "\u202egnp.exe", "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "{{ 7*7 }}",
    "{% raw %}", "[bold]x[/bold]", "[link=file:///etc]x", "%s%n", "$(touch ran)", "; touch ran",
    "-rf", "--output", "a" * 200, "nul", "a.", " a ", "\u0e01\u0e33" * 5, "\U0001f600", "=1+1", "~",
    "*", "?", "a\\b", "&lt;", "%2e%2e", "'", "`touch ran`", "\udcff\udcfe", "e\u0301", "\u00e9",
    "#x", "a,b", "a:b", "a;b", "null", "None", "\u2028", "\x7f",
]  # fmt: skip
PIECES = st.sampled_from([
    "\x1b[2J", "\n", "\r\n", "\x85", "\u2028", "\u202e", "\u2066", "<", ">", "\"", "'", "&", "{{",
    "}}",
    "{%", "%}", "[", "](", ")", "`", "|", "\\", "---", "\n---\n", ": ", "- ", "# ", "\"\"\"", "'''",
    "=", "javascript:", "</title>", "<!--", "-->", "]]>", "\ufeff", "\udc80", "\U000e0041",
])  # fmt: skip
LETTERS = st.characters(exclude_characters="/\0", exclude_categories=["Cs"])
EVERY_NAME = (
    st.sampled_from(NAMES)
    | st.text(LETTERS, min_size=1, max_size=12)
    | st.lists(PIECES | st.text(LETTERS, max_size=3), min_size=1, max_size=5)
    .map("".join)
    .filter(bool)
)


def usable(name: str) -> bool:
    """Whether a file system takes the name, and `ram` would not pass over a hidden folder."""
    plain = not name.startswith(".") and "/" not in name
    return plain and len(os.fsencode(name)) <= 255


NAME = EVERY_NAME.filter(
    lambda name: usable(name.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape"))
)
