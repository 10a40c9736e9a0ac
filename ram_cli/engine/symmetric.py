"""Objective without a teacher: metric learning with labels, the way the teachers are trained.

Letters: B anchors in a batch, N negatives per anchor, M images per class, D embedding dimension.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ram_cli.engine.collectives import Join
from ram_cli.engine.objective import EpochState, ItemBatch, KeyedViews, alone, collate_items
from ram_cli.engine.runtime import Runtime
from ram_cli.errors import DataError
from ram_cli.losses import distance_weighted_negatives, symmetric_batch_loss
from ram_cli.views import ClassPlan, InputSpec, SingleViews, ViewKey, class_plan, normalise

if TYPE_CHECKING:
    from ram_cli.datasets import ImageSet

Mining = Literal["pool", "batch"]

Embed = Callable[[nn.Module, Sequence[int]], Tensor]
"""Centre-crop embeddings `[len(indices), D]` of training images by the current network."""

_POOL_STREAM, _NEGATIVES_STREAM, _BATCH_STREAM = 101, 102, 103


class SymmetricObjective:
    """Class-balanced batches; positives inside the batch, negatives by distance-weighted sampling.

    Negatives are mined at the start of each epoch from a random pool, with the current network, as
    published (RAML, section 4); or, at a fraction of the cost, in each batch among its own images
    (Wu et al., ICCV 2017).

    Args:
        images: Training images and their labels.
        spec: Input of the network.
        embed: How to embed training images for mining; needed for the pool only.
        loss: A name of `LOSSES`.
        margin: Margin of that loss.
        mining: "pool" or "batch".
        negatives: N.
        pool_size: Images of the pool, at most.
        images_per_class: M.
        batch_size: B, a multiple of M.
        images_per_epoch: Anchors per epoch, at most.
        seed: Seed of every random draw.
        runtime: Where to compute.
        cache_bytes: Decoded pixels that each loading process may keep.

    Raises:
        DataError: No class has two images.
    """

    collate = staticmethod(collate_items)

    def __init__(
        self,
        images: "ImageSet",
        spec: InputSpec,
        embed: Embed,
        *,
        loss: str,
        margin: float,
        mining: Mining,
        negatives: int,
        pool_size: int,
        images_per_class: int,
        batch_size: int,
        images_per_epoch: int,
        seed: int,
        runtime: Runtime,
        cache_bytes: int = 0,
    ) -> None:
        self.labels = torch.from_numpy(np.asarray(images.labels))
        self.spec, self.embed, self.loss_name, self.margin = spec, embed, loss, margin
        self.mining, self.negatives, self.seed, self.runtime = mining, negatives, seed, runtime
        self.pool_size = min(pool_size, len(images))
        self.images_per_class, self.batch_size = images_per_class, batch_size
        self.images_per_epoch = images_per_epoch
        self.dataset = KeyedViews(SingleViews(images, spec.size, seed, cache_bytes=cache_bytes))
        self.excluded_classes = self._plan(0).excluded_classes

    def _plan(self, epoch: int) -> ClassPlan:
        try:
            return class_plan(
                self.labels.numpy(),
                self.batch_size,
                seed=self.seed,
                epoch=epoch,
                images_per_class=self.images_per_class,
                images_per_epoch=self.images_per_epoch,
            )
        except ValueError as error:
            raise DataError(f"cannot train on these images: {error}.") from error

    def prepare(self, model: nn.Module, epoch: int) -> EpochState:
        """Mine the negatives `[E, N]` of the epoch's E anchors, as indices of images."""
        if self.mining == "batch":
            return {}
        anchors = torch.tensor([key.image for batch in self._plan(epoch).batches for key in batch])
        random = np.random.default_rng((self.seed, epoch, _POOL_STREAM))
        pool = torch.from_numpy(
            np.sort(random.choice(len(self.labels), self.pool_size, replace=False))
        )
        wanted, place = torch.unique(torch.cat([anchors, pool]), return_inverse=True)
        vectors = self.embed(model, wanted.tolist())  # [U, D]
        chosen = distance_weighted_negatives(
            vectors[place[: len(anchors)]],
            vectors[place[len(anchors) :]],
            self.labels[anchors].numpy(),
            self.labels[pool].numpy(),
            self.negatives,
            np.random.default_rng((self.seed, epoch, _NEGATIVES_STREAM)),
        )
        return {"negatives": pool[torch.as_tensor(chosen)]}

    def batches(self, epoch: int, state: EpochState) -> list[list[ViewKey]]:
        """Anchors, then, when mined from the pool, the N negatives of each anchor in turn."""
        batches = self._plan(epoch).batches
        if self.mining == "batch":
            return batches
        negatives = state["negatives"].tolist()
        position = sum(len(batch) for batch in batches)
        whole = []
        done = 0
        for batch in batches:
            mined = [image for row in negatives[done : done + len(batch)] for image in row]
            done += len(batch)
            keys = [ViewKey(image, epoch, position + i) for i, image in enumerate(mined)]
            position += len(mined)
            whole.append([*batch, *keys])
        return whole

    def batch_count(self, epoch: int) -> int:
        """May differ between epochs by the classes that happen to be left over."""
        return len(self._plan(epoch).batches)

    def image_count(self, epoch: int) -> int:
        """Anchors of the epoch."""
        return sum(len(batch) for batch in self._plan(epoch).batches)

    def count(self, keys: Sequence[ViewKey]) -> int:
        """B; negatives are extra."""
        return self._anchors(len(keys))

    def _anchors(self, images: int) -> int:
        return images if self.mining == "batch" else images // (1 + self.negatives)

    def loss(self, model: nn.Module, batch: ItemBatch, join: Join = alone) -> dict[str, Tensor]:
        """Loss of the anchors, and how similar they are to positives and negatives."""
        device = self.runtime.device
        embeddings = join(model(normalise(batch.views.to(device, non_blocking=True), self.spec)))
        images = join(batch.images)
        anchors = self._anchors(len(images))
        labels = self.labels[images[:anchors]]
        anchor = embeddings[:anchors]  # [B, D]
        if self.mining == "pool":
            negative = embeddings[anchors:].view(anchors, self.negatives, -1)  # [B, N, D]
        else:
            negative = embeddings[self._in_batch(anchor.detach(), labels, images)]
        return symmetric_batch_loss(
            anchor, labels.to(device), negative, loss=self.loss_name, margin=self.margin
        )

    def _in_batch(self, vectors: Tensor, labels: Tensor, images: Tensor) -> Tensor:
        """Positions `[B, N]` of negatives among the batch itself.

        Seeded by what the batch shows, which differs from batch to batch and is the same again
        when a run is resumed.
        """
        random = np.random.default_rng((self.seed, _BATCH_STREAM, *images.tolist()))
        vectors = vectors.float().cpu()
        chosen = distance_weighted_negatives(
            vectors, vectors, labels.numpy(), labels.numpy(), self.negatives, random
        )
        return torch.as_tensor(chosen, device=self.runtime.device)
