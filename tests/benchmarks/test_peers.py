"""What is compared with must be what it claims to be."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from ram_cli.losses import coupled_loss


def unit(*shape: int) -> torch.Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(7)), dim=-1)


@pytest.mark.parametrize("views", [1, 4])
def test_the_published_loss_is_that_of_ram_summed_over_images(views: int) -> None:
    from published import Budget, published_loss

    both = unit(2, 3, views, 16)
    budget = Budget(1, 3, 3, 1, views, 1e-4, 0, lambda_ts=0.6, lambda_ss=0.8)
    ours = coupled_loss(*both, lambda_ts=0.6, lambda_ss=0.8)["loss"]
    assert float(published_loss(*both, budget)) == pytest.approx(3 * float(ours), rel=1e-4)


def test_time_until_a_score_lies_on_the_line_between_two_points() -> None:
    from curves import seconds_until

    points = [{"asym": 40.0, "wall": 10.0}, {"asym": 50.0, "wall": 20.0}]
    assert seconds_until({"points": points}, 45, "wall") == 15
    assert seconds_until({"points": points}, 39, "wall") == 10
    assert seconds_until({"points": points}, 51, "wall") is None


def test_a_training_is_compared_with_the_first_time_the_plain_one_was_as_good() -> None:
    from curves import ratio

    plain = {"points": [{"asym": 50.0, "wall": 20.0}, {"asym": 50.0, "wall": 40.0}]}
    fast = {"points": [{"asym": 40.0, "wall": 1.0}, {"asym": 60.0, "wall": 3.0}]}
    never = {"points": [{"asym": 49.0, "wall": 1.0}]}
    assert ratio([plain], [plain], "wall") == "1.0 ×"
    assert ratio([fast, fast], [plain, plain], "wall") == "10.0 ×"
    assert ratio([fast, never], [plain, plain], "wall") == "1 of 2 seeds reach it"


def test_values_of_ram_are_those_counted_by_hand() -> None:
    from metrics_child import LIBRARIES

    # pairs, of which the first is torn apart: image 1 shows what 2 and 3 show
    vectors = torch.eye(8).repeat_interleave(2, dim=0)
    vectors[1] = vectors[2]
    values = LIBRARIES["ram"](vectors, torch.arange(16) // 2)
    # From 0 all are equally far, and 1 is the first of them. From 1, 2 and 3 come before 0. From 2
    # and 3, 1 comes before the other, as the earlier of two equals.
    assert values["R@1"] == pytest.approx(13 / 16)
    assert values["AP"] == pytest.approx((12 + 1 + 1 / 3 + 1 / 2 + 1 / 2) / 16)


@pytest.mark.slow
def test_a_library_that_is_missing_is_named(tmp_path: Path, scripts: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.eye(4, dtype=np.float32))
    np.save(tmp_path / "labels.npy", np.array([0, 0, 1, 1]))
    (tmp_path / "oml.py").write_text("raise ImportError(name='oml')\n")
    told = subprocess.run(
        [sys.executable, scripts / "metrics_child.py", "oml", "vectors.npy", "labels.npy", "8"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        check=True,
    )
    assert json.loads(told.stdout) == {"fault": "not installed (oml)"}
