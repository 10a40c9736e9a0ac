"""Objective over tuples: a student anchor against positives and negatives.

Letters: B anchors in a batch, N negatives of a tuple, Q tuples of an epoch, M training images, D
embedding dimension.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ram_cli.engine.collectives import Join
from ram_cli.engine.objective import EpochState, alone
from ram_cli.engine.runtime import Runtime
from ram_cli.engine.shaped import PlainViews, ShapedBatch, collate_shaped, embed_shaped
from ram_cli.engine.tuple_sources import TupleSource
from ram_cli.losses import Tuples
from ram_cli.views import Fit, InputSpec, ViewKey, bucket_shapes, shape_batches

if TYPE_CHECKING:
    from ram_cli.datasets import ImageSet


class TuplesObjective:
    """Metric learning over tuples (Budnik & Avrithis, CVPR 2021).

    Asymmetric: only the anchor is decoded and goes through the student; positives and negatives
    are vectors of the teacher, computed once. Symmetric: all of them go through the student.

    Args:
        images: Training images, M.
        source: Which of them make the tuples of an epoch.
        spec: Input of the student.
        function: Loss of `Tuples`, returning its parts.
        weights: Further arguments of `function` by name.
        teacher_vectors: `[M, D]`, unit length; None where there is no teacher, in which case
            training is symmetric.
        symmetric: Whether positives and negatives go through the student.
        fit: Whether the student sees the centre of an image or the whole of it.
        batch_size: B.
        seed: Seed of the run.
        runtime: Where to compute.
    """

    collate = staticmethod(collate_shaped)

    def __init__(
        self,
        images: "ImageSet",
        source: TupleSource,
        spec: InputSpec,
        function: Callable[..., dict[str, Tensor]],
        weights: Mapping[str, float],
        *,
        teacher_vectors: Tensor | None,
        symmetric: bool,
        fit: Fit = "crop",
        batch_size: int,
        seed: int,
        runtime: Runtime,
    ) -> None:
        self.source, self.spec, self.runtime = source, spec, runtime
        self.function, self.weights = function, dict(weights)
        self.teacher_vectors = teacher_vectors
        self.symmetric = symmetric or teacher_vectors is None
        self.batch_size, self.seed = batch_size, seed
        self.shapes = bucket_shapes(images, spec.size) if fit == "whole" else None
        self.dataset = PlainViews(images, spec.size, fit)
        self._tuples = torch.zeros((0, 2), dtype=torch.int64)  # of the epoch at work, [Q, 2 + N]

    def prepare(self, model: nn.Module, epoch: int) -> EpochState:
        """Choose the epoch's tuples `[Q, 2 + N]`, as indices of images."""
        return {"tuples": self.source.tuples(model, epoch)}

    def batches(self, epoch: int, state: EpochState) -> list[list[ViewKey]]:
        """Anchors of one shape; then, if symmetric, the rest of each anchor's tuple in turn."""
        self._tuples = state["tuples"]
        batches = self._anchor_batches(epoch)
        if not self.symmetric:
            return batches
        others = self._tuples[:, 1:].tolist()
        return [[*batch, *_keys_of_others(batch, others)] for batch in batches]

    def batch_count(self, epoch: int) -> int:
        """May differ between epochs by the shapes that anchors happen to have."""
        return len(self._anchor_batches(epoch))

    def image_count(self, epoch: int) -> int:
        """Q."""
        return self.source.count(epoch)

    def count(self, keys: Sequence[ViewKey]) -> int:
        """B; the rest of the tuples is extra."""
        return self._anchors(len(keys))

    def loss(self, model: nn.Module, batch: ShapedBatch, join: Join = alone) -> dict[str, Tensor]:
        """Parts of the loss of B tuples."""
        device = self.runtime.device
        embeddings = join(embed_shaped(model, batch, self.spec, device))
        anchors = self._anchors(len(embeddings))
        anchor = embeddings[:anchors]  # [B, D]
        rows = self._tuples[join(batch.positions)[:anchors]]  # [B, 2 + N]
        others = embeddings[anchors:].view(anchors, -1, embeddings.shape[1])  # [B, 1 + N or 0, D]
        if self.teacher_vectors is None:
            teacher = torch.cat([anchor.unsqueeze(1), others], dim=1).detach()
        else:
            teacher = self.teacher_vectors[rows].to(device)  # [B, 2 + N, D]
        if not self.symmetric:
            others = teacher[:, 1:]
        tuples = Tuples(anchor, others[:, :1], others[:, 1:], teacher[:, 0], teacher[:, 2:])
        return self.function(tuples, **self.weights)

    def _anchor_batches(self, epoch: int) -> list[list[ViewKey]]:
        images = self.source.anchors(epoch).tolist()
        keys = [ViewKey(image, epoch, position) for position, image in enumerate(images)]
        return shape_batches(keys, self.shapes, self.batch_size, seed=self.seed, epoch=epoch)

    def _anchors(self, images: int) -> int:
        return images // self._tuples.shape[1] if self.symmetric else images


def _keys_of_others(anchors: Sequence[ViewKey], others: Sequence[Sequence[int]]) -> list[ViewKey]:
    """Keys of the images beside the anchors, whose places follow those of all anchors."""
    return [
        ViewKey(image, anchor.epoch, len(others) + anchor.position * len(row) + place)
        for anchor in anchors
        for row in (others[anchor.position],)
        for place, image in enumerate(row)
    ]
