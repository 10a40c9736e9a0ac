"""Time and memory of exact evaluation beside the bare matrix product it cannot do without.

    python benchmarks/evaluation.py                    # size of the SOP test set, minutes
    python benchmarks/evaluation.py --size 10000       # seconds
    python benchmarks/evaluation.py --class-size 1000  # many positives per query

Every image is a query against all others, as in the zero-shot protocol. After each strip of
queries the bare float32 product of the same queries with the gallery is timed, so that both suffer
from the same noise.
"""

import argparse
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from ram_cli.evaluation import RetrievalMetrics, label_metrics


class BareProducts:
    """A reporter that multiplies the queries of every strip once more, without evaluating."""

    def __init__(self, vectors: torch.Tensor) -> None:
        self.vectors = vectors
        # as much as a strip of the evaluation; touched here: it is not the evaluation's memory
        rows = min(len(vectors), (128 << 20) // (4 * len(vectors)) + 1)
        self.buffer = torch.ones(rows, len(vectors))
        self.done = 0
        self.mark = 0.0
        self.memory = 0
        self.bare: list[float] = []
        self.evaluation: list[float] = []

    def start(self) -> None:
        """Begin to watch time and memory."""
        self.memory = -peak_bytes()
        self.mark = time.perf_counter()

    def stop(self) -> None:
        """Count what came after the last strip as well."""
        self.evaluation[-1] += time.perf_counter() - self.mark
        self.memory += peak_bytes()

    @contextmanager
    def task(
        self, description: str, total: int | None, unit: str = "images", done: int = 0
    ) -> Iterator["BareProducts"]:
        yield self

    def advance(self, amount: int = 1, **values: float | str) -> None:
        now = time.perf_counter()
        self.evaluation.append(now - self.mark)
        queries = self.vectors[self.done : self.done + amount]
        torch.mm(queries, self.vectors.T, out=self.buffer[:amount])
        self.done += amount
        self.mark = time.perf_counter()
        self.bare.append(self.mark - now)

    def note(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...


def make_vectors(size: int, dimension: int) -> torch.Tensor:
    """Unit vectors, made without temporary memory that would hide a later peak."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.empty(size, dimension)
    for chunk in vectors.split(1024):
        chunk.normal_(generator=generator)
        chunk /= chunk.norm(dim=1, keepdim=True)
    return vectors


def make_labels(size: int, class_size: int) -> np.ndarray:
    """Classes of one size, or of 2 to 12 images, 5.3 on average, as in SOP."""
    if class_size:
        return np.arange(size) // class_size
    generator = np.random.default_rng(0)
    sizes = 2 + generator.binomial(10, 0.33, size)
    return np.repeat(np.arange(size), sizes)[:size]


def blend_classes(vectors: torch.Tensor, labels: np.ndarray) -> None:
    """Draw the vectors of a class towards its first one, so that rankings are realistic."""
    first = torch.from_numpy(np.searchsorted(labels, labels))
    for rows in torch.arange(len(vectors)).split(1024):
        chunk = vectors[rows] + 0.45 * vectors[first[rows]]
        vectors[rows] = chunk / chunk.norm(dim=1, keepdim=True)


def peak_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(size: int, dimension: int, class_size: int) -> tuple[BareProducts, RetrievalMetrics]:
    vectors, labels = make_vectors(size, dimension), make_labels(size, class_size)
    blend_classes(vectors, labels)
    warm = min(size, 2048)
    for _ in range(2):  # compile, start threads
        label_metrics(
            vectors[:warm], vectors[:warm], labels[:warm], labels[:warm], [1], same_set=True
        )
    probe = BareProducts(vectors)
    probe.start()
    metrics = label_metrics(
        vectors, vectors, labels, labels, [1, 10, 100, 1000], same_set=True, reporter=probe
    )
    probe.stop()
    return probe, metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=60_502, help="images, all of them queries")
    parser.add_argument("--dim", type=int, default=512, help="dimensions of a vector")
    parser.add_argument("--class-size", type=int, default=0, help="images per class; 0: like SOP")
    arguments = parser.parse_args()
    probe, metrics = measure(arguments.size, arguments.dim, arguments.class_size)
    bare, evaluation = sum(probe.bare), sum(probe.evaluation)
    ratio = np.median(np.array(probe.evaluation) / np.array(probe.bare))
    print(f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")
    print()
    print("| images | dim | bare product | evaluation | ratio | median ratio | peak memory | mAP |")
    print("|---|---|---|---|---|---|---|---|")
    print(
        f"| {arguments.size:,} | {arguments.dim} | {bare:.1f} s | {evaluation:.1f} s "
        f"| {evaluation / bare:.2f} | {ratio:.2f} | {probe.memory / 2**20:.0f} MiB "
        f"| {100 * metrics.map:.2f} |"
    )


if __name__ == "__main__":
    main()
