"""Whitening against published numbers, and where it cannot be learned."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ram_cli.errors import ConfigError, DataError
from ram_cli.evaluation import Whitening, apply_whitening, whiten_pca, whiten_supervised, whitening

GOLDEN = Path(__file__).parents[1] / "golden" / "whitening.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[Any]]:
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


def learned(kind: str, golden: dict[str, NDArray[Any]]) -> Whitening:
    vectors = np.ascontiguousarray(golden["X"].T)
    if kind == "pca":
        return whiten_pca(vectors)
    return whiten_supervised(vectors, golden["qidxs"], golden["pidxs"])


def up_to_sign(rows: NDArray[Any], expected: NDArray[Any]) -> NDArray[Any]:
    return rows * np.sign((rows * expected).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("kind", ["lw", "pca"])
def test_published_whitening(kind: str, golden: dict[str, NDArray[Any]]) -> None:
    result = learned(kind, golden)
    expected = golden[f"{kind}_P_f64"]
    projection = up_to_sign(result.projection.numpy(), expected)
    np.testing.assert_allclose(result.mean, golden[f"{kind}_m_f64"].ravel(), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(projection, expected, rtol=1e-7, atol=1e-9 * abs(expected).max())
    for dimensions in (32, 8):
        whitened = apply_whitening(golden["Y"].T, result, dimensions).numpy()
        target = golden[f"{kind}_apply_{dimensions}_f64"].T
        np.testing.assert_allclose(up_to_sign(whitened.T, target.T).T, target, atol=1e-9)


def test_too_few_pairs_still_whiten(golden: dict[str, NDArray[Any]]) -> None:
    pairs = golden["qidxs"][:10], golden["pidxs"][:10]
    result = whiten_supervised(golden["X"].T, *pairs)
    np.testing.assert_allclose(result.mean, golden["lw_rankdef_m"].ravel())
    assert torch.isfinite(result.projection).all()
    whitened = apply_whitening(golden["Y"].T, result)
    np.testing.assert_allclose(whitened.norm(dim=1), 1, atol=1e-5)


def test_supervised_whitening_scatters_along_the_axes(golden: dict[str, NDArray[Any]]) -> None:
    result = learned("lw", golden)
    moved = (torch.from_numpy(golden["X"].T) - result.mean) @ result.projection.T
    scatter = moved.T @ moved
    values = scatter.diagonal()
    np.testing.assert_allclose(scatter, values.diag(), atol=1e-9 * values.max())
    assert (values[:-1] >= values[1:]).all()
    differences = golden["X"][:, golden["qidxs"]] - golden["X"][:, golden["pidxs"]]
    whitened = result.projection.numpy() @ differences
    np.testing.assert_allclose(whitened @ whitened.T / 180, np.eye(32), atol=1e-9)


def test_components_without_variance_become_zero() -> None:
    rng = np.random.default_rng(0)
    flat = np.concatenate([rng.normal(size=(50, 3)) @ rng.normal(size=(3, 6)), np.ones((50, 1))], 1)
    result = whiten_pca(flat)
    moved = (torch.from_numpy(flat) - result.mean) @ result.projection.T
    np.testing.assert_allclose(moved[:, :3].T @ moved[:, :3] / 50, np.eye(3), atol=1e-9)
    assert not result.projection[3:].any()


def test_long_sets_go_through_in_chunks(
    golden: dict[str, NDArray[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [learned("pca", golden), learned("lw", golden)]
    images = golden["Y"].T.astype(np.float32)
    applied = [apply_whitening(images, item, 5) for item in whole]
    monkeypatch.setattr(whitening, "_CHUNK", 4)
    for item, parts, expected in zip(whole, ("pca", "lw"), applied, strict=True):
        again = learned(parts, golden)
        np.testing.assert_allclose(
            up_to_sign(again.projection.numpy(), item.projection.numpy()),
            item.projection, atol=1e-8 * item.projection.abs().max(),
        )  # fmt: skip
        result = apply_whitening(images, item, 5)
        assert result.dtype == torch.float32
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-7)


def test_whitening_that_cannot_be_learned(golden: dict[str, NDArray[Any]]) -> None:
    vectors, same = golden["X"].T, np.arange(20)
    for pairs in ((same, same), (same, same[:4]), ([], []), ([0], [400]), ([-1], [0]), ([[0]], [1]),
                  ([0.5], [1])):  # fmt: skip
        with pytest.raises(DataError):
            whiten_supervised(vectors, *pairs)
    for faulty in (np.ones((5, 3)), np.empty((0, 3)), np.full((4, 3), np.nan), np.ones(3)):
        with pytest.raises(DataError):
            whiten_pca(faulty)


def test_jitter_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[float] = []

    def never(matrix: torch.Tensor) -> tuple[torch.Tensor, int]:
        tried.append(float(matrix[0, 0] - 1))
        return matrix, 1

    monkeypatch.setattr(torch.linalg, "cholesky_ex", never)
    vectors = np.concatenate([np.eye(3), np.zeros((1, 3))]) * np.sqrt(3)
    with pytest.raises(DataError, match="3 dimensions"):
        whiten_supervised(vectors, [0, 1, 2], [3, 3, 3])
    np.testing.assert_allclose(tried, [0, *10.0 ** np.arange(-10, -1)], rtol=1e-4, atol=1e-14)


@pytest.mark.parametrize("dimensions", [0, -1, 33])
def test_dimensions_that_are_not_there(golden: dict[str, NDArray[Any]], dimensions: int) -> None:
    with pytest.raises(ConfigError):
        apply_whitening(golden["Y"].T, learned("pca", golden), dimensions)


def test_vectors_of_another_network(golden: dict[str, NDArray[Any]]) -> None:
    with pytest.raises(DataError, match=r"6 .*32"):
        apply_whitening(golden["Y"][:6].T, learned("pca", golden))
