"""Learned whitening of vectors: supervised from matching pairs, or by PCA."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ram_cli.errors import ConfigError, DataError
from ram_cli.evaluation.vectors import Vectors, as_vectors, magnitude
from ram_cli.models import whiten

_CHUNK = 16384  # rows widened to float64 together
_FIRST_JITTER = 1e-10
_LAST_JITTER = 1e-2


@dataclass(frozen=True, slots=True, eq=False)
class Whitening:
    """y = P (x − m), components in order of falling variance.

    Attributes:
        mean: m, `[D]`, float64.
        projection: P, `[D, D]`, float64; the sign of a row is arbitrary.
    """

    mean: Tensor
    projection: Tensor


def whiten_supervised(
    vectors: Vectors,
    query_indices: ArrayLike,
    positive_indices: ArrayLike,
    *,
    shrinkage: float = 0.0,
) -> Whitening:
    """Learn to whiten what separates matching vectors (Mikolajczyk & Matas, ICCV 2007).

    m is the mean of the query vectors, S the covariance of (query − positive), P0 the inverse of
    its Cholesky factor, and P = Vᵀ P0 with V the eigenvectors of the scatter of P0 (x − m). Where S
    is singular its diagonal is raised, from 1e-10 up to 1e-2 times its mean, until it is not.

    Args:
        vectors: `[N, D]`, best L2-normalised.
        query_indices: Rows of one side of each matching pair `[P]`.
        positive_indices: Rows of the other side `[P]`.
        shrinkage: Added to the diagonal of S, as a multiple of its mean; above 0 for few pairs,
            whose S says little about most directions. 0 as published.

    Raises:
        DataError: Indices do not fit the vectors, the pairs do not differ, or a vector is not
            finite.
    """
    tensor = as_vectors(vectors, "whitening")
    magnitude(tensor, "whitening")
    queries = _rows(query_indices, len(tensor), "query")
    positives = _rows(positive_indices, len(tensor), "positive")
    if len(queries) != len(positives) or not len(queries):
        raise DataError(
            f"whitening needs matching pairs, but got {len(queries)} query and "
            f"{len(positives)} positive indices."
        )
    mean = tensor[queries].double().mean(dim=0)
    differences = tensor[queries].double() - tensor[positives].double()
    covariance = differences.T @ differences / len(differences)
    covariance.diagonal().add_(shrinkage * covariance.diagonal().mean())
    factor = _cholesky(covariance)
    first = torch.linalg.solve_triangular(factor, torch.eye(len(mean)).double(), upper=False)
    _, vectors_of_scatter = _eigen(first @ _scatter(tensor, mean) @ first.T)
    return Whitening(mean, vectors_of_scatter.T @ first)


def whiten_pca(vectors: Vectors) -> Whitening:
    """Learn to bring every principal component to unit variance (Jégou & Chum, ECCV 2012).

    Components in which the vectors do not vary at all become zero.

    Args:
        vectors: `[N, D]`.

    Raises:
        DataError: All vectors are equal, there are none, or one is not finite.
    """
    tensor = as_vectors(vectors, "whitening")
    magnitude(tensor, "whitening")
    if not len(tensor):
        raise DataError("whitening needs vectors to learn from, but got none.")
    mean = sum((chunk.sum(dim=0) for chunk in _chunks(tensor)), torch.zeros(())) / len(tensor)
    values, components = _eigen(_scatter(tensor, mean) / len(tensor))
    noise = values[0] * len(mean) * torch.finfo(torch.float64).eps
    if values[0] <= noise:
        raise DataError("whitening cannot be learned: all vectors are equal.")
    scale = torch.where(values > noise, values.clamp_min(noise).rsqrt(), 0.0)
    return Whitening(mean, scale[:, None] * components.T)


def apply_whitening(
    vectors: Vectors, whitening: Whitening, dimensions: int | None = None
) -> Tensor:
    """Whiten vectors and L2-normalise them.

    Args:
        vectors: `[N, D]`.
        whitening: What was learned.
        dimensions: Components to keep, the first ones; None for all.

    Returns:
        `[N, dimensions]`, float64 for float64 vectors, else float32.

    Raises:
        ConfigError: More dimensions are asked for than there are.
        DataError: Vectors and whitening have different dimensions.
    """
    tensor = as_vectors(vectors, "whitening")
    available = len(whitening.projection)
    if dimensions is not None and not 1 <= dimensions <= available:
        raise ConfigError(f"whitening has 1 to {available} dimensions, not {dimensions}.")
    if tensor.shape[1] != len(whitening.mean):
        raise DataError(
            f"vectors have {tensor.shape[1]} dimensions, the whitening {len(whitening.mean)}. "
            "Learn it from vectors of the same network."
        )
    projection = whitening.projection[:dimensions].double()
    result = tensor.new_empty(len(tensor), len(projection))
    for start, chunk in enumerate(_chunks(tensor)):
        whitened = whiten(chunk, whitening.mean, projection)
        result[start * _CHUNK : start * _CHUNK + len(chunk)] = whitened
    return result


def _chunks(vectors: Tensor) -> Iterator[Tensor]:
    """Stretches of the vectors in float64."""
    for start in range(0, len(vectors), _CHUNK):
        yield vectors[start : start + _CHUNK].double()


def _scatter(vectors: Tensor, mean: Tensor) -> Tensor:
    """Σ (x − m)(x − m)ᵀ, `[D, D]`."""
    scatter = mean.new_zeros(len(mean), len(mean))
    for chunk in _chunks(vectors):
        centred = chunk - mean
        scatter.addmm_(centred.T, centred)
    return scatter


def _eigen(symmetric: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues in falling order `[D]`, and eigenvectors as columns `[D, D]`."""
    values, vectors = torch.linalg.eigh((symmetric + symmetric.T) / 2)
    return values.flip(0), vectors.flip(1)


def _cholesky(covariance: Tensor) -> Tensor:
    mean = covariance.diagonal().mean()
    jitter = 0.0
    while mean > 0 and jitter <= _LAST_JITTER * (1 + 1e-6):
        raised = covariance + jitter * mean * torch.eye(len(covariance), dtype=torch.float64)
        factor: Tensor
        factor, failed = torch.linalg.cholesky_ex(raised)
        if not failed:
            return factor
        jitter = jitter * 10 if jitter else _FIRST_JITTER
    raise DataError(
        "whitening cannot be learned: the matching pairs do not differ enough to estimate a "
        f"covariance of {len(covariance)} dimensions. Give more, and different, pairs."
    )


def _rows(indices: ArrayLike, count: int, name: str) -> Tensor:
    array = np.asarray(indices)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise DataError(f"{name} indices must be a flat list of row numbers.")
    if array.size and (array.min() < 0 or array.max() >= count):
        raise DataError(
            f"{name} indices run from {array.min()} to {array.max()}, but there are {count} "
            "vectors, counted from 0."
        )
    return torch.from_numpy(array.astype(np.int64))
