"""Protocols of Oxford and Paris buildings, old and revisited."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ram_cli.errors import DataError
from ram_cli.evaluation.gallery import Gallery
from ram_cli.evaluation.metrics import RetrievalMetrics
from ram_cli.evaluation.relevance import Relevance
from ram_cli.evaluation.retrieval import evaluate
from ram_cli.evaluation.vectors import Vectors
from ram_cli.progress import SILENT, Reporter

GroundTruth = Sequence[Mapping[str, Any]]

_PROTOCOLS = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}


@dataclass(frozen=True, slots=True, eq=False)
class RevisitedMetrics:
    """Metrics under the three protocols; queries without positives count in none of the means."""

    easy: RetrievalMetrics
    medium: RetrievalMetrics
    hard: RetrievalMetrics


def revisited_metrics(
    query: Vectors,
    gallery: Gallery,
    ground_truth: GroundTruth,
    ks: Sequence[int] = (1, 5, 10),
    *,
    reporter: Reporter = SILENT,
) -> RevisitedMetrics:
    """Measure retrieval under Radenović et al., Revisiting Oxford and Paris, CVPR 2018.

    Easy: easy images are positive, hard ones junk. Medium: both positive. Hard: hard positive,
    easy junk. Junk of the ground truth is junk everywhere. The products are computed once.

    Args:
        query: Query vectors `[Q, D]`.
        gallery: Gallery vectors `[G, D]`, or blocks of them (see `retrieval_metrics`).
        ground_truth: Per query, the gallery indices under "easy", "hard" and "junk"; other keys
            are ignored.
        ks: The k of mP@k, mAP@k and R@k.
        reporter: Told of the progress.

    Raises:
        ConfigError: A k is not a positive whole number.
        DataError: A key is missing, or as for `retrieval_metrics`.
    """
    relevances = [
        Relevance.from_lists(_joined(ground_truth, kept), _joined(ground_truth, left_out))
        for kept, left_out in _PROTOCOLS.values()
    ]
    results = evaluate(query, gallery, relevances, ks, reporter)
    return RevisitedMetrics(**dict(zip(_PROTOCOLS, results, strict=True)))


def oxford_metrics(
    query: Vectors,
    gallery: Gallery,
    ground_truth: GroundTruth,
    ks: Sequence[int] = (1, 5, 10),
    *,
    reporter: Reporter = SILENT,
) -> RetrievalMetrics:
    """Measure retrieval under the old protocol of Oxford5k and Paris6k (and of INSTRE).

    Args:
        query: Query vectors `[Q, D]`.
        gallery: Gallery vectors `[G, D]`, or blocks of them (see `retrieval_metrics`).
        ground_truth: Per query, the gallery indices under "ok" and, where there are any, "junk".
        ks: The k of mP@k, mAP@k and R@k.
        reporter: Told of the progress.

    Raises:
        ConfigError: A k is not a positive whole number.
        DataError: A key is missing, or as for `retrieval_metrics`.
    """
    junk = [np.asarray(entry.get("junk", ())) for entry in ground_truth]
    relevance = Relevance.from_lists(_joined(ground_truth, ("ok",)), junk)
    return evaluate(query, gallery, [relevance], ks, reporter)[0]


def _joined(ground_truth: GroundTruth, keys: tuple[str, ...]) -> list[list[int]]:
    for number, entry in enumerate(ground_truth):
        for key in keys:
            if key not in entry:
                raise DataError(
                    f"the ground truth of query {number} has no list {key!r} "
                    f"(it has {', '.join(map(repr, entry)) or 'nothing'})."
                )
    return [[item for key in keys for item in entry[key]] for entry in ground_truth]
