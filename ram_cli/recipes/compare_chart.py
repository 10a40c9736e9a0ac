"""The chart of a comparison as SVG: a line per method, a dot per seed, the teacher's bounds."""

import html
import math
from collections.abc import Sequence

from ram_cli.recipes.compare_results import CompareRow

WIDTH, LEFT, RIGHT, TOP, ROW, BOTTOM = 920, 190, 210, 122, 46, 64
"""Lengths in pixels: the picture, its margins, and the height of a method."""

BOUND_LABEL = 195
"""Pixels that the label of a dashed line takes at most."""

SERIES = (("asym", "#0b6e99", -8), ("sym", "#d97b29", 9))
"""Which mAP, in which colour, and how far from the middle of its row."""

WORDS = {"asym": "query student, gallery teacher", "sym": "student on both sides"}
INK, PALE, GRID = "#1c2733", "#52606d", "#e4e9ee"
FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"


def chart(rows: Sequence[CompareRow], dataset: str) -> str:
    """Draw mAP of every method on one dataset, mean and standard deviation over its seeds.

    Args:
        rows: The teacher's, then the methods', all of one dataset.
        dataset: Its name.

    Returns:
        An SVG document that stands alone and can stand in a page.
    """
    methods = [row for row in rows if not row.is_teacher]
    bounds = [row for row in rows if row.is_teacher]
    height = TOP + ROW * max(1, len(methods)) + BOTTOM
    scale = _Scale(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="{FONT}" font-size="13" role="img">',
        f"<title>mAP of distillation methods on {_safe(dataset)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        _text(24, 34, f"mAP on {dataset}", INK, size=18, weight=600),
        *_legend(),
        *_grid(scale, height),
        *_bounds(scale, bounds, height),
    ]
    for place, row in enumerate(methods):
        parts += _method(scale, row, TOP + ROW * place + ROW / 2)
    return "\n".join([*parts, "</svg>"]) + "\n"


class _Scale:
    """From percent to pixels, over a round range that holds every value."""

    def __init__(self, rows: Sequence[CompareRow]) -> None:
        values = [v for row in rows for side, *_ in SERIES for v in row.values[f"{side}_map"]]
        spread = max(values) - min(values)
        self.step = next(step for step in (1, 2, 5, 10, 20) if spread / step <= 9 or step == 20)
        self.low = max(0, math.floor(min(values) / self.step - 0.3) * self.step)
        self.high = max(self.low + self.step, math.ceil(max(values) / self.step + 0.3) * self.step)
        self.high = min(self.high, 100) if self.low < 100 else self.high

    def __call__(self, value: float) -> float:
        inside = WIDTH - LEFT - RIGHT
        return LEFT + inside * (value - self.low) / (self.high - self.low)

    def marks(self) -> list[int]:
        return list(range(self.low, self.high + 1, self.step))


def _legend() -> list[str]:
    parts, x = [], 24
    for side, colour, _ in SERIES:
        parts.append(_dot(x + 5, 57, colour, hollow=side == "sym"))
        parts.append(_text(x + 18, 61.5, WORDS[side], PALE))
        x += 34 + round(6.9 * len(WORDS[side]))
    parts.append(_text(x, 61.5, "bars: one standard deviation; small dots: single seeds", PALE))
    return parts


def _grid(scale: _Scale, height: int) -> list[str]:
    parts = []
    for mark in scale.marks():
        x = scale(mark)
        parts.append(_line(x, TOP - 6, x, height - BOTTOM + 6, GRID))
        parts.append(_text(x, height - BOTTOM + 26, str(mark), PALE, anchor="middle"))
    return parts


def _bounds(scale: _Scale, bounds: Sequence[CompareRow], height: int) -> list[str]:
    """Dashed lines for the teacher with large and with small queries."""
    parts = []
    places = [scale(row.mean("asym_map")) for row in bounds]
    near = max(places) - min(places) < 2 * BOUND_LABEL  # then one label goes above the other
    for place, (x, row) in enumerate(zip(places, bounds, strict=True)):
        top = TOP - 14 - 16 * (near and place == 0)
        parts.append(_line(x, top + 8, x, height - BOTTOM + 6, PALE, dash="4 4"))
        label = f"{row.label}: {row.mean('asym_map'):.1f}"
        anchor, aside = ("end", 6) if x > WIDTH / 2 else ("start", -6)
        parts.append(_text(x + aside, top, label, PALE, anchor=anchor, size=12))
    return parts


def _method(scale: _Scale, row: CompareRow, y: float) -> list[str]:
    parts = [_text(LEFT - 16, y + 4.5, row.label, INK, anchor="end", weight=600)]
    x = WIDTH - RIGHT + 20
    if row.failures:
        note = f"failed: seed {', '.join(map(str, row.failures))}"
        parts.append(_text(LEFT - 16, y + 19, note, "#a32d2d", anchor="end", size=11))
    for side, colour, offset in SERIES:
        values = row.values[f"{side}_map"]
        if not values:
            continue
        mean, std = row.mean(f"{side}_map"), row.std(f"{side}_map")
        for value in values if len(values) > 1 else ():
            dot = f'<circle cx="{scale(value):.1f}" cy="{y + offset:.1f}" r="2.4" '
            parts.append(f'{dot}fill="{colour}" fill-opacity="0.45"/>')
        shown = f"{mean:.1f}"
        if not math.isnan(std):
            ends = (max(scale.low, mean - std), min(scale.high, mean + std))
            parts.append(_line(scale(ends[0]), y + offset, scale(ends[1]), y + offset, colour, 2))
            shown += f" ± {std:.1f}"
        parts.append(_dot(scale(mean), y + offset, colour, hollow=side == "sym"))
        parts.append(_text(x, y + 4.5, shown, colour, weight=600))
        x += 96
    return parts


def _dot(x: float, y: float, colour: str, *, hollow: bool) -> str:
    fill = "#fff" if hollow else colour
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{fill}" stroke="{colour}" '
        'stroke-width="2"/>'
    )


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1, dash: str = ""
) -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"{dashes}/>'
    )


def _text(
    x: float,
    y: float,
    words: str,
    colour: str,
    *,
    anchor: str = "start",
    size: int = 13,
    weight: int = 400,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" '
        f'font-size="{size}" font-weight="{weight}">{_safe(words)}</text>'
    )


def _safe(words: str) -> str:
    """Words as XML can hold them."""
    return html.escape("".join(c for c in words if c.isprintable()))
