"""Where the projection of a new network starts from: closed forms, before any training."""

import numpy as np
import torch
from numpy.typing import NDArray

from ram_cli.datasets import ImageSet
from ram_cli.engine import Runtime
from ram_cli.evaluation import whiten_supervised
from ram_cli.evaluation.extract import embed_images
from ram_cli.models import Embedder
from ram_cli.progress import Reporter
from ram_cli.views import Fit

SHRINKAGE = 0.3
"""Of the covariance of matching pairs; chosen among 0.01, 0.1, 0.3 and 1 on the furniture images
(mAP on unseen classes at 128 dimensions 57, 68, 71, 69; 48 without a projection)."""


def start_projection(
    model: Embedder,
    images: ImageSet,
    *,
    seed: int,
    runtime: Runtime,
    workers: int,
    reporter: Reporter,
    fit: Fit = "crop",
) -> bool:
    """Start the projection from what separates matching images, if it can be learned.

    Supervised whitening of the pooled features: the closed form that landmark retrieval appends
    after training (Radenović et al., TPAMI 2018, section 3.3), here before it.

    Args:
        model: Its projection is overwritten.
        images: Labelled training images.
        seed: Of the choice of pairs.
        runtime: Where to embed them.
        workers: Processes that decode.
        reporter: Told of the progress.
        fit: What the network sees of an image.

    Returns:
        Whether the projection was set: not without one, nor without two images of any class, nor
        where it widens the features.
    """
    if model.projection is None or model.dimension > model.channels:
        return False
    query, positive = matching_pairs(images.labels, seed=seed)
    if len(query) == 0:
        return False
    features = embed_images(
        model,
        images,
        runtime=runtime,
        workers=workers,
        reporter=reporter,
        description="learn projection",
        pooled=True,
        fit=fit,
    )
    whitening = whiten_supervised(features, query, positive, shrinkage=SHRINKAGE)
    weight = whitening.projection[: model.dimension]  # [D, C]
    bias = -weight @ whitening.mean  # [D]
    # Unit length on average before the final L2, so that gradients have a usual scale.
    scale = (features.double() @ weight.T + bias).norm(dim=1).mean()
    model.set_projection((weight / scale).to(torch.float32), (bias / scale).to(torch.float32))
    return True


def matching_pairs(
    labels: NDArray[np.int64], *, seed: int, partners: int = 8
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of images of the same class; large classes do not outweigh small ones by their square.

    Args:
        labels: Class of each image `[N]`.
        seed: Of the order inside a class.
        partners: Pairs per image, at most.

    Returns:
        Indices of both sides, `[P]` each.
    """
    random = np.random.default_rng((seed, 201))
    query, positive = [], []
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        for offset in range(1, min(partners, len(members) - 1) + 1):
            query.append(members)
            positive.append(np.roll(members, -offset))
    nothing = np.zeros(0, dtype=np.int64)
    return (
        np.concatenate(query) if query else nothing,
        np.concatenate(positive) if positive else nothing,
    )
