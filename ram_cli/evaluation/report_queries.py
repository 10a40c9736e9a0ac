"""Which queries a report shows, and what each search found for them.

Queries are chosen by a rule, never by hand: sorted by the gain in average precision of the last
search over the first, evenly spaced places of that order are shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ram_cli.evaluation.metrics import RetrievalMetrics
from ram_cli.evaluation.products import Strip, cut_tiles, tile_height, workers
from ram_cli.evaluation.vectors import as_vectors


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """One way of searching `N` images with each of them.

    Attributes:
        title: What it is called, as in "Distilled student".
        query: Vectors of the images as queries, `[N, D]`, on the CPU.
        gallery: Vectors of the images as gallery, `[N, D]`, on the CPU.
        query_size: Side in pixels of what the query network saw.
        metrics: Of these vectors, every image against all others, or queries against the gallery
            where they are apart; `ap` is `[N]`, NaN for what is no query.
    """

    title: str
    query: Tensor
    gallery: Tensor
    query_size: int
    metrics: RetrievalMetrics


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a search found for one query.

    Attributes:
        ap: Average precision over the whole ranking, 0..1.
        first: Rank of the first correct result, counted from 1.
        results: Indices of the first images in the order of their rank.
        correct: Whether each of them is of the class of the query.
    """

    ap: float
    first: int
    results: tuple[int, ...]
    correct: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """One query of the report.

    Attributes:
        image: Its index.
        place: Its place in the order that queries are chosen from, counted from 1.
        value: What that order sorts by: gain in AP or, with a single search, AP.
        relevant: Number of other images of its class that can be found.
        rankings: One per search.
    """

    image: int
    place: int
    value: float
    relevant: int
    rankings: tuple[Ranking, ...]


def sort_queries(
    labels: NDArray[np.int64],
    searches: Sequence[Search],
    searched: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Sort the queries by the gain in AP of the last search over the first.

    A single search is sorted by its AP. Ties keep the order of the images.

    Args:
        labels: Class of every image `[N]`.
        searches: At least one.
        searched: Whether each image `[N]` is in the gallery; None if all of them are.

    Returns:
        Indices of the `M` queries that have positives, largest gain first, and their gains `[M]`.
    """
    values = searches[-1].metrics.ap.copy()
    if len(searches) > 1:
        values -= searches[0].metrics.ap
    measured = np.all([~np.isnan(search.metrics.ap) for search in searches], axis=0)
    candidates = np.flatnonzero(measured & (_positives(labels, searched) > 0))
    order = candidates[np.argsort(-values[candidates], kind="stable")]
    return order, values[order]


def _positives(labels: NDArray[np.int64], searched: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    """How many other images of its class each image could find, `[N]`."""
    within = np.ones(len(labels), bool) if searched is None else searched
    counts: NDArray[np.int64] = np.bincount(labels, weights=within)[labels].astype(np.int64)
    return counts - within


def choose_places(labels: NDArray[np.int64], count: int) -> list[int]:
    """Choose evenly spaced places of an order of queries, at most one per class.

    Where a class would be chosen twice, the nearest place of another class is taken, the earlier
    of two. The ends are chosen first, so that they stay where they are.

    Args:
        labels: Class of the query at every place `[M]`.
        count: Most places to choose; a single one is the median.

    Returns:
        Ascending places, counted from 0.
    """
    last = len(labels) - 1
    count = min(count, len(np.unique(labels)))
    wanted = np.linspace(0, last, count).round().astype(int) if count > 1 else [last // 2][:count]
    free = np.ones(len(labels), bool)
    chosen = []
    for target in sorted(wanted, key=lambda place: min(place, last - place)):
        places = np.flatnonzero(free)
        place = int(places[np.abs(places - target).argmin()])
        chosen.append(place)
        free &= labels != labels[place]
    return sorted(chosen)


def find_examples(
    labels: NDArray[np.int64],
    searches: Sequence[Search],
    order: NDArray[np.int64],
    values: NDArray[np.float64],
    places: Sequence[int],
    top: int,
    searched: NDArray[np.bool_] | None = None,
) -> list[Example]:
    """Rank the images for the queries at the chosen places.

    Args:
        labels: Class of every image `[N]`.
        searches: At least one.
        order: Of the queries, from `sort_queries`.
        values: What they are sorted by.
        places: Chosen places of that order, counted from 0.
        top: Results to keep per query.
        searched: As for `sort_queries`.
    """
    chosen = order[list(places)] if places else order[:0]
    rankings = [_rank(search, labels, chosen, top, searched) for search in searches]
    relevant = _positives(labels, searched)
    return [
        Example(
            image=int(order[place]),
            place=place + 1,
            value=float(values[place]),
            relevant=int(relevant[order[place]]),
            rankings=tuple(of_search[number] for of_search in rankings),
        )
        for number, place in enumerate(places)
    ]


def _rank(
    search: Search,
    labels: NDArray[np.int64],
    queries: NDArray[np.int64],
    top: int,
    searched: NDArray[np.bool_] | None,
) -> list[Ranking]:
    """Rank what is searched but the query itself; equal scores keep the order of the images."""
    rankings = []
    for query, scores in zip(queries, _scores(search, queries), strict=True):
        ranked = np.argsort(-scores, kind="stable")
        others = ranked != query
        ranked = ranked[others if searched is None else others & searched[ranked]]
        correct = labels[ranked] == labels[query]
        rankings.append(
            Ranking(
                ap=float(search.metrics.ap[query]),
                first=int(correct.argmax()) + 1,
                results=tuple(ranked[:top].tolist()),
                correct=tuple(correct[:top].tolist()),
            )
        )
    return rankings


def _scores(search: Search, queries: NDArray[np.int64]) -> NDArray[np.floating]:
    """Inner products `[len(queries), N]`, from the tiles of the metrics: equal vectors tie."""
    query, gallery = as_vectors(search.query, "query"), as_vectors(search.gallery, "gallery")
    tiles, height = list(cut_tiles([gallery])), tile_height(len(queries))
    rows = max(1, -(-len(queries) // height)) * height
    strip = Strip(query[queries], rows, len(tiles))
    with workers() as team:
        strip.multiply(0, len(queries), tiles, team)
    scores = strip.scores.transpose(1, 2).reshape(rows, -1)  # [rows, tiles * TILE_ITEMS]
    result: NDArray[np.floating] = scores[: len(queries), : len(gallery)].numpy()
    return result
