"""Memory stays bounded where a matrix of all scores, or a whole stream, would not fit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, resource, sys
import numpy as np, torch
import ram_cli.evaluation as evaluation

lazy = "numba" not in sys.modules
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # MiB
torch.set_num_threads(2)
rng = np.random.default_rng(0)
vectors = rng.standard_normal((16_000, 32), np.float32)  # all scores: 977 MiB
labels = np.arange(len(vectors)) // 4
few = vectors[:50], vectors[:50], labels[:50], labels[:50]
evaluation.label_metrics(*few, [1], same_set=True)

def distractors():
    yield vectors[:100]
    for _ in range(30):  # together: 366 MiB
        yield np.ones((100_000, 32), np.float32)

start = peak()
evaluation.retrieval_metrics(vectors[:9], distractors(), [[0]] * 9, None, [1])
stream = peak() - start
start = peak()
metrics = evaluation.label_metrics(vectors, vectors, labels, labels, [1], same_set=True)
matrix = peak() - start
print(json.dumps(
    {"lazy": lazy, "matrix": matrix, "stream": stream, "queries": metrics.queries}
))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_memory_is_bounded() -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    report = json.loads(done.stdout)
    assert report["queries"] == 16_000
    assert report["lazy"], "importing ram_cli.evaluation imported numba"
    assert report["matrix"] < 400
    assert report["stream"] < 120
    assert done.stderr == ""
