"""What a training optimises: which batches an epoch shows, and the loss of a batch."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from ram_cli.engine.collectives import Join
from ram_cli.views import ViewKey

Batch = Any
"""Whatever the objective's `collate` makes of a list of items."""


def alone(rows: Tensor) -> Tensor:
    """Rows of a batch that one process has all of."""
    return rows


EpochState = dict[str, Tensor]
"""What an epoch has computed at its start, such as mined negatives; kept in checkpoints."""


class Objective(Protocol):
    """One way to train a network.

    Everything random is a function of the seed and the epoch, so that a resumed run sees exactly
    the batches an uninterrupted one sees.
    """

    @property
    def dataset(self) -> "Dataset[Any]":
        """Gives an item for a key."""
        ...

    def collate(self, items: Sequence[Any], /) -> Batch:
        """Make a batch of items."""
        ...

    def prepare(self, model: nn.Module, epoch: int) -> EpochState:
        """Compute what the epoch needs before its first batch, such as mined negatives."""
        ...

    def batch_count(self, epoch: int) -> int:
        """Batches of the epoch, known before it is prepared."""
        ...

    def image_count(self, epoch: int) -> int:
        """Images of the epoch that count, known before it is prepared."""
        ...

    def batches(self, epoch: int, state: EpochState) -> list[list[ViewKey]]:
        """Keys of every batch of the epoch."""
        ...

    def count(self, keys: Sequence[ViewKey]) -> int:
        """Images of a batch that count towards the mean loss of an optimiser step."""
        ...

    def loss(self, model: nn.Module, batch: Batch, join: Join = alone) -> dict[str, Tensor]:
        """Scalars of a batch, means over its images; "loss" is minimised, the rest is logged.

        Args:
            model: The network.
            batch: What this process has of a batch: all of it, unless others have the rest.
            join: Makes rows of the whole batch of rows of this one, in the order of its keys.
        """
        ...


class Item(NamedTuple):
    """A view and the image it shows."""

    image: int
    view: Tensor


class KeyedViews(Dataset[Item]):
    """Hands out each view together with the index of its image.

    Args:
        views: Data set of views, asked by key.
    """

    def __init__(self, views: "Dataset[Tensor]") -> None:
        self.views = views

    def __getitem__(self, key: ViewKey) -> Item:
        """View of `key`, uint8 `[3, S, S]`, and its image."""
        return Item(key.image, self.views[key])


class ItemBatch(NamedTuple):
    """Views uint8 `[B, 3, S, S]` and the images int64 `[B]` that they show."""

    images: Tensor
    views: Tensor


def collate_items(items: Sequence[Item]) -> ItemBatch:
    """Stack items into a batch."""
    return ItemBatch(
        torch.tensor([item.image for item in items]),
        default_collate([item.view for item in items]),
    )
