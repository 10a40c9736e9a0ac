"""Losses over tuples that weigh positives and negatives through exponentials.

Letters: B tuples, P positives and N negatives of a tuple, D embedding dimension.
"""

import torch
from torch import Tensor

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
def multi_similarity_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    reduction: Reduction = "mean",
    *,
    alpha: float = 2.0,
    beta: float = 40.0,
    threshold: float = 0.5,
    positive_mask: Tensor | None = None,
) -> Tensor:
    """1/α log(1 + Σ_p e^{−α(a·p − λ)}) + 1/β log(1 + Σ_n e^{β(a·n − λ)}).

    Wang et al., CVPR 2019, equation 15, without its mining of pairs.

    Args:
        anchor: `[B, D]` unit vectors.
        positive: `[B, P, D]` unit vectors; P may be 0.
        negative: `[B, N, D]` unit vectors; N may be 0.
        reduction: Over the B tuples; published values are sums.
        alpha: Sharpness α for positives.
        beta: Sharpness β for negatives.
        threshold: Cosine λ that separates positives from negatives.
        positive_mask: `[B, P]`, true where a positive counts.

    Returns:
        Scalar, or `[B]` with reduction "none".

    Raises:
        ModelError: The shapes do not fit together.
    """
    check_tuples(anchor, positive=positive, negative=negative)
    to_positive = (anchor.unsqueeze(1) * positive).sum(dim=-1)
    to_negative = (anchor.unsqueeze(1) * negative).sum(dim=-1)
    attraction = -alpha * (to_positive - threshold)
    if positive_mask is not None:
        attraction = attraction.masked_fill(~positive_mask, -torch.inf)
    pull = _log_one_plus_sum(attraction) / alpha
    push = _log_one_plus_sum(beta * (to_negative - threshold)) / beta
    return reduce_batch(pull + push, reduction)


@in_full_precision
def distance_cross_entropy_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    temperature: float,
    reduction: Reduction = "mean",
    *,
    epsilon: float = 0.0,
) -> Tensor:
    """−Σ_p log softmax(−d / T)_p, where the softmax runs over the distances d of one tuple.

    The published code runs one softmax over the distances of all tuples of a batch, so that the
    loss of an image depends on its neighbours in the batch; for one tuple both agree.

    Args:
        anchor: `[B, D]`.
        positive: `[B, P, D]`.
        negative: `[B, N, D]`.
        temperature: T, in Euclidean distance.
        reduction: Over the B tuples; published values are sums.
        epsilon: Added to every coordinate of a difference; 1e-6 in the published code.

    Returns:
        Scalar, or `[B]` with reduction "none".

    Raises:
        ModelError: The shapes do not fit together.
    """
    check_tuples(anchor, positive=positive, negative=negative)
    others = torch.cat([positive, negative], dim=1)
    distances = safe_sqrt(squared_distances(anchor, others, epsilon))
    log_shares = torch.log_softmax(-distances / temperature, dim=1)
    return reduce_batch(-log_shares[:, : positive.shape[1]].sum(dim=1), reduction)


@in_full_precision
def vector_cross_entropy_loss(
    student: Tensor, teacher: Tensor, temperature: float, reduction: Reduction = "mean"
) -> Tensor:
    """−Σ_d t_d log softmax(s / T)_d: coordinates as logits, the teacher's vector as weights.

    Args:
        student: `[B, D]`.
        teacher: `[B, D]`, taken as it is (not made a distribution); detached.
        temperature: T.
        reduction: Over the B images; published values are sums.

    Returns:
        Scalar, or `[B]` with reduction "none".

    Raises:
        ModelError: The shapes differ.
    """
    check_aligned(student, teacher, "BD")
    log_shares = torch.log_softmax(student / temperature, dim=1)
    return reduce_batch(-(teacher.detach() * log_shares).sum(dim=1), reduction)


def _log_one_plus_sum(exponents: Tensor) -> Tensor:
    """log(1 + Σ_m e^{x_m}) of `[B, M]` as `[B]`, without overflow; zero where M is 0."""
    zero = exponents.new_zeros(len(exponents), 1)
    return torch.logsumexp(torch.cat([zero, exponents], dim=1), dim=1)
