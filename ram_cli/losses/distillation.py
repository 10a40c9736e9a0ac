"""Distillation across resolutions: student vectors against teacher vectors of the same views.

Suma & Tolias, WACV 2023. No labels. Teacher vectors are detached: the teacher never learns.

Letters: B images, K coupled views of each image, D embedding dimension; s student and t teacher
vectors of unit length.
"""

from typing import Literal

import torch
from torch import Tensor

from ram_cli.errors import ConfigError
from ram_cli.losses.numerics import Reduction, check_aligned, in_full_precision, reduce_batch

PUBLISHED_EPSILON = 1e-6
"""What the published code adds inside each squared difference."""


@in_full_precision
def absolute_loss(
    student: Tensor, teacher: Tensor, reduction: Reduction = "mean", *, epsilon: float = 0.0
) -> Tensor:
    """1/K Σ_i (1 − s_i·t_i)²: every student view at the place of the teacher's view.

    Args:
        student: `[B, K, D]` unit vectors.
        teacher: `[B, K, D]` unit vectors of the same views; detached.
        reduction: Over the B images; published values are sums.
        epsilon: Added inside each squared difference; 1e-6 in the published code.

    Returns:
        Scalar, or `[B]` with reduction "none".

    Raises:
        ModelError: The shapes differ.
        ConfigError: `reduction` is unknown.
    """
    check_aligned(student, teacher, "BKD")
    cosines = (student * teacher.detach()).sum(dim=-1)
    # [B, K] cosines
    return reduce_batch((1.0 - cosines + epsilon).square().mean(dim=1), reduction)


@in_full_precision
def relational_loss(
    student: Tensor,
    teacher: Tensor,
    kind: Literal["ts", "ss"] = "ts",
    reduction: Reduction = "mean",
    *,
    epsilon: float = 0.0,
) -> Tensor:
    """1/(K(K−1)) Σ_{i≠j} (r_ij − t_i·t_j)²: similarities among the views of one image are kept.

    `kind="ts"` compares student with teacher, r_ij = s_i·t_j; `kind="ss"` student with student,
    r_ij = s_i·s_j. One view has no relation: K = 1 gives zero.

    Args:
        student: `[B, K, D]` unit vectors.
        teacher: `[B, K, D]` unit vectors of the same views; detached.
        kind: "ts" or "ss".
        reduction: Over the B images; published values are sums.
        epsilon: Added inside each squared difference; 1e-6 in the published code.

    Returns:
        Scalar, or `[B]` with reduction "none".

    Raises:
        ModelError: The shapes differ.
        ConfigError: `kind` or `reduction` is unknown.
    """
    check_aligned(student, teacher, "BKD")
    teacher = teacher.detach().to(student.dtype)
    # Both kinds are written in terms of s − t, equal to the difference of two similarities:
    # subtracting after the product would leave only its rounding error once s is close to t.
    gap = student - teacher
    if kind == "ts":
        deviations = gap @ teacher.mT
    elif kind == "ss":
        deviations = gap @ student.mT + teacher @ gap.mT
    else:
        raise ConfigError(f"kind {kind!r} is unknown: choose ts or ss")
    # [B, K, K] deviations, view i against view j
    views = student.shape[1]
    itself = torch.eye(views, dtype=torch.bool, device=student.device)
    squares = (deviations + epsilon).square().masked_fill(itself, 0.0)
    pairs = max(views * (views - 1), 1)
    return reduce_batch(squares.sum(dim=(1, 2)) / pairs, reduction)


def coupled_loss(
    student: Tensor,
    teacher: Tensor,
    lambda_ts: float,
    lambda_ss: float,
    reduction: Reduction = "mean",
    *,
    epsilon: float = 0.0,
) -> dict[str, Tensor]:
    """L_abs + λ_ts·L_ts + λ_ss·L_ss over coupled views.

    Args:
        student: `[B, K, D]` unit vectors.
        teacher: `[B, K, D]` unit vectors of the same views; detached.
        lambda_ts: Weight of the student–teacher relations, λ1 in the paper.
        lambda_ss: Weight of the student–student relations, λ2 in the paper.
        reduction: Over the B images. "mean" does not depend on the batch size; "sum" compares
            with published runs.
        epsilon: Added inside each squared difference; 1e-6 in the published code.

    Returns:
        "loss", to be minimised, and its unweighted, detached parts "absolute", "relational_ts"
        and "relational_ss"; scalars, or `[B]` with reduction "none".

    Raises:
        ModelError: The shapes differ.
        ConfigError: `reduction` is unknown.
    """
    absolute = absolute_loss(student, teacher, reduction, epsilon=epsilon)
    relational_ts = relational_loss(student, teacher, "ts", reduction, epsilon=epsilon)
    relational_ss = relational_loss(student, teacher, "ss", reduction, epsilon=epsilon)
    return {
        "loss": absolute + lambda_ts * relational_ts + lambda_ss * relational_ss,
        "absolute": absolute.detach(),
        "relational_ts": relational_ts.detach(),
        "relational_ss": relational_ss.detach(),
    }


def cosine_regression_loss(
    student: Tensor, teacher: Tensor, reduction: Reduction = "mean", *, epsilon: float = 0.0
) -> dict[str, Tensor]:
    """The absolute term alone, as a method: one plain view per image, teacher vectors cached.

    Args:
        student: `[B, K, D]` unit vectors; K is 1 in the published form.
        teacher: `[B, K, D]` unit vectors of the same views; detached.
        reduction: Over the B images; published values are sums.
        epsilon: Added inside each squared difference; 1e-6 in the published code.

    Returns:
        "loss", to be minimised, and the same value detached as "absolute".

    Raises:
        ModelError: The shapes differ.
    """
    absolute = absolute_loss(student, teacher, reduction, epsilon=epsilon)
    return {"loss": absolute, "absolute": absolute.detach()}
