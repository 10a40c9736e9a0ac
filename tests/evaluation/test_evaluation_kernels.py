"""Kernels against sorting, and what happens where the compiler cannot work as usual."""

import sys
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest

import ram_cli.evaluation
from ram_cli.errors import RamError
from ram_cli.evaluation import counting, retrieval_metrics


@pytest.mark.parametrize("length", [0, 1, 2, counting.FEW, 500])
def test_lists_are_put_in_the_order_of_the_ranking(length: int) -> None:
    rng = np.random.default_rng(length)
    scores = rng.integers(-3, 4, length).astype(np.float32)
    indices = rng.permutation(1000)[:length]
    order = np.lexsort((indices, -scores))
    expected = indices[order].tolist(), scores[order].tolist()
    counting.sort_lists((0, 1), np.array([0, length]), indices, scores)
    assert (indices.tolist(), scores.tolist()) == expected


@pytest.mark.parametrize("length", [1, counting.FEW, counting.FEW + 1, 400])
@pytest.mark.parametrize("spread", [0, 1, 4, 10**6])
def test_items_before_are_counted_in_every_way(length: int, spread: int) -> None:
    rng = np.random.default_rng(length + spread)
    scores = rng.integers(-spread, spread + 1, 700).astype(np.float64)
    indices = np.sort(rng.permutation(700)[:length])
    indices = indices[np.lexsort((indices, -scores[indices]))]
    counts = np.zeros(length, np.int64)
    # one query, the second of its block; two tiles of 400, the last one not full
    strip = np.zeros((1, 2, 2, 400))
    strip[0, :, 1] = np.pad(scores, (0, 100), constant_values=1e9).reshape(2, 400)
    offsets = np.array([0, 0, length])
    counting.count_before(strip, (0, 2), (0, 700), offsets, indices, scores[indices], counts)
    place = np.argsort(np.argsort(-scores, kind="stable"))
    assert counts.tolist() == place[indices].tolist()


def test_without_a_folder_for_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def njit(**options: Any) -> Callable[[Any], Any]:
        asked.append(options.get("cache", False))
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(numba, "njit", njit)
    assert counting._kernel(len)([1, 2]) == 2
    assert asked == [True, False]


def test_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ram_cli.evaluation, "counting")
    monkeypatch.setitem(sys.modules, "ram_cli.evaluation.counting", None)
    with pytest.raises(RamError, match="numba"):
        retrieval_metrics(np.eye(2), np.eye(2), [[0], [1]], None, [1])
