"""Vectors as they come (tensors, arrays, on any device) made ready for exact products."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ram_cli.errors import DataError

Vectors = Tensor | NDArray[np.floating]
"""Embeddings, one per row: `[N, D]`."""

_CHUNK = 8192  # rows looked at together; bounds what a conversion holds


def as_vectors(vectors: Vectors, name: str, dtype: torch.dtype | None = None) -> Tensor:
    """View vectors as a contiguous CPU tensor, copying only when type or layout ask for it.

    Args:
        vectors: Embeddings `[N, D]`.
        name: What they are, for messages ("query", "gallery").
        dtype: float32 or float64; left out, float64 stays and all else becomes float32.

    Returns:
        Tensor `[N, D]`; it may share memory with `vectors` and must not be written to.

    Raises:
        DataError: `vectors` is not a matrix of numbers with at least one column.
    """
    tensor = _as_tensor(vectors, name)
    if tensor.ndim != 2 or tensor.shape[1] == 0:
        raise DataError(
            f"{name} vectors have shape {list(tensor.shape)}; expected one row per image [N, D]."
        )
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise DataError(f"{name} vectors hold {tensor.dtype}; expected floating-point numbers.")
    dtype = dtype or scoring_dtype(tensor)
    return tensor.detach().to(device="cpu", dtype=dtype).contiguous()


def scoring_dtype(*vectors: Vectors) -> torch.dtype:
    """Type in which vectors are scored: float64 if any of them is, else float32."""
    doubles = (torch.float64, np.dtype(np.float64), np.dtype(np.longdouble))
    wide = any(item.dtype in doubles for item in vectors)
    return torch.float64 if wide else torch.float32


def magnitude(vectors: Tensor, name: str, first: int = 0) -> float:
    """Largest absolute entry of vectors.

    Args:
        vectors: Embeddings `[N, D]`.
        name: What they are, for the message.
        first: Index of their first row within the whole, for the message.

    Raises:
        DataError: An entry is NaN or infinite.
    """
    largest = 0.0
    for start in range(0, len(vectors), _CHUNK):
        chunk = vectors[start : start + _CHUNK].numpy()
        bounds = max(-float(chunk.min()), float(chunk.max()))  # NaN if any entry is
        if not math.isfinite(bounds):
            row = int(np.argmin(np.isfinite(chunk).all(axis=1)))
            raise DataError(
                f"{name} vector {first + start + row} holds NaN or infinite values; "
                "it cannot be ranked. Look at its image, or at the model that embedded it."
            )
        largest = max(largest, bounds)
    return largest


def check_products(largest_query: float, largest_gallery: float, query: Tensor) -> None:
    """Make sure that no inner product with `query` `[Q, D]` can overflow.

    Raises:
        DataError: The vectors are so long that scores could become infinite.
    """
    bound = largest_query * largest_gallery * query.shape[1]
    if bound > torch.finfo(query.dtype).max / 4:
        raise DataError(
            f"query and gallery vectors are too long to be scored in {query.dtype} (entries up to "
            f"{largest_query:.3g} and {largest_gallery:.3g}). L2-normalise them first."
        )


def _as_tensor(vectors: Vectors, name: str) -> Tensor:
    if isinstance(vectors, Tensor):
        return vectors
    array = np.asarray(vectors)
    if array.dtype.kind not in "fiu":
        raise DataError(f"{name} vectors hold {array.dtype}; expected floating-point numbers.")
    if not array.dtype.isnative or array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if any(step < 0 for step in array.strides):
        array = np.ascontiguousarray(array)
    if array.flags.writeable:
        return torch.from_numpy(array)
    # from_numpy warns about read-only arrays (memory maps); nothing here writes to them
    return torch.utils.dlpack.from_dlpack(array)
