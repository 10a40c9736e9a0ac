"""What every loss shares: full precision, safe distances, reductions and shape checks.

Letters: B tuples or images in a batch, K views of an image, M vectors beside an anchor,
D embedding dimension.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor

from ram_cli.errors import ConfigError, ModelError

Reduction = Literal["mean", "sum", "none"]
"""How the values of a batch become one: `mean` and `sum` give a scalar, `none` keeps `[B]`."""

_SMALLEST_SQUARE = 1e-24  # far below what float32 resolves between unit vectors
_Function = TypeVar("_Function", bound=Callable[..., Any])


def in_full_precision(function: _Function) -> _Function:
    """Run a loss in float32 (float64 stays float64), whatever autocast says around it.

    Two aligned unit vectors have a cosine within 1e-3 of one, and bfloat16 has no number between
    0.996 and 1: under autocast the difference a loss is made of would round to zero, and so would
    its gradient.
    """

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        args = tuple(_upcast(value) for value in args)
        kwargs = {name: _upcast(value) for name, value in kwargs.items()}
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        if not tensors:
            return function(*args, **kwargs)
        with torch.autocast(device_type=tensors[0].device.type, enabled=False):
            return function(*args, **kwargs)

    return cast("_Function", wrapper)


def reduce_batch(values: Tensor, reduction: Reduction) -> Tensor:
    """Turn one value per tuple `[B]` into a scalar, or leave it as it is.

    Raises:
        ConfigError: `reduction` is none of "mean", "sum" and "none".
    """
    if reduction == "mean":
        return values.mean()
    if reduction == "sum":
        return values.sum()
    if reduction == "none":
        return values
    raise ConfigError(f"reduction {reduction!r} is unknown: choose mean, sum or none")


def safe_sqrt(squares: Tensor) -> Tensor:
    """Square root whose gradient at zero is zero instead of infinite."""
    roots = squares.clamp(min=_SMALLEST_SQUARE).sqrt()
    return torch.where(squares > _SMALLEST_SQUARE, roots, 0.0)


def squared_distances(anchor: Tensor, others: Tensor, epsilon: float = 0.0) -> Tensor:
    """Squared Euclidean distances between an anchor and its tuple.

    Differences are taken before squaring: ‖a‖² + ‖b‖² − 2a·b loses all digits of small distances.

    Args:
        anchor: `[B, D]`.
        others: `[B, M, D]`.
        epsilon: Added to every coordinate of the difference; published losses use 1e-6.

    Returns:
        `[B, M]`.
    """
    return (anchor.unsqueeze(1) - others + epsilon).square().sum(dim=-1)


def pairwise_differences(vectors: Tensor) -> Tensor:
    """Differences x_j − x_i of `[B, D]` as `[B, B, D]`, entry (i, j)."""
    return vectors.unsqueeze(0) - vectors.unsqueeze(1)


def pairwise_distances(vectors: Tensor) -> Tensor:
    """Euclidean distances among `[B, D]` as `[B, B]`."""
    return safe_sqrt(pairwise_differences(vectors).square().sum(dim=-1))


def check_tuples(anchor: Tensor, **others: Tensor) -> None:
    """Check that every named tensor is `[B, M, D]` beside an anchor `[B, D]`.

    Raises:
        ModelError: Batch sizes or embedding dimensions differ, or a tensor has other axes.
    """
    batch = tuple(anchor.shape)
    for name, tensor in others.items():
        shape = tuple(tensor.shape)
        if len(batch) != 2 or len(shape) != 3 or (shape[0], shape[2]) != batch:
            raise ModelError(
                f"{name} of shape {shape} does not fit anchors of shape {batch}: give anchors "
                f"[B, D] and {name} [B, M, D], with one embedding dimension for both networks"
            )


def check_aligned(student: Tensor, teacher: Tensor, axes: str) -> None:
    """Check that student and teacher vectors pair one to one.

    Args:
        student: Student vectors.
        teacher: Teacher vectors.
        axes: Letters of the expected axes, "BD" or "BKD".

    Raises:
        ModelError: The shapes differ or have other axes.
    """
    if student.shape != teacher.shape or student.dim() != len(axes):
        expected = ", ".join(axes)
        raise ModelError(
            f"student vectors of shape {tuple(student.shape)} do not fit teacher vectors of shape "
            f"{tuple(teacher.shape)}: both must be [{expected}]; give the student the teacher's "
            "embedding dimension"
        )


def _upcast(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16):
        return value.float()
    return value
