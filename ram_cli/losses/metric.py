"""Metric learning losses over tuples: an anchor, its positives and its negatives.

The anchor is always a student vector. Positives and negatives are teacher vectors (asymmetric
learning) or student vectors (symmetric); no loss here stops a gradient, so teacher vectors are to
be computed without one.

Letters: B tuples, P positives and N negatives of a tuple, D embedding dimension.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ram_cli.errors import ConfigError
from ram_cli.losses.numerics import (
    Reduction,
    check_aligned,
    check_tuples,
    in_full_precision,
    reduce_batch,
    safe_sqrt,
    squared_distances,
)


@in_full_precision
def triplet_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float,
    reduction: Reduction = "mean",
    *,
    pairs: Literal["mean", "sum"] = "mean",
    positive_mask: Tensor | None = None,
) -> Tensor:
    """Hinge max(0, ‖a − p‖² − ‖a − n‖² + m) over every (positive, negative) pair of a tuple.

    `pairs="mean"` averages over the P × N pairs (Suma & Tolias, WACV 2023); `pairs="sum"` adds
    them (Budnik & Avrithis, CVPR 2021, triplet).

    Args:
        anchor: `[B, D]`.
        positive: `[B, P, D]`.
        negative: `[B, N, D]`.
        margin: m, in squared Euclidean distance.
        reduction: Over the B tuples; published values are sums.
        pairs: Over the pairs of one tuple.
        positive_mask: `[B, P]`, true where a positive counts; a tuple without any gives zero.

    Returns:
        Scalar, or `[B]` with reduction "none".

    Raises:
        ModelError: The shapes do not fit together.
        ConfigError: `reduction` or `pairs` is unknown.
    """
    check_tuples(anchor, positive=positive, negative=negative)
    to_positive = squared_distances(anchor, positive)
    to_negative = squared_distances(anchor, negative)
    negatives = to_negative.shape[1]
    hinges = F.relu(to_positive.unsqueeze(2) - to_negative.unsqueeze(1) + margin)
    if positive_mask is None:
        positive_mask = torch.ones_like(to_positive, dtype=torch.bool)
    total = (hinges * positive_mask.unsqueeze(2)).sum(dim=(1, 2))
    if pairs == "mean":
        return reduce_batch(total / (positive_mask.sum(dim=1) * negatives).clamp(min=1), reduction)
    if pairs == "sum":
        return reduce_batch(total, reduction)
    raise ConfigError(f"pairs {pairs!r} is unknown: choose mean or sum")


@in_full_precision
def contrastive_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float,
    reduction: Reduction = "mean",
    *,
    epsilon: float = 0.0,
    positive_mask: Tensor | None = None,
) -> Tensor:
    """½ Σ_p ‖a − p‖² + ½ Σ_n max(0, m − ‖a − n‖)² (Radenović et al., TPAMI 2018).

    With teacher positives and negatives, the contrastive loss of asymmetric metric learning
    (Budnik & Avrithis, CVPR 2021).

    Args:
        anchor: `[B, D]`.
        positive: `[B, P, D]`.
        negative: `[B, N, D]`.
        margin: m, in Euclidean distance.
        reduction: Over the B tuples; published values are sums.
        epsilon: Added to every coordinate of a difference; 1e-6 in the published code.
        positive_mask: `[B, P]`, true where a positive counts.

    Returns:
        Scalar, or `[B]` with reduction "none".

    Raises:
        ModelError: The shapes do not fit together.
        ConfigError: `reduction` is unknown.
    """
    check_tuples(anchor, positive=positive, negative=negative)
    attraction = squared_distances(anchor, positive, epsilon)
    if positive_mask is not None:
        attraction = attraction * positive_mask
    distances = safe_sqrt(squared_distances(anchor, negative, epsilon))
    repulsion = F.relu(margin - distances).square()
    return reduce_batch(0.5 * (attraction.sum(dim=1) + repulsion.sum(dim=1)), reduction)


@in_full_precision
def contrastive_plus_loss(
    anchor: Tensor,
    teacher_anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float,
    reduction: Reduction = "mean",
    *,
    epsilon: float = 0.0,
) -> Tensor:
    """Contrastive loss with the teacher's vector of the anchor as one more positive.

    "Contr+" of Budnik & Avrithis, CVPR 2021.

    Args:
        anchor: `[B, D]`, student.
        teacher_anchor: `[B, D]`, teacher, the same images; detached.
        positive: `[B, P, D]`.
        negative: `[B, N, D]`.
        margin: m, in Euclidean distance.
        reduction: Over the B tuples; published values are sums.
        epsilon: Added to every coordinate of a difference; 1e-6 in the published code.

    Returns:
        Scalar, or `[B]` with reduction "none".

    Raises:
        ModelError: The shapes do not fit together.
    """
    check_aligned(anchor, teacher_anchor, "BD")
    check_tuples(anchor, positive=positive, negative=negative)
    positives = torch.cat([teacher_anchor.detach().unsqueeze(1), positive], dim=1)
    return contrastive_loss(anchor, positives, negative, margin, reduction, epsilon=epsilon)


@in_full_precision
def contrastive_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    teacher_distances: Tensor,
    reduction: Reduction = "mean",
    *,
    epsilon: float = 0.0,
) -> Tensor:
    """½ Σ_p ‖a − p‖² + ½ Σ_n (‖a − n‖ − δ_n)²: each negative keeps the teacher's distance δ_n.

    Budnik & Avrithis, CVPR 2021, contrastive loss with the teacher's distances in place of a
    margin.

    Args:
        anchor: `[B, D]`.
        positive: `[B, P, D]`.
        negative: `[B, N, D]`.
        teacher_distances: `[B, N]`, teacher's anchor to teacher's negative; detached.
        reduction: Over the B tuples; published values are sums.
        epsilon: Added to every coordinate of a difference; 1e-6 in the published code.

    Returns:
        Scalar, or `[B]` with reduction "none".

    Raises:
        ModelError: The shapes do not fit together.
    """
    check_tuples(anchor, positive=positive, negative=negative)
    attraction = squared_distances(anchor, positive, epsilon).sum(dim=1)
    distances = safe_sqrt(squared_distances(anchor, negative, epsilon))
    check_aligned(distances, teacher_distances, "BN")
    deviation = (distances - teacher_distances.detach()).square().sum(dim=1)
    return reduce_batch(0.5 * (attraction + deviation), reduction)


@in_full_precision
def regression_loss(
    anchor: Tensor,
    teacher_anchor: Tensor,
    reduction: Reduction = "mean",
    *,
    epsilon: float = 0.0,
) -> Tensor:
    """½‖a − t‖² between the two networks' vectors of one image.

    "Reg" of Budnik & Avrithis, CVPR 2021.

    Args:
        anchor: `[B, D]`, student.
        teacher_anchor: `[B, D]`, teacher, the same images; detached.
        reduction: Over the B images; published values are sums.
        epsilon: Added to every coordinate of a difference; 1e-6 in the published code.

    Returns:
        Scalar, or `[B]` with reduction "none".

    Raises:
        ModelError: The shapes differ.
    """
    check_aligned(anchor, teacher_anchor, "BD")
    squares = (anchor - teacher_anchor.detach() + epsilon).square().sum(dim=1)
    return reduce_batch(0.5 * squares, reduction)
