"""Weights to damage, and what must hold of whatever becomes of them."""

from pathlib import Path
from typing import Any

import torch
from guard import refused_or_fine
from hypothesis import strategies as st

from ram_cli import load_model

VALUES = st.sampled_from([
    -1, 0, 1, 2, 8, 2**15, 2**31, 2**63, 10**30, -0.5, 1e308, float("nan"), float("inf"), True,
    None, "", "x", "../../x", "\x1b[31m", "a\nb",
    [], [1], [0, 0, 0], [1e-320] * 3, [float("nan")] * 3,
    ["a", "b", "c"], [2**70] * 3, {}, {"a": 1}, "timm:test_vit", "timm:hf-hub:owner/name",
    "timm:local-dir:/etc", "torchvision:resnet18", "timm:test_resnet.\n", "gem", "rmac", "mac",
])  # fmt: skip
DAMAGE = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 4), st.integers(0, 255)),
    min_size=1,
    max_size=3,
)


def check(path: Path, place: Path, reads: Any = load_model) -> None:
    """Load; a model that does load embeds, or says in a line why it cannot."""
    with refused_or_fine(place / "nowhere") as said:
        found = reads(path)
        if reads is load_model:
            assert all(value.isfinite().all() for value in found.parameters())
            if found.spec.size <= 64:
                found(torch.zeros(1, 3, found.spec.size, found.spec.size))
    assert not any(len(line) > 1000 for line in said), said
