"""Retrieval metrics, all computed from the ranks of the positives.

Ranks count from 0 and leave junk out. A query has n positives with ranks r_0 ≤ r_1 ≤ …
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ram_cli.errors import ConfigError

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RetrievalMetrics:
    """Metrics of a set of queries, as fractions in 0..1.

    Queries without positives are NaN in `ap` and left out of every mean; the means are NaN where no
    query has a positive.

    Attributes:
        map: Mean of `ap`.
        ap: `[Q]` area under the precision–recall curve over the whole ranking, by the trapezoidal
            rule: the average precision of the Oxford protocol (Philbin et al., CVPR 2007).
        standard_map: Mean of the average precision without trapezoids, the mean over positives j
            of (j + 1) / (r_j + 1).
        map_at: `[len(ks)]` mAP@k: trapezoids of the positives within the first k, summed and
            divided by min(k, n).
        precision_at: `[len(ks)]` mP@k: share of positives within the first k, where k is cut to
            the rank of the last positive (counted from 1).
        recall_at: `[len(ks)]` R@k: 1 if any positive is within the first k, else 0.
        map_at_r: mAP@R (Musgrave et al., ECCV 2020): (j + 1) / (r_j + 1) summed over the positives
            within the first n, divided by n.
        ks: The k of the columns above, as given.
        queries: Number of queries that have positives.
    """

    map: float
    ap: Values
    standard_map: float
    map_at: Values
    precision_at: Values
    recall_at: Values
    map_at_r: float
    ks: tuple[int, ...]
    queries: int


@dataclass(frozen=True, slots=True, eq=False)
class QueryMetrics:
    """The same metrics query by query: `[Q]` or `[Q, len(ks)]`, NaN without positives."""

    ap: Values
    standard_ap: Values
    map_at: Values
    precision_at: Values
    recall_at: Values
    map_at_r: Values


def query_metrics(
    ranks: NDArray[np.int64],
    offsets: NDArray[np.int64],
    ks: Sequence[int],
    positives: NDArray[np.int64] | None = None,
) -> QueryMetrics:
    """Compute the metrics of each query.

    Args:
        ranks: Ranks of the positives, ascending within a query, the queries end to end.
        offsets: `[Q + 1]`; query i owns `ranks[offsets[i] : offsets[i + 1]]`.
        ks: Lengths of the head of the ranking.
        positives: `[Q]` positives of each query, where the ranking is cut short and `ranks` lacks
            some of them; left out, all are there.
    """
    lengths = np.diff(offsets)
    total = lengths if positives is None else positives
    place = np.arange(len(ranks)) - np.repeat(offsets[:-1], lengths)
    after = (place + 1) / (ranks + 1)
    before = np.where(ranks == 0, 1.0, place / np.maximum(ranks, 1))
    trapezoids = (before + after) / 2
    n = np.where(total > 0, total, np.nan)
    last = np.ones(len(lengths), np.int64)  # rank of the last positive, counted from 1
    last[lengths > 0] = ranks[offsets[1:][lengths > 0] - 1] + 1

    # with few k and many positives, most of them lie behind the longest head: leave them out
    near = ranks < max(ks, default=0)
    near_ranks, near_trapezoids = ranks[near], trapezoids[near]
    bounds = np.concatenate([[0], np.cumsum(near)])[offsets]
    map_at, precision_at, recall_at = (np.empty((len(lengths), len(ks))) for _ in range(3))
    for column, k in enumerate(ks):
        head = near_ranks < k
        depth = np.minimum(last, k)
        found = _sums(near_ranks < np.repeat(depth, np.diff(bounds)), bounds)
        map_at[:, column] = _sums(near_trapezoids * head, bounds) / np.minimum(n, k)
        precision_at[:, column] = np.where(total > 0, found / depth, np.nan)
        recall_at[:, column] = np.where(total > 0, _sums(head, bounds) > 0, np.nan)
    within_n = ranks < np.repeat(total, lengths)
    return QueryMetrics(
        ap=_sums(trapezoids, offsets) / n,
        standard_ap=_sums(after, offsets) / n,
        map_at=map_at,
        precision_at=precision_at,
        recall_at=recall_at,
        map_at_r=_sums(after * within_n, offsets) / n,
    )


def mean_metrics(parts: Sequence[QueryMetrics], ks: Sequence[int]) -> RetrievalMetrics:
    """Average the metrics of consecutive groups of queries over all that have positives."""
    columns = {"map_at", "precision_at", "recall_at"}
    values = {
        field.name: np.concatenate(
            [np.empty((0, len(ks)) if field.name in columns else 0)]
            + [getattr(part, field.name) for part in parts]
        )
        for field in fields(QueryMetrics)
    }
    counted = ~np.isnan(values["ap"])

    def mean(name: str) -> Values:
        chosen = values[name][counted]
        if not len(chosen):
            return np.full(chosen.shape[1:], np.nan)
        # rows summed one by one: the mean of a column then does not depend on the other columns
        return np.asarray(np.ascontiguousarray(chosen.T).sum(axis=-1) / len(chosen))

    return RetrievalMetrics(
        map=float(mean("ap")),
        ap=values["ap"],
        standard_map=float(mean("standard_ap")),
        map_at=mean("map_at"),
        precision_at=mean("precision_at"),
        recall_at=mean("recall_at"),
        map_at_r=float(mean("map_at_r")),
        ks=tuple(int(k) for k in ks),
        queries=int(counted.sum()),
    )


def check_ks(ks: Sequence[int]) -> tuple[int, ...]:
    """Make sure that all k are positive whole numbers; order and size are free.

    Raises:
        ConfigError: One is not.
    """
    wrong = [k for k in ks if isinstance(k, bool) or int(k) != k or k < 1]
    if wrong:
        raise ConfigError(f"k must be a whole number of at least 1, not {wrong[0]}.")
    return tuple(int(k) for k in ks)


def _sums(values: NDArray[np.float64] | NDArray[np.bool_], offsets: NDArray[np.int64]) -> Values:
    """Sum the values of each query `[Q]`; 0 for a query without values."""
    sums = np.zeros(len(offsets) - 1)
    filled = offsets[1:] > offsets[:-1]
    if filled.any():
        sums[filled] = np.add.reduceat(values.astype(np.float64), offsets[:-1][filled])
    return sums
