"""Retrieval metrics of query and gallery vectors, for lists of positives and for labels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from ram_cli.errors import DataError
from ram_cli.evaluation.gallery import Gallery
from ram_cli.evaluation.metrics import (
    QueryMetrics,
    RetrievalMetrics,
    check_ks,
    mean_metrics,
    query_metrics,
)
from ram_cli.evaluation.ranking import Ranks, rank_positives
from ram_cli.evaluation.relevance import IndexLists, Relevance
from ram_cli.evaluation.vectors import Vectors
from ram_cli.processes import process_count
from ram_cli.progress import SILENT, Reporter

Lists = Sequence[ArrayLike] | IndexLists


def retrieval_metrics(
    query: Vectors,
    gallery: Gallery,
    positives: Lists,
    junk: Lists | None,
    ks: Sequence[int],
    *,
    reporter: Reporter = SILENT,
) -> RetrievalMetrics:
    """Rank a gallery for every query and measure the rankings, exactly.

    Scores are inner products, in float32 (float64 if either side is). Equal scores rank in the
    order of the gallery. No `[Q, G]` matrix is held and no ranking is sorted: the ranks of the
    positives are counted, in less than 1 GB on top of the vectors. Results are the same to the last
    bit for any number of threads and any division of the gallery into blocks.

    Args:
        query: Query vectors `[Q, D]`.
        gallery: Gallery vectors `[G, D]`, or blocks `[*, D]` of them in order, to be streamed: a
            sequence, or an iterator whose first block has all positives and junk.
        positives: Per query, the gallery indices of its positives, in any order; a query without
            any is NaN in `ap` and left out of the means.
        junk: Per query, gallery indices to be taken out of its ranking; None for none. A positive
            that is also junk keeps its place, as in the published protocol.
        ks: The k of mP@k, mAP@k and R@k, in any order; may exceed G.
        reporter: Told of the progress.

    Raises:
        ConfigError: A k is not a positive whole number.
        DataError: Vectors and lists do not fit each other, or a vector holds NaN or infinities.
    """
    relevance = Relevance.from_lists(positives, junk)
    return evaluate(query, gallery, [relevance], ks, reporter)[0]


def label_metrics(
    query: Vectors,
    gallery: Vectors | Sequence[Vectors],
    query_labels: ArrayLike,
    gallery_labels: ArrayLike,
    ks: Sequence[int],
    *,
    same_set: bool,
    reporter: Reporter = SILENT,
) -> RetrievalMetrics:
    """Measure retrieval of images of the same class, the zero-shot protocol.

    Args:
        query: Query vectors `[Q, D]`.
        gallery: Gallery vectors `[G, D]`, or blocks `[*, D]` of them in order, each looked at once
            or twice and never all together.
        query_labels: Class of every query `[Q]`.
        gallery_labels: Class of every gallery image `[G]`.
        ks: The k of mP@k, mAP@k and R@k.
        same_set: Queries and gallery are the same images in the same order, possibly embedded by
            different networks; every image is then junk to itself.
        reporter: Told of the progress.

    Raises:
        ConfigError: A k is not a positive whole number.
        DataError: Vectors and labels do not fit each other, or a vector holds NaN or infinities.
    """
    relevance = Relevance.from_labels(query_labels, gallery_labels, same_set=same_set)
    whole = isinstance(gallery, Tensor | np.ndarray)
    count = len(gallery) if whole else sum(map(len, gallery))
    if np.size(gallery_labels) != count:
        raise DataError(f"there are {count} gallery vectors but {np.size(gallery_labels)} labels.")
    return evaluate(query, gallery, [relevance], ks, reporter)[0]


def evaluate(
    query: Vectors,
    gallery: Gallery,
    relevances: Sequence[Relevance],
    ks: Sequence[int],
    reporter: Reporter = SILENT,
) -> list[RetrievalMetrics]:
    """Measure one ranking under several protocols, each with its own positives and junk."""
    ks = check_ks(ks)
    parts: list[dict[int, QueryMetrics]] = [{} for _ in relevances]

    def measure(ranks: list[Ranks]) -> None:
        for measured, item in zip(parts, ranks, strict=True):
            measured[item.first] = query_metrics(item.ranks, item.offsets, ks)

    rank_positives(query, gallery, relevances, measure, reporter)
    if process_count() > 1:
        # imported where it is needed: metrics alone need no training engine
        from ram_cli.engine.collectives import gather

        for shared in gather(parts):
            for measured, found in zip(parts, shared, strict=True):
                measured.update(found)
    return [mean_metrics([group for _, group in sorted(item.items())], ks) for item in parts]
