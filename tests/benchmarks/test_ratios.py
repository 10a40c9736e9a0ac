"""Ratios to plain implementations, in CPU time and with wide bounds: no speed sinks unnoticed.

A bound holds if the best of some rounds keeps it: other work on the machine makes rounds slower,
never faster. Both sides of a ratio run in turn.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ram_cli.evaluation import label_metrics

pytestmark = pytest.mark.slow


def best_ratio(work: Callable[[], object], other: Callable[[], object], rounds: int) -> float:
    """Least CPU time of `work`, over that of `other` in the same number of rounds."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        for run, found in zip((work, other), times, strict=True):
            start = time.process_time()
            run()
            found.append(time.process_time() - start)
    return min(times[0][1:]) / min(times[1][1:])


def test_evaluation_costs_little_more_than_its_matrix_product() -> None:
    from evaluation import blend_classes, make_labels, make_vectors

    vectors, labels = make_vectors(3000, 512), make_labels(3000, 0)
    blend_classes(vectors, labels)
    product = torch.empty(3000, 3000)
    ratio = best_ratio(
        lambda: label_metrics(vectors, vectors, labels, labels, [1, 10], same_set=True),
        lambda: torch.mm(vectors, vectors.T, out=product),
        rounds=5,
    )
    assert ratio < 3  # 1.7 when this was written


def test_coupled_views_cost_less_than_half_of_plain_ones(tmp_path: Path) -> None:
    from views import PlainViews

    from ram_cli.datasets import load_dataset
    from ram_cli.views import CoupledViews, ViewKey

    images = load_dataset("furniture", tmp_path).train
    ours = CoupledViews(images, 96, 224, 8, seed=0)
    plain = PlainViews(images, 96, 224, 8)
    key = ViewKey(image=0, epoch=0, position=0, partner=9)
    assert best_ratio(lambda: ours[key], lambda: plain[key], rounds=4) < 1 / 2  # 1 / 9


def test_help_costs_a_fraction_of_loading_torch() -> None:
    def seconds(*arguments: str) -> float:
        running = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
        assert running.returncode == 0
        return used.ru_utime + used.ru_stime

    helping = min(seconds("-m", "ram_cli", "--help") for _ in range(2))
    assert helping < seconds("-c", "import torch") / 2  # a tenth
