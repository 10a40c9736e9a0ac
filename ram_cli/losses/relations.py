"""Losses that compare the relations within a whole batch of student and of teacher vectors.

They hold the shape of the batch, not its place: alone they do not align the two spaces.

Letters: B images in the batch, D embedding dimension.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ram_cli.losses.numerics import (
    check_aligned,
    in_full_precision,
    pairwise_differences,
    pairwise_distances,
    safe_sqrt,
)


@in_full_precision
def rkd_parts(
    student: Tensor,
    teacher: Tensor,
    *,
    angle_weight: float = 2.0,
    distance_weight: float = 1.0,
) -> dict[str, Tensor]:
    """Relational knowledge distillation (Park et al., CVPR 2019, equations 5 to 10).

    The distance part compares distances divided by their mean over the pairs of different vectors,
    the angle part cosines of the angles of all triplets; both by smooth L1, averaged. Needs memory
    for `[B, B, D]` and `[B, B, B]`.

    Args:
        student: `[B, D]`.
        teacher: `[B, D]`, the same images; detached.
        angle_weight: Weight of the angle part.
        distance_weight: Weight of the distance part.

    Returns:
        Scalars: "loss", to be minimised, and its unweighted, detached parts "angle" and
        "distance".

    Raises:
        ModelError: The shapes differ.
    """
    check_aligned(student, teacher, "BD")
    teacher = teacher.detach()
    distance = F.smooth_l1_loss(_relative_distances(student), _relative_distances(teacher))
    angle = F.smooth_l1_loss(_angle_cosines(student), _angle_cosines(teacher))
    return {
        "loss": angle_weight * angle + distance_weight * distance,
        "angle": angle.detach(),
        "distance": distance.detach(),
    }


def rkd_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    angle_weight: float = 2.0,
    distance_weight: float = 1.0,
) -> Tensor:
    """The loss of `rkd_parts` as one scalar; `[B, D]` student and teacher vectors."""
    parts = rkd_parts(student, teacher, angle_weight=angle_weight, distance_weight=distance_weight)
    return parts["loss"]


@in_full_precision
def darkrank_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    alpha: float = 3.0,
    beta: float = 3.0,
    length: int = 4,
) -> Tensor:
    """Hard DarkRank (Chen et al., AAAI 2018): the likelihood of the teacher's ranking.

    With scores S_ij = −α‖x_i − x_j‖^β, every image ranks the others; the loss is the mean of
    −Σ_k log(e^{S_k} / Σ_{l≥k} e^{S_l}) over the teacher's `length` nearest, in its order.

    Args:
        student: `[B, D]`.
        teacher: `[B, D]`, the same images; detached.
        alpha: Scale of the scores.
        beta: Power of the distances.
        length: Length of each list; cut to B − 1.

    Returns:
        Scalar, a mean over the B images.

    Raises:
        ModelError: The shapes differ.
    """
    check_aligned(student, teacher, "BD")
    itself = torch.eye(len(student), dtype=torch.bool, device=student.device)
    # The image itself is left out by its place, not by its rank: a duplicate ties with it.
    teacher_distances = pairwise_distances(teacher.detach()).masked_fill(itself, torch.inf)
    order = teacher_distances.argsort(dim=1, stable=True)[:, : min(length, len(student) - 1)]
    scores = (-alpha * pairwise_distances(student).pow(beta)).gather(1, order)
    # [B, length], the teacher's nearest first
    rest = scores.flip(1).logcumsumexp(dim=1).flip(1)
    return (rest - scores).sum(dim=1).mean()


def _relative_distances(vectors: Tensor) -> Tensor:
    """Distances among `[B, D]` over their mean over pairs of different vectors, `[B, B]`."""
    distances = pairwise_distances(vectors)
    apart = (distances.detach() > 0).sum().clamp(min=1)
    mean = distances.sum() / apart
    return distances / torch.where(mean > 0, mean, 1.0)


def _angle_cosines(vectors: Tensor) -> Tensor:
    """Cosine of the angle at i between j and k for `[B, D]`, `[B, B, B]`, entry (i, j, k)."""
    differences = pairwise_differences(vectors)
    lengths = safe_sqrt(differences.square().sum(dim=-1, keepdim=True))
    directions = differences / lengths.clamp(min=1e-12)
    return directions @ directions.mT
