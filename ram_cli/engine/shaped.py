"""Plain views of any shape: items that know their place in the epoch, batches stacked by shape.

Letters: B images in a batch, b of them of one shape, D embedding dimension.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ram_cli.views import (
    EvaluationViews,
    Fit,
    InputSpec,
    ViewKey,
    WholeViews,
    normalise,
    stack_by_shape,
)

if TYPE_CHECKING:
    from ram_cli.datasets import ImageSet


class ShapedItem(NamedTuple):
    """A view uint8 `[3, h, w]`, the image it shows, and its place in the epoch."""

    position: int
    image: int
    view: Tensor


class ShapedBatch(NamedTuple):
    """A batch of views of several shapes.

    Attributes:
        positions: Places of the items in the epoch, int64 `[B]`.
        images: Images that they show, int64 `[B]`.
        places: Places in the batch of the views of each shape, int64 `[b]`.
        views: Views of each shape, uint8 `[b, 3, h, w]`.
    """

    positions: Tensor
    images: Tensor
    places: list[Tensor]
    views: list[Tensor]


class PlainViews(Dataset[ShapedItem]):
    """Images without augmentation; an item is asked for by its `ViewKey`.

    Args:
        images: The images.
        size: Side of the centre crop, or longer side of the whole image, in pixels.
        fit: Which of the two.
    """

    def __init__(self, images: "ImageSet", size: int, fit: Fit) -> None:
        make = WholeViews if fit == "whole" else EvaluationViews
        self.views: Dataset[Tensor] = make(images, size)

    def __getitem__(self, key: ViewKey) -> ShapedItem:
        """The view of one item; raises UnreadableImageError."""
        return ShapedItem(key.position, key.image, self.views[key.image])


def collate_shaped(items: Sequence[ShapedItem]) -> ShapedBatch:
    """Stack items into a batch."""
    return ShapedBatch(
        torch.tensor([item.position for item in items]),
        torch.tensor([item.image for item in items]),
        *stack_by_shape([item.view for item in items]),
    )


def embed_shaped(
    model: nn.Module, batch: ShapedBatch, spec: InputSpec, device: torch.device
) -> Tensor:
    """Embeddings `[B, D]` in the order of the batch, by one forward pass per shape."""
    parts: list[Tensor] = [
        model(normalise(views.to(device, non_blocking=True), spec)) for views in batch.views
    ]
    if len(parts) == 1:
        return parts[0]
    order = torch.cat(list(batch.places)).argsort().to(device)
    return torch.cat(parts)[order]
