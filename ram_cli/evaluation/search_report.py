"""The page of landmark searches: queries with their boxes, and what was found for them.

Letters: Q queries, N gallery images, distractors included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ram_cli.datasets import ImageSet, SearchSet
from ram_cli.errors import UnreadableImageError
from ram_cli.evaluation.metrics import RetrievalMetrics
from ram_cli.evaluation.report import ENLARGED_SIZE, page_template
from ram_cli.evaluation.report_picture import data_uri, placeholder
from ram_cli.files import write_text
from ram_cli.progress import TableData
from ram_cli.version import __version__
from ram_cli.views import LandmarkViews

SHOWN_QUERIES, SHOWN_RESULTS = 12, 8

_RESULT_SIDE, _QUERY_SIDE = 160, 384  # longer sides in pixels of what is embedded in the page
_BOX = (255, 64, 160)
_SORTED_BY = ("medium", "old")


@dataclass(frozen=True, slots=True, eq=False)
class LandmarkSearch:
    """One way of searching a set.

    Attributes:
        title: What it is called, as in "student 224 → teacher 448".
        query_size: Longer side in pixels of whole images as the query network sees them.
        metrics: By protocol; `ap` is `[Q]`.
        found: The best gallery images of the queries shown `[shown, at most SHOWN_RESULTS]`, by
            index; those from N_gallery on are distractors.
    """

    title: str
    query_size: int
    metrics: Mapping[str, RetrievalMetrics]
    found: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Result:
    """A gallery image that was found: its index, its path, and what it is to the query."""

    index: int
    path: str
    kind: str


@dataclass(frozen=True, slots=True, eq=False)
class SearchExample:
    """A query of the page.

    Attributes:
        query: Its index.
        name: Its file.
        place: Its place in the order that queries are chosen from, counted from 1.
        boxed: Whether it has a box.
        whole: Its image, with the box drawn, as a data URI.
        seen: Width and height in pixels of what each network sees, whether to show its pixels, and
            that view.
        counts: Gallery images by what they are to the query.
        results: Per search.
    """

    query: int
    name: str
    place: int
    boxed: bool
    whole: str
    seen: Sequence[tuple[tuple[int, int], bool, str]]
    counts: Mapping[str, int]
    results: Sequence[Sequence[Result]]


class SearchPage:
    """One set of the page.

    Args:
        search: Queries, gallery and ground truth.
        searches: At least one; gains are those of the last over the first.
        order: Queries and values, from `sorted_queries`.
        places: Of the queries shown in that order, counted from 0.
        table: All numbers.
        distractors: Added to the gallery, if any.
    """

    def __init__(
        self,
        search: SearchSet,
        searches: Sequence[LandmarkSearch],
        order: tuple[NDArray[np.int64], NDArray[np.float64]],
        places: Sequence[int],
        table: TableData,
        distractors: ImageSet | None = None,
    ) -> None:
        self.searches, self.table = searches, table
        self.order, self.values = order
        self.protocol = sorting_protocol(searches[0].metrics)
        self.name, self.queries, self.gallery = (
            search.name,
            len(search.queries),
            len(search.gallery),
        )
        self.distractors = 0 if distractors is None else len(distractors)
        self.unreadable: set[str] = set()
        self._search, self._places, self._others = search, places, distractors

    @cached_property
    def examples(self) -> list[SearchExample]:
        """The queries shown."""
        return [self._example(number, place) for number, place in enumerate(self._places)]

    @cached_property
    def thumbnails(self) -> dict[int, str]:
        """Every image that was found, by its index, encoded once."""
        found = {
            result.index for example in self.examples for row in example.results for result in row
        }
        uris = {}
        for index in sorted(found):
            images, place = self._place(index)
            uris[index] = data_uri(self._view(images, place, _RESULT_SIDE), lossless=False)
        return uris

    def _example(self, number: int, place: int) -> SearchExample:
        query, queries = int(self.order[place]), self._search.queries
        truth = self._search.ground_truth[query]
        kinds = {int(index): kind for kind in truth for index in truth[kind]}
        sizes = sorted({search.query_size for search in self.searches})
        views = [self._view(queries, query, size) for size in sizes]
        return SearchExample(
            query=query,
            name=queries.paths[query],
            place=place + 1,
            boxed=queries.boxes is not None,
            whole=data_uri(self._boxed(query), lossless=False),
            seen=[_seen(view) for view in views],
            counts={kind: len(truth[kind]) for kind in truth},
            results=[
                [self._result(index, kinds) for index in search.found[number].tolist()]
                for search in self.searches
            ],
        )

    def _result(self, index: int, kinds: Mapping[int, str]) -> Result:
        images, place = self._place(index)
        other = "wrong" if images is self._search.gallery else "distractor"
        return Result(index, images.paths[place], kinds.get(index, other))

    def _place(self, index: int) -> tuple[ImageSet, int]:
        beyond = index - self.gallery
        if beyond < 0 or self._others is None:
            return self._search.gallery, index
        return self._others, beyond

    def _boxed(self, query: int) -> Image.Image:
        """The whole query image with its box."""
        queries = self._search.queries
        whole = replace(queries, boxes=None)
        image = self._view(whole, query, 2**16)
        if queries.boxes is not None:
            width = max(2, round(max(image.size) / 100))
            x1, y1, x2, y2 = queries.boxes[query].tolist()
            draw = ImageDraw.Draw(image)
            for colour, wide in (("black", 2 * width), (_BOX, width)):  # seen on any ground
                draw.rectangle((x1, y1, x2, y2), outline=colour, width=wide)
        return _fitted(image)

    def _view(self, images: ImageSet, index: int, size: int) -> Image.Image:
        try:
            view = LandmarkViews(images, size)[index]
        except UnreadableImageError:
            self.unreadable.add(images.paths[index])
            return placeholder(_RESULT_SIDE)
        return Image.fromarray(view.permute(1, 2, 0).numpy())  # [h, w, 3]


def sorting_protocol(protocols: Mapping[str, object]) -> str:
    """The protocol that queries are sorted by: medium, or the old one."""
    return next(name for name in _SORTED_BY if name in protocols)


def sorted_queries(
    metrics: Sequence[Mapping[str, RetrievalMetrics]],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Queries that have something to find, by the gain in AP of the last search over the first.

    A single search is sorted by its AP. Ties keep the order of the queries.

    Args:
        metrics: By protocol, of each search.

    Returns:
        Indices, largest gain first, and their gains.
    """
    protocol = sorting_protocol(metrics[0])
    values = metrics[-1][protocol].ap.copy()
    if len(metrics) > 1:
        values -= metrics[0][protocol].ap
    measured = np.flatnonzero(~np.isnan(values))
    order = measured[np.argsort(-values[measured], kind="stable")]
    return order, values[order]


def shown_places(count: int) -> list[int]:
    """Evenly spaced places of an order of so many queries, both ends included."""
    spaced = np.linspace(0, count - 1, min(count, SHOWN_QUERIES)).round().astype(int)
    return list(dict.fromkeys(spaced.tolist())) if count else []


def write_search_report(path: Path, pages: Sequence[SearchPage], *, title: str) -> None:
    """Write one self-contained HTML page.

    Args:
        path: HTML file to write.
        pages: One per set, at least one.
        title: Heading.

    Raises:
        OutputError: The file cannot be written.
    """
    pictures = [page.thumbnails for page in pages]  # read first: they tell what is unreadable
    page = page_template("search_report.html.j2").render(
        title=title,
        pages=pages,
        old=all(page.protocol == "old" for page in pages),
        unreadable=sum(len(page.unreadable) for page in pages) if pictures else 0,
        version=__version__,
    )
    write_text(path, page)


def _seen(view: Image.Image) -> tuple[tuple[int, int], bool, str]:
    small = max(view.size) <= ENLARGED_SIZE
    return view.size, small, data_uri(_fitted(view), lossless=small)


def _fitted(image: Image.Image) -> Image.Image:
    """At most so large as a query is shown."""
    fitted = image.copy()
    fitted.thumbnail((_QUERY_SIDE, _QUERY_SIDE), Image.Resampling.LANCZOS)
    return fitted
