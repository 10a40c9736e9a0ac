"""Every distillation method through the command line, on tiny networks."""

import json
import math
from pathlib import Path

import pytest
from tiny_runs import DISTILL

from ram_cli import load_model


def losses(run: str) -> list[float]:
    lines = [json.loads(line) for line in Path(run, "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "train"]


@pytest.mark.parametrize("mode", ["reg", "cross_entropy", "rkd", "darkrank"])
def test_methods_on_plain_views(teacher, images, call, mode):
    code, _, err = call(
        *DISTILL, "--mode", mode, "--dataset", images, "--teacher", teacher, "--student", teacher,
        "--epochs", "3", "--output", "student", "--no-val", "--log-every", "1",
    )  # fmt: skip
    assert code == 0, err
    seen = losses("student")
    assert all(math.isfinite(loss) for loss in seen)
    assert sum(seen[-3:]) < sum(seen[:3])
    assert load_model("student/final").dimension == 16


def test_batches_too_small_to_compare_are_refused(teacher, images, call):
    words = [*DISTILL, "--dataset", images, "--teacher", teacher, "--student", teacher]
    code, _, err = call(*words, "--method", "rkd", "--batch-size", "2")
    assert code == 2
    assert "batch_size" in err
    assert not list(Path("runs").glob("*"))
