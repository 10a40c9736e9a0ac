"""What the miners share: blocks of queries and checks of vectors and labels."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ram_cli.errors import DataError, ModelError, TrainingError

Labels = NDArray[np.int64]
Positions = NDArray[np.int64]

BLOCK_SCORES = 4_000_000
"""Most scores held at once: 32 MB for each float64 intermediate of a block."""

_ROWS = 8192  # looked at together: vectors may be mapped from a file that memory cannot hold


def blocks(queries: int, pool: int, most_scores: int) -> Iterator[slice]:
    """Cut `queries` rows into slices of at most `most_scores` scores against `pool` images."""
    step = max(1, most_scores // max(pool, 1))
    for start in range(0, queries, step):
        yield slice(start, min(start + step, queries))


def check_vectors(**vectors: Tensor) -> None:
    """Check named vectors `[N, D]`.

    Raises:
        ModelError: They are no matrices of one embedding dimension.
        TrainingError: A value is not finite: the network has diverged.
    """
    shapes = {name: tuple(matrix.shape) for name, matrix in vectors.items()}
    if (
        any(len(shape) != 2 for shape in shapes.values())
        or len({s[1] for s in shapes.values()}) > 1
    ):
        raise ModelError(
            f"vectors of shapes {shapes} can not be compared: give [N, D] with one dimension"
        )
    for name, matrix in vectors.items():
        parts = (matrix[first : first + _ROWS] for first in range(0, len(matrix), _ROWS))
        if not all(bool(torch.isfinite(part).all()) for part in parts):
            raise TrainingError(
                f"{name} vectors for mining are not finite: the network has diverged; lower the "
                "learning rate or use a wider precision"
            )


def check_labels(**pairs: tuple[Tensor, Labels]) -> None:
    """Check that there is one label per vector.

    Raises:
        ModelError: The numbers differ.
    """
    for name, (vectors, labels) in pairs.items():
        if labels.shape != (len(vectors),):
            raise ModelError(
                f"{name}: labels of shape {labels.shape} for {len(vectors)} vectors: give one each"
            )


def too_few_negatives(row: int, labels: Labels, found: int, wanted: int) -> DataError:
    """The failure of a query for which the pool holds only `found` of `wanted` negatives."""
    return DataError(
        f"query {row} of class {labels[row]} has {found} possible negative(s) in the pool where "
        f"{wanted} are needed: enlarge the pool or ask for fewer negatives"
    )
