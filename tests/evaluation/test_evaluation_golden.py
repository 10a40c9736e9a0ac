"""Metrics of the published evaluation code on fixed rankings."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ram_cli.evaluation import (
    RetrievalMetrics,
    label_metrics,
    oxford_metrics,
    retrieval_metrics,
    revisited_metrics,
)
from ram_cli.evaluation.metrics import query_metrics

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = (
    "fg_random", "fg_vecs", "fg_singletons", "edge", "edge_k_bigger_than_db", "no_kappas",
    "kappa_beyond_last_positive", "ok_and_junk_overlap",
)  # fmt: skip


def load(name: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return json.loads((GOLDEN / f"{name}.json").read_text()), dict(arrays)


def vectors_ranked_as(ranks: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Query and gallery vectors whose rankings are the columns of `ranks` `[G, Q]`."""
    gallery_size, queries = ranks.shape
    gallery = np.zeros((gallery_size, queries))
    for query in range(queries):
        gallery[ranks[:, query], query] = -np.arange(gallery_size)
    return np.eye(queries), gallery


def check(metrics: RetrievalMetrics, arrays: dict[str, NDArray[Any]], case: str) -> None:
    names = {"map": "map", "aps": "ap", "pr": "precision_at", "apk": "map_at", "rec": "recall_at"}
    seen = [name for name in names if f"{case}_{name}" in arrays]
    assert len(seen) >= 3
    for name in seen:
        np.testing.assert_allclose(
            getattr(metrics, names[name]), arrays[f"{case}_{name}"], rtol=1e-12, err_msg=name
        )


@pytest.mark.parametrize("source", ["eval_raml", "eval_cirtorch"])
@pytest.mark.parametrize("case", CASES)
def test_published_metrics(source: str, case: str) -> None:
    facts, arrays = load(source)
    query, gallery = vectors_ranked_as(arrays[f"{case}_ranks"])
    truth, ks = facts[case]["gnd"], facts[case]["kappas"]
    positives = [entry["ok"] for entry in truth]
    junk = [entry.get("junk", []) for entry in truth]
    metrics = retrieval_metrics(query, gallery, positives, junk, ks)
    check(metrics, arrays, case)
    assert metrics.ks == tuple(ks)
    assert metrics.queries == sum(bool(entry["ok"]) for entry in truth)


@pytest.mark.parametrize("case", ["fg_random", "fg_singletons"])
def test_published_metrics_from_labels(case: str) -> None:
    facts, arrays = load("eval_raml")
    query, gallery = vectors_ranked_as(arrays[f"{case}_ranks"])
    labels = arrays.get(f"{case}_labels", np.arange(30) // 5)
    metrics = label_metrics(query, gallery, labels, labels, facts[case]["kappas"], same_set=True)
    check(metrics, arrays, case)


def test_published_metrics_of_vectors() -> None:
    _, arrays = load("eval_raml")
    vectors, labels = arrays["fg_vecs"].T, arrays["fg_labels"]
    metrics = label_metrics(vectors, vectors, labels, labels, [1, 4, 8], same_set=True)
    check(metrics, arrays, "fg_vecs")


def test_rankings_cut_short() -> None:
    facts, arrays = load("eval_raml")
    ranked = arrays["truncated_ranks_ranks"].T
    ranks = [
        [place - sum(np.isin(row[:place], entry["junk"])) for place in range(len(row))
         if row[place] in entry["ok"]]
        for row, entry in zip(ranked, facts["truncated_ranks"]["gnd"], strict=True)
    ]  # fmt: skip
    offsets = np.cumsum([0] + [len(item) for item in ranks])
    metrics = query_metrics(
        np.concatenate(ranks).astype(np.int64), offsets, [1, 4, 8], np.full(4, 6)
    )
    np.testing.assert_allclose(metrics.ap, arrays["truncated_ranks_aps"], rtol=1e-12)
    np.testing.assert_allclose(metrics.precision_at, arrays["truncated_ranks_prs"], rtol=1e-12)
    for name, values in (("apk", metrics.map_at), ("rec", metrics.recall_at)):
        np.testing.assert_allclose(values.mean(axis=0), arrays[f"truncated_ranks_{name}"])


@pytest.mark.parametrize("case", ["basic", "rank0", "partial", "empty"])
def test_published_average_precision(case: str) -> None:
    _, arrays = load("eval_raml")
    *ranks, positives = arrays[f"ap_{case}_in"]
    metrics = query_metrics(
        np.array(ranks, np.int64), np.array([0, len(ranks)]), [], np.array([positives])
    )
    np.testing.assert_allclose(metrics.ap, [arrays[f"ap_{case}_out"]], rtol=1e-12)


def test_revisited_protocol() -> None:
    facts, arrays = load("eval_cirtorch")
    query, gallery = vectors_ranked_as(arrays["rox_ranks"])
    metrics = revisited_metrics(query, gallery, facts["rox"]["gnd"], [1, 5, 10])
    for letter, name in (("E", "easy"), ("M", "medium"), ("H", "hard")):
        check(getattr(metrics, name), arrays, f"rox_{letter}")


def test_old_oxford_protocol() -> None:
    facts, arrays = load("eval_cirtorch")
    query, gallery = vectors_ranked_as(arrays["rox_ranks"])
    metrics = oxford_metrics(query, gallery, facts["oxford5k"]["gnd"])
    np.testing.assert_allclose(metrics.map, arrays["oxford5k_map"], rtol=1e-12)
