"""What the distillation methods over tuples minimise: losses that name their parts.

A tuple is an anchor, its positives and its negatives. The anchor goes through the student; the
others are vectors of the teacher (asymmetric) or go through the student too (symmetric).

Budnik & Avrithis, CVPR 2021. Letters: B tuples, P positives and N negatives of a tuple, D
embedding dimension.
"""

from dataclasses import dataclass

from torch import Tensor

from ram_cli.losses.entries import MethodEntry
from ram_cli.losses.metric import (
    contrastive_distance_loss,
    contrastive_loss,
    contrastive_plus_loss,
    regression_loss,
    triplet_loss,
)
from ram_cli.losses.numerics import in_full_precision, squared_distances
from ram_cli.losses.softmax import distance_cross_entropy_loss, multi_similarity_loss


@dataclass(frozen=True, slots=True, eq=False)
class Tuples:
    """The vectors of a batch of tuples, all of unit length.

    Attributes:
        anchor: Of the student, `[B, D]`.
        positive: `[B, P, D]`.
        negative: `[B, N, D]`.
        teacher_anchor: Of the teacher, the anchors' images, `[B, D]`.
        teacher_negative: Of the teacher, the negatives' images, `[B, N, D]`; the same as
            `negative` where training is asymmetric. Without a teacher, both are the student's own.
    """

    anchor: Tensor
    positive: Tensor
    negative: Tensor
    teacher_anchor: Tensor
    teacher_negative: Tensor


def contrastive(tuples: Tuples, loss_margin: float) -> dict[str, Tensor]:
    """`contrastive_loss`: the positive is drawn near, negatives are pushed beyond the margin."""
    loss = contrastive_loss(tuples.anchor, tuples.positive, tuples.negative, loss_margin)
    return _parts(loss, tuples)


def contrastive_plus(tuples: Tuples, loss_margin: float) -> dict[str, Tensor]:
    """`contrastive_plus_loss`: the teacher's vector of the anchor is one more positive."""
    loss = contrastive_plus_loss(
        tuples.anchor, tuples.teacher_anchor, tuples.positive, tuples.negative, loss_margin
    )
    return _parts(loss, tuples)


def contrastive_distance(tuples: Tuples) -> dict[str, Tensor]:
    """`contrastive_distance_loss`: each negative stays as far as it is for the teacher."""
    distances = _distances(tuples.teacher_anchor, tuples.teacher_negative)
    loss = contrastive_distance_loss(tuples.anchor, tuples.positive, tuples.negative, distances)
    return _parts(loss, tuples)


def triplet(tuples: Tuples, loss_margin: float) -> dict[str, Tensor]:
    """`triplet_loss`, summed over the negatives of an anchor as published."""
    loss = triplet_loss(tuples.anchor, tuples.positive, tuples.negative, loss_margin, pairs="sum")
    return _parts(loss, tuples)


def multi_similarity(tuples: Tuples) -> dict[str, Tensor]:
    """`multi_similarity_loss` with its published α 2, β 40 and λ ½."""
    return _parts(multi_similarity_loss(tuples.anchor, tuples.positive, tuples.negative), tuples)


def distance_cross_entropy(tuples: Tuples, temperature: float) -> dict[str, Tensor]:
    """`distance_cross_entropy_loss`: the positive wins a softmax over the tuple's distances."""
    loss = distance_cross_entropy_loss(tuples.anchor, tuples.positive, tuples.negative, temperature)
    return _parts(loss, tuples)


def positive_regression(tuples: Tuples) -> dict[str, Tensor]:
    """½‖a − p‖², averaged over the positives: `regression_loss` onto another image's vector."""
    positives = tuples.positive.shape[1]
    anchors = tuples.anchor.repeat_interleave(positives, dim=0)  # [B * P, D]
    return _parts(regression_loss(anchors, tuples.positive.flatten(0, 1)), tuples)


@in_full_precision
def _distances(anchor: Tensor, others: Tensor) -> Tensor:
    """Euclidean distances of `[B, D]` and `[B, N, D]`, `[B, N]`, without a gradient."""
    return squared_distances(anchor.detach(), others.detach()).sqrt()


def _parts(loss: Tensor, tuples: Tuples) -> dict[str, Tensor]:
    """The loss, and how similar anchors are to positives and to negatives on average."""
    parts = {"loss": loss}
    anchor = tuples.anchor.detach().unsqueeze(1)
    others = {"positive_similarity": tuples.positive, "negative_similarity": tuples.negative}
    for name, vectors in others.items():
        if vectors.shape[1]:
            parts[name] = (anchor * vectors.detach()).sum(dim=-1).mean()
    return parts


TUPLE_METHODS = (
    MethodEntry(
        name="contrastive",
        kind="tuples",
        description="A positive is drawn near, hard negatives are pushed beyond a margin.",
        function=contrastive,
        weights=("loss_margin",),
        negatives="hard",
        aliases=("ts",),
    ),
    MethodEntry(
        name="contrastive+",
        kind="tuples",
        description="The same, with the teacher's vector of the anchor as a second positive.",
        function=contrastive_plus,
        weights=("loss_margin",),
        negatives="hard",
        looks_at_teacher=True,
        aliases=("ts_self",),
    ),
    MethodEntry(
        name="contrastive-distance",
        kind="tuples",
        description="The same as contrastive, with the teacher's distances in place of a margin.",
        function=contrastive_distance,
        negatives="hard",
        looks_at_teacher=True,
        aliases=("contrastive_dist",),
    ),
    MethodEntry(
        name="random-negatives",
        kind="tuples",
        description="The same as contrastive, with negatives at random.",
        function=contrastive,
        weights=("loss_margin",),
        negatives="random",
        aliases=("ts_rand", "rand"),
    ),
    MethodEntry(
        name="triplet",
        kind="tuples",
        description="Triplet hinge on squared distances, with hard negatives.",
        function=triplet,
        weights=("loss_margin",),
        negatives="hard",
    ),
    MethodEntry(
        name="multi-similarity",
        kind="tuples",
        description="Positives and negatives weighed by their own similarity.",
        function=multi_similarity,
        negatives="hard",
        aliases=("multi",),
    ),
    MethodEntry(
        name="distance-cross-entropy",
        kind="tuples",
        description="Cross-entropy over the distances of a tuple, the positive being right.",
        function=distance_cross_entropy,
        weights=("temperature",),
        negatives="hard",
        aliases=("cross_entropy_dist",),
    ),
    MethodEntry(
        name="positive-regression",
        kind="tuples",
        description="Squared distance to the teacher's vector of another image of the class.",
        function=positive_regression,
        aliases=("reg_only_pos",),
    ),
    MethodEntry(
        name="ranked-triplet",
        kind="ranked",
        description="Triplet hinge on two images near the anchor, as the teacher orders them.",
        function=triplet,
        weights=("loss_margin",),
        aliases=("rand_tpl", "rand_tpl_a"),
    ),
)
"""Methods over tuples, in the order that `ram list methods` shows."""
