"""Which images make the tuples of an epoch: an anchor, a positive and negatives.

Letters: Q tuples of an epoch, N negatives of a tuple, M training images, D embedding dimension.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ram_cli.errors import DataError
from ram_cli.losses import (
    NegativeSource,
    hardest_negatives,
    random_negatives,
    teacher_ranked_pairs,
)
from ram_cli.views import label_pairs, listed_pairs, pair_count
from ram_cli.views.randomness import Stream, generator

Indices = NDArray[np.int64]

Embed = Callable[[nn.Module, Sequence[int]], Tensor]
"""Embeddings `[len(indices), D]` of training images by the current network, without a gradient."""


class TupleSource(Protocol):
    """Chooses the tuples of an epoch; all that is random is a function of seed and epoch."""

    def count(self, epoch: int) -> int:
        """Q."""
        ...

    def anchors(self, epoch: int) -> Indices:
        """Images of the anchors `[Q]`, known before anything is embedded."""
        ...

    def tuples(self, model: nn.Module, epoch: int) -> Tensor:
        """Images of anchor, positive and negatives, int64 `[Q, 2 + N]`."""
        ...


class LabelledTuples:
    """Random pairs of one class; negatives of other classes, the hardest of a random pool.

    Radenović et al., TPAMI 2018: anew in each epoch; of each class or cluster at most one negative
    of an anchor.

    Args:
        labels: Class or cluster of each image `[M]`.
        embed: How to embed training images by the current network.
        pairs: Anchors and positives to draw from, `[P, 2]`; None for any two of a class.
        queries: Q, at most.
        negatives: N; 0 for none.
        mining: "hard" or "random"; None where N is 0.
        pool_size: Images of the pool, at most.
        pool_vectors: Vectors of all images by the teacher `[M, D]`, in place of embedding the pool
            by the current network (Budnik & Avrithis, CVPR 2021).
        seed: Seed of the run.
        device: Where to search.

    Raises:
        DataError: There is no pair, or there are too few classes.
    """

    def __init__(
        self,
        labels: Indices,
        embed: Embed,
        *,
        pairs: Indices | None = None,
        queries: int,
        negatives: int,
        mining: NegativeSource | None,
        pool_size: int,
        pool_vectors: Tensor | None,
        seed: int,
        device: torch.device,
    ) -> None:
        self.labels, self.embed, self.pairs = labels, embed, pairs
        self.negatives, self.mining, self.pool_vectors = negatives, mining, pool_vectors
        self.pool_size, self.seed, self.device = min(pool_size, len(labels)), seed, device
        available = pair_count(labels) if pairs is None else len(pairs)
        if available == 0:
            raise DataError(
                "cannot train on these images: no class has two. Choose a method without labels, "
                "such as --method regression."
            )
        others = len(np.unique(labels)) - 1
        if negatives > others:
            raise DataError(
                f"{negatives} negatives of an anchor need as many other classes, and there are "
                f"{others}. Use --negatives {others}, or a method without labels."
                if others
                else "all images are of one class, so there are no negatives. Choose a method "
                "without labels, such as --method regression."
            )
        self.queries = min(queries, available)

    def count(self, epoch: int) -> int:
        """The same in every epoch."""
        return self.queries

    def anchors(self, epoch: int) -> Indices:
        """Anchors of the random pairs."""
        return self._pairs(epoch)[:, 0]

    def tuples(self, model: nn.Module, epoch: int) -> Tensor:
        """The pairs, and beside each its negatives, the hardest first."""
        pairs = self._pairs(epoch)
        if self.negatives == 0:
            return torch.from_numpy(pairs)
        random = generator(Stream.POOL, self.seed, epoch)
        pool = np.sort(random.permutation(len(self.labels))[: self.pool_size])
        anchor_labels, pool_labels = self.labels[pairs[:, 0]], self.labels[pool]
        if self.mining == "random":
            chosen = random_negatives(
                anchor_labels,
                pool_labels,
                self.negatives,
                generator(Stream.NEGATIVES, self.seed, epoch),
            )
        else:
            chosen = hardest_negatives(
                *self._vectors(model, pairs[:, 0], pool), anchor_labels, pool_labels, self.negatives
            )
        return torch.from_numpy(np.concatenate([pairs, pool[chosen]], axis=1))

    def _pairs(self, epoch: int) -> Indices:
        if self.pairs is None:
            return label_pairs(self.labels, self.queries, seed=self.seed, epoch=epoch)
        return listed_pairs(self.pairs, self.queries, seed=self.seed, epoch=epoch)

    def _vectors(self, model: nn.Module, anchors: Indices, pool: Indices) -> tuple[Tensor, Tensor]:
        """Of anchors by the network that trains, and of the pool by whichever holds negatives."""
        if self.pool_vectors is not None:
            whole = len(pool) == len(self.pool_vectors)  # in order; a copy may be too large
            query = self.embed(model, anchors.tolist())
            others = self.pool_vectors if whole else self.pool_vectors[pool]
        else:
            wanted, place = np.unique(np.concatenate([anchors, pool]), return_inverse=True)
            vectors = self.embed(model, wanted.tolist())
            query, others = vectors[place[: len(anchors)]], vectors[place[len(anchors) :]]
        return query.to(self.device), others.to(self.device)


class RankedTuples:
    """Positive and negative are two random images near the anchor, as the teacher orders them.

    Budnik & Avrithis, CVPR 2021. No labels.

    Args:
        teacher_vectors: Of all training images `[M, D]`.
        queries: Q, at most.
        pool_size: Images that are ranked, at most.
        top: Length of the list that the two are drawn from.
        seed: Seed of the run.
        device: Where to search.
    """

    def __init__(
        self,
        teacher_vectors: Tensor,
        *,
        queries: int,
        pool_size: int,
        top: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.teacher_vectors, self.top = teacher_vectors, top
        self.queries = min(queries, len(teacher_vectors))
        self.pool_size, self.seed = min(pool_size, len(teacher_vectors)), seed
        self.device = device

    def count(self, epoch: int) -> int:
        """The same in every epoch."""
        return self.queries

    def anchors(self, epoch: int) -> Indices:
        """Random images, no image twice."""
        random = generator(Stream.PAIR_PLAN, self.seed, epoch)
        return random.permutation(len(self.teacher_vectors))[: self.queries]

    def tuples(self, model: nn.Module, epoch: int) -> Tensor:
        """Anchor, the nearer and the farther of the two, `[Q, 3]`."""
        anchors, images = self.anchors(epoch), len(self.teacher_vectors)
        random = generator(Stream.POOL, self.seed, epoch)
        pool = np.sort(random.permutation(images)[: self.pool_size])
        inside = np.full(images, -1)
        inside[pool] = np.arange(len(pool))
        positive, negative = teacher_ranked_pairs(
            self.teacher_vectors[anchors].to(self.device),
            self.teacher_vectors[pool].to(self.device),
            generator(Stream.NEGATIVES, self.seed, epoch),
            query_positions=inside[anchors],
            top=self.top,
        )
        return torch.from_numpy(np.stack([anchors, pool[positive], pool[negative]], axis=1))
