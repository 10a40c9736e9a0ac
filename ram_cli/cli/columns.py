"""How wide the columns of a table may be: names and words are not broken where there is room."""

from collections.abc import Sequence

from rich.cells import cell_len

_KEPT_TOGETHER = (24, 20, 16, 12, 8)
"""Characters of a word that stay together; a longer one, such as an address, may be broken."""
_PADDING = 2


def column_widths(rows: Sequence[Sequence[str]], available: int) -> list[int | None]:
    """Widths that fit, taken from the widest columns first, as long as no word must be broken.

    Args:
        rows: Cells, those of the head included.
        available: Width of the terminal, characters.

    Returns:
        One width per column; all None where not even short words fit.
    """
    columns = list(zip(*rows, strict=True))
    for longest in _KEPT_TOGETHER:
        least = [_longest_word(column, longest) for column in columns]
        widths = [max(cell_len(cell) for cell in column) for column in columns]
        room = available - _PADDING * len(columns)
        if sum(least) <= room:
            for _ in range(sum(widths) - room):
                wide = [place for place, width in enumerate(widths) if width > least[place]]
                widths[max(wide, key=widths.__getitem__)] -= 1
            return list(widths)
    return [None] * len(columns)


def _longest_word(cells: Sequence[str], longest: int) -> int:
    return max((min(cell_len(word), longest) for cell in cells for word in cell.split()), default=0)
