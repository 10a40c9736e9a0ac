"""Exact metrics against sorting and walking, over sizes, ties, junk and many positives."""

import threading
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_reference import (
    assert_equal_to,
    assert_same_bits,
    integer_vectors,
    random_lists,
    reference,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ram_cli.errors import ConfigError, DataError
from ram_cli.evaluation import (
    IndexLists,
    RetrievalMetrics,
    label_metrics,
    retrieval_metrics,
    revisited_metrics,
)
from ram_cli.evaluation.counting import FEW
from ram_cli.evaluation.products import TILE_ITEMS

KS = (4, 1, 1000, 8)  # in no order, some beyond the gallery


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("queries", "gallery_size", "dimension", "positives"),
    [
        (1, 1, 1, 1),
        (7, 40, 3, 6),
        (30, TILE_ITEMS, 4, FEW),
        (50, TILE_ITEMS + 1, 5, 3 * FEW),
        (430, 2 * TILE_ITEMS - 1, 4, FEW + 10),
        (20, 2000, 6, 1500),
    ],
)
def test_equals_sorting(
    queries: int, gallery_size: int, dimension: int, positives: int, dtype: type
) -> None:
    rng = np.random.default_rng(queries + gallery_size)
    query = integer_vectors(rng, queries, dimension).astype(dtype)
    gallery = integer_vectors(rng, gallery_size, dimension).astype(dtype)
    relevant = random_lists(rng, queries, gallery_size, positives)
    relevant[0] = np.array([gallery_size - 1])
    junk = random_lists(rng, queries, gallery_size, positives)
    metrics = retrieval_metrics(query, gallery, relevant, junk, KS)
    assert_equal_to(metrics, reference(query @ gallery.T, relevant, junk, KS))
    assert metrics.queries == sum(len(item) > 0 for item in relevant)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_equals_sorting_on_small_galleries(data: st.DataObject) -> None:
    gallery_size = data.draw(st.integers(1, 90))
    queries = data.draw(st.integers(1, 4))
    indices = st.lists(st.integers(0, gallery_size - 1), max_size=2 * FEW)
    relevant = [data.draw(st.lists(st.integers(0, gallery_size - 1), min_size=1))]
    relevant += [data.draw(indices) for _ in range(queries - 1)]
    junk = [data.draw(indices) for _ in range(queries)]
    scores = st.integers(-3, 3)
    table = data.draw(
        st.lists(
            st.lists(scores, min_size=queries, max_size=queries),
            min_size=gallery_size,
            max_size=gallery_size,
        )
    )
    gallery = np.array(table, np.float32)
    metrics = retrieval_metrics(np.eye(queries, dtype=np.float32), gallery, relevant, junk, KS)
    assert_equal_to(metrics, reference(gallery.T, relevant, junk, KS))


@pytest.mark.parametrize("score", [0.0, 0.5, -2.0])
def test_all_scores_equal_rank_in_order_of_gallery(score: float) -> None:
    gallery_size = 3 * FEW
    gallery = np.full((gallery_size, 1), score)
    for relevant in ([5, 2, gallery_size - 1], list(range(1, gallery_size, 2))):
        metrics = retrieval_metrics(np.ones((1, 1)), gallery, [relevant], [[0, 3]], KS)
        expected = reference(np.full((1, gallery_size), score), [relevant], [[0, 3]], KS)
        assert_equal_to(metrics, expected)


@pytest.mark.parametrize("magnitudes", [(1e-42, 2e-42), (1e15, 1e-15), (-1e18, 1e18)])
def test_scores_of_extreme_size(magnitudes: tuple[float, float]) -> None:
    rng = np.random.default_rng(1)
    gallery = rng.choice(magnitudes, (500, 1)).astype(np.float32)
    gallery[::7] = 0
    relevant = [rng.permutation(500)[: 3 * FEW]]
    metrics = retrieval_metrics(np.ones((1, 1), np.float32), gallery, relevant, None, KS)
    assert_equal_to(metrics, reference(gallery.T, relevant, [[]], KS))


def test_identical_gallery_vectors_tie_exactly() -> None:
    rng = np.random.default_rng(2)
    unique = rng.normal(size=(200, 61)).astype(np.float32)
    copies = rng.integers(0, 200, 3 * TILE_ITEMS + 17)
    query = rng.normal(size=(9, 61)).astype(np.float32)
    relevant = [rng.permutation(len(copies))[:60] for _ in query]
    metrics = retrieval_metrics(query, unique[copies], relevant, None, KS)
    scores = (query.astype(np.float64) @ unique.T.astype(np.float64))[:, copies]
    assert_equal_to(metrics, reference(scores, relevant, [[]] * 9, KS))


def test_double_precision_is_kept() -> None:
    query = np.ones((1, 1))
    gallery = 1 + np.arange(40)[:, None] * 1e-12
    for kind in (np.asarray, torch.tensor):
        assert retrieval_metrics(kind(query), kind(gallery), [[39]], None, [1]).map == 1
        mixed = kind(query.astype(np.float32))
        assert retrieval_metrics(mixed, kind(gallery), [[39]], None, [1]).map == 1
        blocks = [kind(gallery[:7]), kind(gallery[7:])]
        assert retrieval_metrics(kind(query), blocks, [[39]], None, [1]).map == 1


@pytest.mark.parametrize("same_set", [True, False])
def test_labels_equal_lists(same_set: bool) -> None:
    rng = np.random.default_rng(3)
    gallery = integer_vectors(rng, 400, 4)
    labels = rng.choice([7, -3, 12, 40, 41], 400, p=[0.5, 0.3, 0.1, 0.09, 0.01])
    labels[13] = 1000  # the only one of its class
    if same_set:
        query, query_labels = integer_vectors(rng, 400, 4), labels
    else:
        query, query_labels = integer_vectors(rng, 70, 4), rng.choice([7, 12, 99], 70)
    metrics = label_metrics(query, gallery, query_labels, labels, KS, same_set=same_set)
    positives = [np.flatnonzero(labels == label) for label in query_labels]
    junk = [[i] if same_set else [] for i in range(len(query))]
    if same_set:
        positives = [p[p != i] for i, p in enumerate(positives)]
        assert np.isnan(metrics.ap[13])
    assert_same_bits(metrics, retrieval_metrics(query, gallery, positives, junk, KS))
    assert metrics.queries == sum(len(item) > 0 for item in positives)
    assert_equal_to(metrics, reference(query @ gallery.T, positives, junk, KS))


def test_inputs_of_any_kind_give_the_same_numbers() -> None:
    rng = np.random.default_rng(4)
    query = integer_vectors(rng, 8, 6)
    gallery = integer_vectors(rng, 50, 6)
    relevant, junk = random_lists(rng, 8, 50, 10), random_lists(rng, 8, 50, 5)
    expected = retrieval_metrics(query, gallery, relevant, junk, KS)
    frozen = gallery.copy()
    frozen.flags.writeable = False
    spread = np.zeros((50, 12), np.float32)
    spread[:, ::2] = gallery
    kinds = [
        torch.from_numpy(gallery), torch.from_numpy(gallery).half(), gallery.astype(np.int16),
        torch.from_numpy(gallery).requires_grad_(), frozen, spread[:, ::2], gallery[::-1][::-1],
        np.asfortranarray(gallery), torch.from_numpy(gallery).bfloat16(), gallery.astype(">f8"),
    ]  # fmt: skip
    for kind in kinds:
        assert_same_bits(retrieval_metrics(query, kind, relevant, junk, KS), expected)
    packed = IndexLists.from_lists(relevant), IndexLists.from_lists(junk)
    assert_same_bits(retrieval_metrics(query, gallery, *packed, KS), expected)
    tensors = [torch.from_numpy(item) for item in relevant], [item.tolist() for item in junk]
    assert_same_bits(retrieval_metrics(query, gallery, *tensors, KS), expected)


def test_nothing_to_rank() -> None:
    gallery = np.eye(3)
    for query, relevant in ((np.empty((0, 3)), []), (np.eye(3)[:2], [[], []])):
        metrics = retrieval_metrics(query, gallery, relevant, None, [1, 5])
        assert metrics.queries == 0
        assert metrics.ap.shape == (len(query),)
        assert metrics.map_at.shape == metrics.precision_at.shape == metrics.recall_at.shape == (2,)
        values = [metrics.map, metrics.standard_map, metrics.map_at_r, *metrics.map_at, *metrics.ap]
        assert all(np.isnan(value) for value in values)
    empty = retrieval_metrics(np.eye(3), np.empty((0, 3)), [[], [], []], None, [])
    assert empty.queries == 0
    assert empty.recall_at.shape == (0,)
    assert retrieval_metrics(np.eye(3), [], [[], [], []], None, [1]).queries == 0


Q, G = np.eye(4)[:3], np.eye(4)
NAN = np.eye(4)
NAN[2, 1] = np.nan


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((NAN, G, [[0]] * 4, None, [1]), ["query", "2"]),
        ((Q, [G, NAN], [[0]] * 3, None, [1]), ["gallery", "6"]),
        ((Q, -np.inf * np.ones((2, 4)), [[0]] * 3, None, [1]), ["gallery", "0"]),
        ((Q, np.eye(5), [[0]] * 3, None, [1]), ["4", "5"]),
        ((Q, [G, np.eye(5)], [[0]] * 3, None, [1]), ["4", "5"]),
        ((Q, G, [[0], [1], [4]], None, [1]), ["positive", "query 2", "4"]),
        ((Q, G, [[0]] * 3, [[], [9], []], [1]), ["junk", "query 1", "9"]),
        ((Q, [G, G], [[0], [8], []], None, [1]), ["query 1", "8"]),
        ((Q, iter([G, G]), [[0], [5], []], None, [1]), ["query 1", "5"]),
        ((Q, G, [[0], [-1], []], None, [1]), ["query 1", "-1"]),
        ((Q, G, [[0]] * 2, None, [1]), ["3", "2"]),
        ((Q, G, [[0]] * 3, [[]] * 2, [1]), ["3", "2"]),
        ((Q, G, [[0.5], [1], []], None, [1]), ["query 0", "float64"]),
        ((Q, G, [[[1]], [1], []], None, [1]), ["query 0"]),
        ((Q[0], G, [[0]], None, [1]), ["query", "[4]"]),
        ((Q, G > 0, [[0]] * 3, None, [1]), ["gallery", "bool"]),
        ((1e30 * Q.astype("f4"), 1e30 * G.astype("f4"), [[0]] * 3, None, [1]), ["1e+30"]),
        ((Q, G, IndexLists(np.array([0, 1, 9, 1]), np.array([0])), None, [1]), ["positive"]),
    ],
)
def test_faults_of_the_data_are_named(arguments: Any, words: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        retrieval_metrics(*arguments)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize("k", [0, -1, 2.5, True])
def test_k_must_be_a_positive_whole_number(k: Any) -> None:
    with pytest.raises(ConfigError):
        retrieval_metrics(Q, G, [[0]] * 3, None, [1, k])


@pytest.mark.parametrize(
    ("query_labels", "gallery_labels", "same_set"),
    [([0, 1, 2], [0, 1, 2], True), ([0, 0], [0, 0, 0, 1], False), ([0] * 4, [0, 0, 0, 1], True),
     ([0, 0, 1], [0, 0, 1], False), ([[0, 0, 1]], [0, 0, 0, 1], False)],
)  # fmt: skip
def test_labels_must_fit_the_vectors(
    query_labels: list[int], gallery_labels: list[int], same_set: bool
) -> None:
    with pytest.raises(DataError):
        label_metrics(Q, G, query_labels, gallery_labels, [1], same_set=same_set)


def test_ground_truth_without_a_list_is_named() -> None:
    truth = [{"easy": [0], "hard": [], "junk": []}] * 2 + [{"easy": [0], "junk": []}]
    with pytest.raises(DataError, match=r"query 2.*'hard'"):
        revisited_metrics(Q, G, truth)


def test_evaluations_at_the_same_time_do_not_disturb_each_other() -> None:
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(3, 300, 8)).astype(np.float32)
    labels = np.arange(300) // 6

    def measure(of: int) -> RetrievalMetrics:
        return label_metrics(vectors[of], vectors[of], labels, labels, KS, same_set=True)

    alone = [measure(of) for of in range(3)]
    together: dict[int, RetrievalMetrics] = {}

    def work(of: int) -> None:
        together[of] = measure(of)

    threads = [threading.Thread(target=work, args=(of,)) for of in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for of in range(3):
        assert_same_bits(together[of], alone[of])
