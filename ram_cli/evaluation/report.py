"""The page on which one sees what distillation gained: real queries and what each search found."""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from ram_cli.datasets import ImageSet
from ram_cli.errors import ConfigError, DataError
from ram_cli.evaluation.report_picture import Block, Row, Views, data_uri, write_picture
from ram_cli.evaluation.report_queries import (
    Example,
    Search,
    choose_places,
    find_examples,
    sort_queries,
)
from ram_cli.files import write_text
from ram_cli.progress import TableData
from ram_cli.version import __version__

__all__ = ["Search", "write_report"]

RESULT_SIZE = 144
"""Side in pixels of an embedded result, which is shown a little smaller."""

PICTURE_QUERIES = 5
PICTURE_TOP = 10

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_NAME_LENGTH, _PATH_LENGTH, _TITLE_LENGTH = 48, 120, 80  # in characters
ENLARGED_SIZE = 128  # in pixels; smaller views of queries show their pixels, without loss
_LARGEST_VIEW = 384  # in pixels; larger views of queries are embedded at this size
_CURVE_WIDTH, _CURVE_HEIGHT, _CURVE_POINTS = 1000, 120, 200


@dataclass(frozen=True, slots=True)
class Curve:
    """The sorted gains as a drawing in a box of `_CURVE_WIDTH` × `_CURVE_HEIGHT`.

    Attributes:
        points: Of the line, as in an SVG polyline.
        zero: Height of the value 0.
        marks: x and y of the queries shown.
    """

    points: str
    zero: float
    marks: list[tuple[float, float]]


def write_report(
    path: Path | None,
    images: ImageSet,
    searches: Sequence[Search],
    *,
    title: str,
    table: TableData,
    notes: Sequence[str] = (),
    credits: Sequence[str] = (),
    queries: int = 12,
    top: int = 8,
    png: Path | None = None,
) -> None:
    """Write one self-contained HTML page, and on request a picture of a part of it.

    Args:
        path: HTML file to write; None for the picture alone.
        images: The `N` images, queries and gallery at once unless their `queries` says otherwise.
        searches: What to compare; gains are those of the last over the first.
        title: Heading.
        table: Figures to show under the heading.
        notes: Remarks under the figures.
        credits: Whose images these are.
        queries: Most queries to show, at most one per class.
        top: Results to show per query.
        png: PNG file to write: some of these queries, in the first and the last search.

    Raises:
        ConfigError: `queries` or `top` is less than 1.
        DataError: There is no search, or its vectors do not fit the images.
        OutputError: A file cannot be written.
    """
    _check(images, searches, queries, top)
    searched = None if images.queries is None else ~images.queries
    order, values = sort_queries(images.labels, searches, searched)
    places = choose_places(images.labels[order], queries)
    examples = find_examples(images.labels, searches, order, values, places, top, searched)
    views = Views(images)
    if path is not None:
        page = page_template("report.html.j2").render(
            title=title,
            table=table,
            notes=notes,
            credits=credits,
            version=__version__,
            images=images,
            searches=searches,
            examples=examples,
            values=values,
            curve=_curve(values, places),
            results=_results(examples, views),
            seen=[_seen(example, searches, views) for example in examples],
            unreadable=len(views.unreadable),
        )
        write_text(path, page)
    if png is not None:
        _write_png(png, title, images, searches, examples, len(order), views)


def clean(text: str, length: int | None = None) -> str:
    """Make a text from outside safe to show: one line, nothing invisible or reordering.

    Such characters are written as escapes. Markup is left to the template, which escapes it.

    Args:
        text: A class name, a path or any other text.
        length: Most characters; what is longer ends in an ellipsis.
    """
    if not (text.isascii() and text.isprintable()):
        text = "".join(
            character.encode("unicode_escape").decode("ascii")
            if unicodedata.category(character) in _UNSAFE
            else character
            for character in " ".join(text.split())
        )
    return text if length is None or len(text) <= length else f"{text[: length - 1]}…"


def percent(fraction: float) -> str:
    """Write a fraction as `43.2 %`."""
    return "–" if math.isnan(fraction) else f"{100 * fraction:.1f} %"


def points(difference: float) -> str:
    """Write a difference of fractions in points of percent: `+12.3`, `−4.0`, `±0.0`."""
    text = f"{100 * difference:+.1f}"
    return "±0.0" if float(text) == 0 else text.replace("-", "−")


def _check(images: ImageSet, searches: Sequence[Search], queries: int, top: int) -> None:
    for name, value in (("queries", queries), ("results", top)):
        if value < 1:
            raise ConfigError(f"a report shows at least 1 of its {name}, not {value}.")
    if not searches:
        raise DataError("a report needs at least one search.")
    for search in searches:
        counts = {len(search.query), len(search.gallery), len(search.metrics.ap)}
        if counts != {len(images)}:
            raise DataError(
                f"search {search.title!r} has {len(search.query)} query vectors, "
                f"{len(search.gallery)} gallery vectors and metrics of {len(search.metrics.ap)} "
                f"queries, but {images.name} has {len(images)} images."
            )


def _results(examples: Sequence[Example], views: Views) -> dict[int, str]:
    """Every image that was found, encoded once."""
    found = {
        index for example in examples for ranking in example.rankings for index in ranking.results
    }
    return {index: data_uri(views.view(index, RESULT_SIZE), lossless=False) for index in found}


def _seen(
    example: Example, searches: Sequence[Search], views: Views
) -> list[tuple[int, bool, str]]:
    """Every size a query was seen at, whether to enlarge it by whole pixels, and its view."""
    seen = []
    for size in sorted({search.query_size for search in searches}):
        view = views.view(example.image, size)
        if size > _LARGEST_VIEW:
            view = view.resize((_LARGEST_VIEW, _LARGEST_VIEW))
        enlarged = size <= ENLARGED_SIZE
        seen.append((size, enlarged, data_uri(view, lossless=enlarged)))
    return seen


def _curve(values: NDArray[np.float64], places: Sequence[int]) -> Curve:
    """Draw the sorted values, at most `_CURVE_POINTS` of them."""
    high, low = max(values.max(initial=0), 0.01), values.min(initial=0)
    last = max(len(values) - 1, 1)

    def point(place: int) -> tuple[float, float]:
        x = _CURVE_WIDTH * place / last
        return round(x, 1), round(height(values[place]), 1)

    def height(value: float) -> float:
        return float(_CURVE_HEIGHT * (high - value) / (high - low))

    drawn = np.linspace(0, len(values) - 1, min(len(values), _CURVE_POINTS)).round().astype(int)
    line = " ".join(f"{x},{y}" for x, y in map(point, drawn.tolist()))
    return Curve(line, round(height(0), 1), [point(place) for place in places])


def _write_png(
    path: Path,
    title: str,
    images: ImageSet,
    searches: Sequence[Search],
    examples: Sequence[Example],
    candidates: int,
    views: Views,
) -> None:
    """Draw evenly spaced ones of the examples in the first and the last search."""
    spaced = np.linspace(0, len(examples) - 1, min(PICTURE_QUERIES, len(examples))).round()
    shown = [examples[number] for number in spaced.astype(int).tolist()]
    compared = [0, len(searches) - 1] if len(searches) > 1 else [0]
    blocks = []
    for example in shown:
        rows = []
        for number in compared:
            search, ranking = searches[number], example.rankings[number]
            results = [
                (views.view(index, RESULT_SIZE), correct)
                for index, correct in zip(ranking.results, ranking.correct, strict=True)
            ]
            caption = (
                f"{clean(search.title, _TITLE_LENGTH)}  ·  AP {percent(ranking.ap)}"
                f"  ·  first correct at rank {ranking.first}"
            )
            view = views.view(example.image, search.query_size)
            rows.append(Row(caption, view, results[:PICTURE_TOP]))
        name = clean(images.class_names[images.labels[example.image]], _NAME_LENGTH)
        blocks.append(Block(name, _remark(example, searches), rows))
    figures = ",  ".join(
        f"{clean(searches[number].title, _TITLE_LENGTH)} {percent(searches[number].metrics.map)}"
        for number in compared
    )
    lines = [f"mAP:  {figures}", _rule(len(shown), candidates, searches)]
    write_picture(path, clean(title, _TITLE_LENGTH), lines, blocks)


def _remark(example: Example, searches: Sequence[Search]) -> str:
    if len(searches) == 1:
        return f"{searches[0].query_size} pixels"
    return f"gain {points(example.value)}"


def _rule(shown: int, candidates: int, searches: Sequence[Search]) -> str:
    ends = "the best AP and the worst"
    if len(searches) > 1:
        ends = "the largest gain in AP and the largest loss"
    return f"{shown} of {candidates} queries, evenly spaced between {ends}; none picked by hand"


def _shown(value: Any) -> Any:
    """What the template prints of a value; markup comes from the template itself."""
    return clean(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


@cache
def page_template(name: str) -> jinja2.Template:
    """A template of pages, with the filters `percent`, `points` and `clean`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ram_cli.evaluation"),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "points": points, "clean": clean}
    return environment.get_template(name)
