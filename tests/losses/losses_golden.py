"""Numbers of the published code, as tensors, and the closeness asked of them."""

from functools import cache
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parents[1] / "golden"
PRECISIONS = [(torch.float64, "f64"), (torch.float32, "f32")]


@cache
def golden(name):
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays}


def assert_golden(actual, expected, dtype):
    """1e-10 relative in float64, 1e-5 in float32, where a gradient may hold tiny entries."""
    relative = 1e-10 if dtype == torch.float64 else 1e-5
    expected = expected.to(torch.float64)
    scale = float(expected.abs().max())
    assert actual.dtype == dtype
    torch.testing.assert_close(
        actual.detach().to(torch.float64), expected, rtol=relative, atol=relative * scale
    )


def leaf(tensor, dtype):
    return tensor.to(dtype).clone().requires_grad_()


def unit(generator, *shape, dtype=torch.float64):
    vectors = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(vectors, dim=-1).to(dtype)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)
