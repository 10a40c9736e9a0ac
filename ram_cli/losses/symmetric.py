"""One training step without a teacher: positives inside the batch, negatives mined beside it.

Letters: B images in the batch, P positives and N negatives of an image, D embedding dimension.
"""

from typing import Literal

import torch
from torch import Tensor

from ram_cli.errors import ModelError
from ram_cli.losses.numerics import check_tuples, in_full_precision
from ram_cli.losses.registry import find_loss

_SIMILARITIES = ("positive_similarity", "negative_similarity")


@in_full_precision
def symmetric_batch_loss(
    embeddings: Tensor,
    labels: Tensor,
    negatives: Tensor,
    loss: str,
    margin: float,
    reduction: Literal["mean", "sum"] = "mean",
) -> dict[str, Tensor]:
    """Loss of a batch whose anchors take all other images of their class as positives.

    The published teachers were trained this way (Suma & Tolias, WACV 2023): 4 images per class, so
    3 positives per anchor, and 4 distance-weighted negatives. An image alone in its class has no
    positive and is left out; a batch of such images gives zero.

    Args:
        embeddings: `[B, D]` unit vectors of the batch.
        labels: `[B]` class of every image.
        negatives: `[B, N, D]` unit vectors of the negatives mined for every image.
        loss: A name of `LOSSES`.
        margin: Margin of that loss.
        reduction: "mean" over the anchors, or "sum" as published.

    Returns:
        Scalars: "loss", to be minimised, and the detached mean cosines "positive_similarity" and
        "negative_similarity" of the anchors.

    Raises:
        ConfigError: `loss` or `reduction` is unknown.
        ModelError: The shapes do not fit together.
    """
    entry = find_loss(loss)
    check_tuples(embeddings, negatives=negatives)
    _check_labels(embeddings, labels)
    index, counts = in_batch_positives(labels)
    anchors = counts.any(dim=1).nonzero().squeeze(1)
    if len(anchors) == 0:
        zero = embeddings.sum() * 0.0  # keeps the graph: a training step may go on
        return {"loss": zero, **dict.fromkeys(_SIMILARITIES, zero.detach())}
    anchor, positive, negative = embeddings[anchors], embeddings[index[anchors]], negatives[anchors]
    # [A, D], [A, P, D], [A, N, D] with A of the B images that have a positive
    counts = counts[anchors]
    value = entry.function(
        anchor, positive, negative, margin, reduction=reduction, positive_mask=counts
    )
    to_positive = (anchor.unsqueeze(1) * positive).sum(dim=-1).detach()[counts].mean()
    to_negative = (anchor.unsqueeze(1) * negative).sum(dim=-1).detach().mean()
    return {"loss": value, **dict(zip(_SIMILARITIES, (to_positive, to_negative), strict=True))}


def _check_labels(embeddings: Tensor, labels: Tensor) -> None:
    if labels.shape != embeddings.shape[:1]:
        raise ModelError(
            f"labels of shape {tuple(labels.shape)} do not fit embeddings of shape "
            f"{tuple(embeddings.shape)}: give one label per image"
        )


def in_batch_positives(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of the other images of each image's class.

    Args:
        labels: `[B]`.

    Returns:
        Positions `[B, P]`, P the most any image has, and a mask `[B, P]`: false where a row of
        positions is filled up beyond the positives its image has.
    """
    same = labels.unsqueeze(1) == labels.unsqueeze(0)
    same.fill_diagonal_(False)
    most = int(same.sum(dim=1).max()) if len(labels) else 0
    order = same.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
    return order, same.gather(1, order)
