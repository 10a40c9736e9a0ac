"""Tables in narrow terminals: names stay whole, wherever that can be."""

import pytest
from rich.console import Console

from ram_cli.cli.columns import column_widths
from ram_cli.cli.console import _laid_out
from ram_cli.progress import TableData

NAMES = ["distance-cross-entropy", "csd"]
WORDS = "Similarities with the teacher's nearest training images, as a distribution. " * 2
ADDRESS = "http://example.com/" + "a" * 60


def lines(rows: list[list[str]], width: int) -> list[str]:
    console = Console(width=width, highlight=False)
    with console.capture() as printed:
        console.print(_laid_out(TableData("title", ["name", "what"], rows), width))
    return [line.rstrip() for line in printed.get().splitlines()]


@pytest.mark.parametrize("width", [200, 80, 50, 42])
def test_names_and_words_stay_whole(width):
    shown = lines([[name, WORDS] for name in NAMES], width)
    assert all(len(line) <= width for line in shown)
    words = {word for line in shown for word in line.split()}
    assert {*NAMES, *WORDS.split()} <= words


def test_an_address_gives_way_to_words():
    shown = lines([["name-of-it", f"see {ADDRESS}"]], 40)
    assert all(len(line) <= 40 for line in shown)
    assert "".join(line[12:].strip() for line in shown).endswith("see" + ADDRESS)


def test_widths_are_taken_from_the_widest_column_and_not_where_nothing_fits():
    assert column_widths([["a", "bbb ccc ddd", "1"]], 80) == [1, 11, 1]
    assert column_widths([["a", "bbb ccc ddd", "1"]], 14) == [1, 6, 1]
    assert column_widths([["a", "bbbbbbbb", "1"]], 10) == [None, None, None]
