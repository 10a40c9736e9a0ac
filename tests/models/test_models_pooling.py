"""Poolings against the published code's numbers, slow loops and their own gradients."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ram_cli.errors import ModelError
from ram_cli.models.pooling import (
    POOLINGS,
    Gem,
    LocalWhitening,
    Regional,
    Rmac,
    build_pooling,
    full_precision,
    l2_normalise,
    region_grid,
)

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "poolings.npz")
SIZES = ["7x9", "9x7", "8x8", "5x16", "2x3", "1x1", "1x4"]
PRECISIONS = {"f64": (torch.float64, 1e-10), "f32": (torch.float32, 1e-5)}


def golden(name: str, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.from_numpy(GOLDEN[name]).to(dtype)


def pooling_of(name: str) -> nn.Module:
    if name == "gem237":
        return with_power(Gem(), torch.tensor([2.37]))
    if name == "gemmp":
        return with_power(Gem(16), golden("gemmp_p"))
    if name.startswith("rmac"):
        return Rmac(int(name[-1]))
    return build_pooling(name.removesuffix("3"), 16)


def with_power(pooling: Gem, power: torch.Tensor) -> Gem:
    pooling.p = nn.Parameter(power)
    return pooling


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["mac", "spoc", "gem3", "gem237", "gemmp", "rmac3", "rmac2"])
def test_pooling_equals_the_published_numbers(name: str, size: str, precision: str) -> None:
    dtype, tolerance = PRECISIONS[precision]
    pool = pooling_of(name).to(dtype)
    for prefix, signed in (("x", ""), ("xsigned", "_signed")):
        result = pool(golden(f"{prefix}_{size}", dtype))
        expected = golden(f"{name}{signed}_{size}_{precision}", dtype)[:, :, 0, 0]
        torch.testing.assert_close(result, expected, rtol=tolerance, atol=tolerance * 0.1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("power", [3.0, 2.37])
def test_gem_gradients_equal_the_published_ones(power: float, size: str) -> None:
    features = golden(f"x_{size}").requires_grad_()
    pool = with_power(Gem(), torch.tensor([power]).double())
    pool(features).backward(golden("gem_grad_cotangent")[:, :, 0, 0])
    name = f"gem{round(power * 100)}"
    assert features.grad is not None
    assert pool.p.grad is not None
    expected = golden(f"{name}_gradx_{size}")
    torch.testing.assert_close(features.grad, expected, rtol=1e-9, atol=1e-12)
    expected = golden(f"{name}_gradp_{size}")
    torch.testing.assert_close(pool.p.grad, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("inner", ["mac", "gem"])
def test_regional_pooling_equals_the_published_numbers(
    inner: str, size: str, precision: str
) -> None:
    dtype, tolerance = PRECISIONS[precision]
    features = golden(f"x_{size}", dtype)
    key = f"rpool_{'gem3' if inner == 'gem' else inner}"
    plain = build_pooling(inner, 16, regional=True).to(dtype)
    expected = golden(f"{key}_agg_{size}_{precision}", dtype)[:, :, 0, 0]
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(plain(features), expected, **close)

    whitened = build_pooling(inner, 16, regional=True, regional_whitening=True).to(dtype)
    assert isinstance(whitened, Regional)
    assert whitened.whitening is not None
    with torch.no_grad():
        whitened.whitening.weight.copy_(golden("rpool_whiten_W", torch.float32))
        whitened.whitening.bias.copy_(golden("rpool_whiten_b", torch.float32))
    expected = golden(f"{key}_whiten_agg_{size}_{precision}", dtype)[:, :, 0, 0]
    torch.testing.assert_close(whitened(features), expected, **close)


def test_l2_normalise_equals_the_published_numbers_and_keeps_zero() -> None:
    result = l2_normalise(golden("l2n_in"))
    torch.testing.assert_close(result, golden("l2n_f64"), rtol=1e-12, atol=1e-15)
    assert not result[2].any()


def test_gradient_of_a_zero_vector_is_finite() -> None:
    vector = torch.zeros(1, 4, requires_grad=True)
    l2_normalise(vector).sum().backward()
    assert vector.grad is not None
    assert vector.grad.isfinite().all()


@pytest.mark.parametrize("power", [3.0, 12.0, 60.0])
def test_gem_survives_large_powers_on_silent_and_loud_channels(power: float) -> None:
    features = torch.tensor([0.0, 1e-3, 1e4]).view(1, 3, 1, 1).repeat(1, 1, 4, 4)
    features[:, :, 0, 0] *= 2
    features.requires_grad_()
    pool = with_power(Gem(), torch.tensor([power]))
    result = pool(features)
    result.sum().backward()
    assert features.grad is not None
    assert pool.p.grad is not None
    assert result.isfinite().all()
    assert features.grad.isfinite().all()
    assert pool.p.grad.isfinite().all()
    scaled = features.double().clamp(min=1e-6) * torch.tensor([1e6, 1e3, 1e-4]).view(1, 3, 1, 1)
    exact = scaled.pow(power).mean(dim=(2, 3)).pow(1 / power) / torch.tensor([1e6, 1e3, 1e-4])
    torch.testing.assert_close(result.double(), exact.double(), rtol=1e-4, atol=0.0)


@pytest.mark.parametrize("name", ["gem", "gemmp", "spoc", "mac", "rmac"])
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_maps_are_pooled_in_float32_under_autocast(
    name: str, half: torch.dtype
) -> None:
    features = (torch.rand(2, 8, 5, 5, generator=torch.Generator().manual_seed(0)) * 1e-3).to(half)
    pool = build_pooling(name, 8)
    layer = LocalWhitening(8)
    with torch.autocast("cpu", dtype=torch.bfloat16), full_precision(features) as wide:
        result, whitened = pool(wide), layer(wide)
    assert result.dtype == whitened.dtype == torch.float32
    torch.testing.assert_close(result, pool(features.float()), rtol=1e-6, atol=0.0)
    if name in {"gem", "gemmp"}:
        assert (result > 1e-6).all()
        # The same formula in half precision loses these values altogether.
        assert not (features.clamp(min=1e-6).to(torch.float16) ** 3).any()


def test_local_whitening_is_a_linear_layer_at_every_position() -> None:
    layer, features = LocalWhitening(6), torch.rand(2, 6, 3, 4)
    result = layer(features)
    for row in range(3):
        for column in range(4):
            expected = layer.linear(features[:, :, row, column])
            torch.testing.assert_close(result[:, :, row, column], expected)


@settings(deadline=None, max_examples=60)
@given(height=st.integers(1, 40), width=st.integers(1, 40), levels=st.integers(1, 4))
def test_regions_lie_inside_the_map_and_reach_its_borders(
    height: int, width: int, levels: int
) -> None:
    regions = region_grid(height, width, levels)
    assert all(region.size >= 1 for region in regions)
    assert max(region.top + region.size for region in regions) == height
    assert max(region.left + region.size for region in regions) == width
    assert min(region.top for region in regions) == min(region.left for region in regions) == 0


def test_regions_of_a_square_map_count_as_in_the_paper() -> None:
    assert len(region_grid(12, 12)) == 1 + 4 + 9


def test_pooling_does_not_depend_on_channels_last() -> None:
    features = torch.rand(2, 8, 6, 7)
    last = features.to(memory_format=torch.channels_last)
    for name in POOLINGS.keys() - {"none"}:
        pool = build_pooling(name, 8)
        torch.testing.assert_close(pool(last), pool(features), rtol=1e-6, atol=1e-7)


def test_no_pooling_asks_for_a_single_position() -> None:
    pool = build_pooling("none", 4)
    assert pool(torch.ones(2, 4, 1, 1)).shape == (2, 4)
    with pytest.raises(ModelError):
        pool(torch.ones(2, 4, 2, 1))


@pytest.mark.parametrize(
    ("name", "options"),
    [("average", {}), ("rmac", {"regional": True}), ("gem", {"regional_whitening": True})],
)
def test_impossible_poolings_are_refused(name: str, options: dict[str, bool]) -> None:
    with pytest.raises(ModelError):
        build_pooling(name, 8, **options)
