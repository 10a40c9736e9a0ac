"""Scripts that take long at their own sizes: that they run and measure, at the least of sizes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ram_cli.models import build_embedder, save_model

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


def run(script: str, *words: object) -> str:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / script), *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_quality_measures_both_sides(tmp_path):
    torch.manual_seed(0)
    teacher = build_embedder("timm:test_resnet", pretrained=False, dimension=16, input_size=32)
    save_model(teacher, tmp_path / "teacher", provenance={})
    out = run(
        "quality.py", "--teacher", tmp_path / "teacher", "--student", tmp_path / "teacher",
        "--work", tmp_path / "work", "--size", 16, "--images", 8, "--points", 2, "--views", 2,
        "--batch", 2, "--seeds", 1, "--rows", "--views 4",
    )  # fmt: skip
    kept = json.loads((tmp_path / "work" / "results.json").read_text())["runs"]
    assert len(kept) == 2
    for row in kept.values():
        assert [point["epoch"] for point in row["points"]] == [1, 2]
        assert 0 < row["points"][0]["wall"] < row["points"][1]["wall"] <= row["wall"]
        assert all(0 < point["asym"] < 100 and 0 < point["sym"] < 100 for point in row["points"])
    assert "`ram distill --views 4 --batch-size 4 --lr 2e-4`" in out


@pytest.mark.slow
def test_summary_writes_its_table(tmp_path):
    table = tmp_path / "table.md"
    run("summary.py", "--images", tmp_path, "--to", table, "--rounds", 1, "--parts", "start")
    lines = table.read_text().splitlines()
    assert [line.split("|")[1].strip() for line in lines[4:]] == [
        "`ram --help`",
        "a checkpoint of a ResNet-50, 281 MiB, with checksums",
    ]
