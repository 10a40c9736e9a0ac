"""How good a training is by when, and how much sooner than another one it is as good."""

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from peers import tree_cpu_seconds
from torch import Tensor

from ram_cli.datasets import ImageSet
from ram_cli.engine import Runtime
from ram_cli.evaluation import label_metrics
from ram_cli.evaluation.extract import embed_images
from ram_cli.models import Embedder


class Curve:
    """Points of one training; wall and CPU time stand still while one is taken.

    Args:
        images: Classes that were not trained on.
        gallery: The teacher's vectors of them `[N, D]`.
    """

    def __init__(self, images: ImageSet, gallery: Tensor) -> None:
        self.images, self.gallery = images, gallery
        self.points: list[dict[str, float]] = []
        self.wall, self.cpu = -time.perf_counter(), -tree_cpu_seconds()
        self.total = (0.0, 0.0)

    def take(self, network: Embedder, epoch: int) -> dict[str, float]:
        """Asymmetric and symmetric mAP of a student, and what was spent on it."""
        with self.stopped() as (wall, cpu):
            # a plain runtime: what measures must be the same on both sides
            query = embed_images(network, self.images, runtime=Runtime(torch.device("cpu"), "fp32"))
            asym, sym = (100 * self.mean_ap(query, side) for side in (self.gallery, query))
            self.points.append({"epoch": epoch, "wall": wall, "cpu": cpu, "asym": asym, "sym": sym})
        return {"score": asym, "mAP": asym}

    def mean_ap(self, query: Tensor, gallery: Tensor) -> float:
        labels = self.images.labels
        return label_metrics(query, gallery, labels, labels, (1,), same_set=True).map

    @contextmanager
    def stopped(self) -> Iterator[tuple[float, float]]:
        """Time spent so far; what is spent inside does not count."""
        wall, cpu = time.perf_counter(), tree_cpu_seconds()
        yield self.wall + wall, self.cpu + cpu
        self.wall -= time.perf_counter() - wall
        self.cpu -= tree_cpu_seconds() - cpu

    def end(self) -> dict[str, object]:
        """All of it, as it is kept."""
        wall, cpu = self.wall + time.perf_counter(), self.cpu + tree_cpu_seconds()
        return {"points": self.points, "wall": wall, "cpu": cpu}


def seconds_until(run: Mapping[str, object], target: float, clock: str) -> float | None:
    """Time at which the line through the points first is at an asymmetric mAP, if it ever is."""
    before: Mapping[str, float] | None = None
    for point in run["points"]:  # type: ignore[attr-defined]
        if point["asym"] >= target:
            if before is None:
                return float(point[clock])
            share = (target - before["asym"]) / (point["asym"] - before["asym"])
            return float(before[clock] + share * (point[clock] - before[clock]))
        before = point
    return None


def spread(values: list[float]) -> str:
    """Mean and sample standard deviation."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def ratio(runs: list[dict[str, object]], plain: list[dict[str, object]], clock: str) -> str:
    """How many times sooner the final mAP of the plain training is reached; median of the seeds.

    The plain training may have reached it before its end; then that is what counts.
    """
    found = []
    for run, reference in zip(runs, plain, strict=True):
        target = reference["points"][-1]["asym"]  # type: ignore[index]
        reached, known = (seconds_until(one, target, clock) for one in (run, reference))
        if reached is not None and known is not None:
            found.append(known / reached)
    if len(found) < len(runs):
        return f"{len(found)} of {len(runs)} seeds reach it"
    return f"{statistics.median(found):.1f} ×"


def print_table(rows: Mapping[str, list[dict[str, object]]], reference: str) -> None:
    """Markdown: a row for each training, compared with the one that `reference` names."""
    print(
        "\n| training | asym mAP | sym mAP | wall, s | CPU, s | sooner at the published final mAP, "
        "wall | CPU |\n|---|---:|---:|---:|---:|---:|---:|"
    )
    for name, runs in rows.items():
        last = [run["points"][-1] for run in runs]  # type: ignore[index]
        asym, sym = (spread([point[side] for point in last]) for side in ("asym", "sym"))
        wall, cpu = (statistics.median([run[clock] for run in runs]) for clock in ("wall", "cpu"))  # type: ignore[type-var]
        sooner = " | ".join(ratio(runs, rows[reference], clock) for clock in ("wall", "cpu"))
        print(f"| {name} | {asym} | {sym} | {wall:.0f} | {cpu:.0f} | {sooner} |")
