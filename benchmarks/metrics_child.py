"""One evaluation by one library, in a process of its own; `benchmarks/metrics.py` starts it.

    python benchmarks/metrics_child.py LIBRARY VECTORS.npy LABELS.npy LIMIT_GIB

Prints one line of JSON: seconds, CPU seconds, memory and values. Nothing of `ram` is imported for
another library, so that the libraries may live in an environment of their own.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

Values = dict[str, float]
STRIP = 256
"""Queries whose scores are held at once, where the library leaves that to its user."""


def ram(vectors: Tensor, labels: Tensor) -> Values:
    """`label_metrics`, which gives all of its metrics at once."""
    from ram_cli.evaluation import label_metrics

    known = labels.numpy()
    found = label_metrics(vectors, vectors, known, known, [1, 10, 100, 1000], same_set=True)
    return {
        "AP": found.standard_map,
        "mAP@R": found.map_at_r,
        "R@1": float(found.recall_at[0]),
        "trapezoids": found.map,
    }


def accuracy_calculator(vectors: Tensor, labels: Tensor, k: str | None) -> Values:
    """pytorch-metric-learning with its own search (faiss); k None is the whole ranking."""
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    wanted = ("precision_at_1", "mean_average_precision_at_r")
    if k is None:
        wanted = (*wanted, "mean_average_precision")
    calculator = AccuracyCalculator(include=wanted, k=k, device=torch.device("cpu"))
    found = calculator.get_accuracy(vectors, labels, vectors, labels, ref_includes_query=True)
    names = {
        "precision_at_1": "R@1",
        "mean_average_precision_at_r": "mAP@R",
        "mean_average_precision": "AP",
    }
    return {names[name]: float(value) for name, value in found.items()}


def retrieval_map(vectors: Tensor, labels: Tensor) -> Values:
    """torchmetrics' metric class: every score of every query is handed over, then computed."""
    from torchmetrics.retrieval import RetrievalMAP

    metric = RetrievalMAP()
    for rows, scores, relevant in strips(vectors, labels):
        queries = rows[:, None].expand_as(scores)
        others = torch.arange(len(vectors)) != queries
        metric.update(scores[others], relevant[others], queries[others])
    return {"AP": float(metric.compute())}


def retrieval_functional(vectors: Tensor, labels: Tensor) -> Values:
    """torchmetrics' functions, called for one query at a time."""
    from torchmetrics.functional.retrieval import retrieval_average_precision, retrieval_hit_rate

    precision, hits = [], []
    for rows, scores, relevant in strips(vectors, labels):
        for row, score, right in zip(rows.tolist(), scores, relevant, strict=True):
            score, right = drop(score, row), drop(right, row)
            if right.any():
                precision.append(retrieval_average_precision(score, right))
                hits.append(retrieval_hit_rate(score, right, top_k=1))
    return {"AP": float(torch.stack(precision).mean()), "R@1": float(torch.stack(hits).mean())}


def drop(row: Tensor, place: int) -> Tensor:
    """A row without its own image."""
    return torch.cat([row[:place], row[place + 1 :]])


def strips(vectors: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Queries, scores and what is relevant; above 0, for torchmetrics takes no other score."""
    for rows in torch.arange(len(vectors)).split(STRIP):
        yield rows, vectors[rows] @ vectors.T + 2, labels[rows, None] == labels


def open_metric_learning(vectors: Tensor, labels: Tensor) -> Values:
    """OML's search and metrics, over the whole ranking."""
    from oml.functional.knn import batched_knn
    from oml.functional.metrics import calc_retrieval_metrics

    everything = torch.arange(len(vectors))
    _, retrieved, relevant = batched_knn(
        vectors, everything, everything, top_n=len(vectors), labels_gt=labels
    )
    found = calc_retrieval_metrics(
        retrieved,
        relevant,
        cmc_top_k=(1,),
        precision_top_k=(),
        map_top_k=(len(vectors),),
        verbose=False,
    )
    return {"AP": float(found["map"][len(vectors)]), "R@1": float(found["cmc"][1])}


LIBRARIES: dict[str, Callable[[Tensor, Tensor], Values]] = {
    "ram": ram,
    "pml-r": lambda vectors, labels: accuracy_calculator(vectors, labels, "max_bin_count"),
    "pml-full": lambda vectors, labels: accuracy_calculator(vectors, labels, None),
    "torchmetrics": retrieval_map,
    "torchmetrics-rows": retrieval_functional,
    "oml": open_metric_learning,
}


def status(name: str) -> int:
    """A line of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(name + ":")]
    return int(line.split()[1]) * 1024


def main() -> None:
    name, vectors_file, labels_file, limit = sys.argv[1:]
    evaluate = LIBRARIES[name]
    try:
        vectors = torch.from_numpy(np.load(vectors_file))
        labels = torch.from_numpy(np.load(labels_file))
        evaluate(vectors[:1024], labels[:1024])  # imports, compiles, starts threads
        before = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        # address space on top of what is mapped already
        most = status("VmSize") + int(float(limit) * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        wall, cpu = time.perf_counter(), time.process_time()
        values = evaluate(vectors, labels)
        result = {
            "seconds": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "bytes": status("VmHWM") - before,
            "values": values,
        }
    except ImportError as error:
        result = {"fault": f"not installed ({error.name})"}
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
            raise
        result = {"fault": f"needs more than {limit} GiB"}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
