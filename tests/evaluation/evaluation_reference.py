"""Retrieval metrics written from their definitions: sort everything, walk down the ranking."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ram_cli.evaluation import RetrievalMetrics

FIELDS = ("map", "ap", "standard_map", "map_at", "precision_at", "recall_at", "map_at_r")


def ranks_of(scores: NDArray[Any], positives: set[int], junk: set[int]) -> list[int]:
    ranks, skipped = [], 0
    for place, item in enumerate(np.argsort(-scores, kind="stable")):
        if item in positives:
            ranks.append(place - skipped)
        skipped += item in junk
    return ranks


def area(ranks: Iterable[int]) -> float:
    total = 0.0
    for found, rank in enumerate(ranks):
        before = found / rank if rank else 1.0
        total += (before + (found + 1) / (rank + 1)) / 2
    return total


def of_query(ranks: list[int], ks: Sequence[int]) -> dict[str, Any]:
    n = len(ranks)
    precisions = [(found + 1) / (rank + 1) for found, rank in enumerate(ranks)]
    depths = [min(ranks[-1] + 1, k) for k in ks]
    return {
        "ap": area(ranks) / n,
        "standard_map": sum(precisions) / n,
        "map_at": [area(r for r in ranks if r < k) / min(k, n) for k in ks],
        "precision_at": [sum(r < depth for r in ranks) / depth for depth in depths],
        "recall_at": [float(any(r < k for r in ranks)) for k in ks],
        "map_at_r": sum(p for p, r in zip(precisions, ranks, strict=True) if r < n) / n,
    }


def reference(
    scores: NDArray[Any],
    positives: Sequence[Iterable[int]],
    junk: Sequence[Iterable[int]],
    ks: Sequence[int],
) -> dict[str, Any]:
    """Every field of `RetrievalMetrics` from scores `[Q, G]`."""
    queries = [
        of_query(ranks_of(row, set(p), set(j)), ks) if len(set(p)) else None
        for row, p, j in zip(scores, positives, junk, strict=True)
    ]
    counted = [item for item in queries if item]
    result: dict[str, Any] = {
        name: np.mean([item[name] for item in counted], axis=0)
        for name in ("standard_map", "map_at", "precision_at", "recall_at", "map_at_r")
    }
    result["ap"] = np.array([item["ap"] if item else np.nan for item in queries])
    result["map"] = np.mean([item["ap"] for item in counted])
    return result


def assert_equal_to(metrics: RetrievalMetrics, expected: dict[str, Any]) -> None:
    for name in FIELDS:
        np.testing.assert_allclose(
            getattr(metrics, name), expected[name], rtol=1e-12, atol=1e-15, err_msg=name
        )


def assert_same_bits(first: RetrievalMetrics, second: RetrievalMetrics) -> None:
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)


def integer_vectors(rng: np.random.Generator, count: int, dimension: int) -> NDArray[np.float32]:
    """Vectors whose scores are exact in any order of summation, and often equal."""
    return rng.integers(-2, 3, (count, dimension)).astype(np.float32)


def random_lists(
    rng: np.random.Generator, queries: int, gallery: int, most: int
) -> list[NDArray[np.int64]]:
    """Lists of up to `most` gallery indices, unordered, some empty, some with repetitions."""
    return [rng.integers(0, gallery, rng.integers(0, most + 1)) for _ in range(queries)]
