"""Negatives drawn evenly over all distances (Wu et al., ICCV 2017, distance-weighted sampling).

Letters: Q queries, N images of the pool, D embedding dimension.
"""

import numpy as np
import torch
from torch import Tensor

from ram_cli.errors import DataError
from ram_cli.losses.pools import (
    BLOCK_SCORES,
    Labels,
    Positions,
    blocks,
    check_labels,
    check_vectors,
    too_few_negatives,
)


def distance_weighted_probabilities(
    distances: Tensor,
    dimension: int,
    allowed: Tensor,
    *,
    minimum_distance: float = 0.5,
    floor: float = 1e-6,
) -> Tensor:
    """Probability of every pool image to become a negative, by the inverse density of distances.

    Pairwise distances d of points on the unit sphere have density ∝ d^(D−2) (1 − d²/4)^((D−3)/2)
    (Wu et al., ICCV 2017, equation 4); its inverse spans e^±1000 at D = 512, so weights are formed
    as logarithms relative to the largest of each row.

    Args:
        distances: `[Q, N]` Euclidean distances of unit vectors, 0 to 2.
        dimension: D, at least 2.
        allowed: `[Q, N]`, false where an image can not be a negative; its probability is zero.
        minimum_distance: Smaller distances count as this one.
        floor: Added to every allowed weight, the largest being 1: no image is out of reach.

    Returns:
        `[Q, N]` in float64, on the CPU; every row sums to one.

    Raises:
        DataError: A row allows nothing.
    """
    allowed = allowed.cpu()
    empty = (~allowed.any(dim=1)).nonzero()
    if len(empty):
        raise DataError(
            f"query {int(empty[0])} has no possible negative among {distances.shape[1]} pool "
            "images: enlarge the pool or add classes"
        )
    squares = distances.cpu().double().clamp(min=minimum_distance).square_()
    # Opposite points (d = 2) have density zero for D > 3: stay a little away from them.
    outer = squares.div(-4.0).add_(1.0).clamp_(min=1e-8).log_()
    weights = squares.log_().mul_((2.0 - dimension) / 2.0)
    weights.sub_(outer, alpha=(dimension - 3.0) / 2.0).masked_fill_(~allowed, -torch.inf)
    weights.sub_(weights.amax(dim=1, keepdim=True)).exp_().add_(allowed, alpha=floor)
    return weights.div_(weights.sum(dim=1, keepdim=True))


def distance_weighted_negatives(
    query: Tensor,
    pool: Tensor,
    query_labels: Labels,
    pool_labels: Labels,
    count: int,
    generator: np.random.Generator,
    *,
    minimum_distance: float = 0.5,
    block_scores: int = BLOCK_SCORES,
) -> Positions:
    """Draw negatives of other classes, different ones unless the pool holds fewer than `count`.

    Args:
        query: `[Q, D]` unit vectors.
        pool: `[N, D]` unit vectors.
        query_labels: `[Q]` class of every query.
        pool_labels: `[N]` class of every pool image, in the order of its vectors.
        count: Negatives per query.
        generator: Source of randomness; queries draw from it in their order.
        minimum_distance: Smaller distances count as this one.
        block_scores: Most scores held at once.

    Returns:
        Positions in the pool `[Q, count]`.

    Raises:
        DataError: A query has no possible negative.
        ModelError: Labels and vectors do not pair.
        TrainingError: A vector is not finite.
    """
    check_vectors(query=query, pool=pool)
    check_labels(query=(query, query_labels), pool=(pool, pool_labels))
    anchors, others = torch.tensor(query_labels), torch.tensor(pool_labels)
    found = np.empty((len(query), count), dtype=np.int64)
    for rows in blocks(len(query), len(pool), block_scores):
        allowed = anchors[rows].unsqueeze(1) != others
        possible = allowed.sum(dim=1)
        if not possible.all():
            raise too_few_negatives(rows.start + int(possible.argmin()), query_labels, 0, count)
        # Cancellation is harmless here: it only reaches distances below `minimum_distance`.
        cosines = (query[rows].to(pool) @ pool.T).cpu().double()
        distances = cosines.mul_(-2.0).add_(2.0).clamp_(min=0.0).sqrt_()
        shares = distance_weighted_probabilities(
            distances, pool.shape[1], allowed, minimum_distance=minimum_distance
        ).numpy()
        for row, share in enumerate(shares):
            again = int(possible[row]) < count
            found[rows.start + row] = generator.choice(len(pool), count, replace=again, p=share)
    return found
