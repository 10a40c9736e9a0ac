"""Whatever a person calls an image, as the view that a network sees; and vectors of many.

Letters: N images, B images in a batch, S side of a view in pixels, D dimensions of an embedding.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ram_cli.errors import DataError
from ram_cli.views.decode import decode_image, image_pixels
from ram_cli.views.evaluation import DRAFT_GAP, MARGIN, evaluation_view
from ram_cli.views.tensors import normalise

if TYPE_CHECKING:
    from ram_cli.models.embedder import Embedder

ImageLike: TypeAlias = str | Path | Image.Image | NDArray[np.uint8] | Tensor
"""A file, an image of Pillow, RGB pixels `[H, W, 3]` (grey `[H, W]`), or a tensor `[3, H, W]`."""

_DECODERS = 4


def embed(
    model: "Embedder", images: ImageLike | Iterable[ImageLike], *, batch_size: int = 32
) -> Tensor:
    """Embed images as evaluation does: resized, centre crop, normalised; see `Embedder.embed`."""
    first = next(model.parameters())
    batches, training = [], model.training
    model.eval()
    try:
        with torch.inference_mode():
            for views in _batches(_one_by_one(images), model.spec.size, batch_size):
                inputs = normalise(views.to(first.device), model.spec, first.dtype)
                batches.append(model(inputs).float().cpu())
    finally:
        model.train(training)
    return torch.cat(batches) if batches else torch.empty(0, model.dimension)


def view_of(image: ImageLike, size: int, number: int = 0) -> Tensor:
    """What a network sees of one image: uint8 `[3, S, S]`.

    Args:
        image: The image.
        size: S.
        number: Its place among others, for errors.

    Raises:
        UnreadableImageError: A file is missing or damaged.
        DataError: The pixels are not 8-bit RGB or grey.
    """
    if isinstance(image, str | os.PathLike):
        return evaluation_view(
            decode_image(Path(image), min_side=round(size * MARGIN * DRAFT_GAP)), size
        )
    if isinstance(image, Image.Image):
        return evaluation_view(image_pixels(image), size)
    return evaluation_view(_pixels(image, number), size)


def _pixels(image: object, number: int) -> NDArray[np.uint8]:
    """Pixels `[H, W, 3]` of an array or a tensor."""
    if isinstance(image, Tensor):
        channels_last = image.permute(1, 2, 0) if image.ndim == 3 else image
        image = channels_last.detach().cpu().numpy()  # [H, W, 3]
    if not isinstance(image, np.ndarray):
        raise DataError(
            f"image {number} is of type {type(image).__name__}. "
            "Give a path, an image of Pillow, or an array of pixels."
        )
    if image.dtype != np.uint8:
        raise DataError(
            f"image {number} has values of type {image.dtype}, not uint8 in 0..255. Convert "
            "values in 0..1 with (255 * image).round().astype('uint8')."
        )
    if image.ndim == 2:
        image = image[:, :, None]  # [H, W, 1]
    if image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
        raise DataError(
            f"image {number} has the shape {list(image.shape)}. An array is [H, W, 3] or [H, W], "
            "a tensor [3, H, W]."
        )
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def _one_by_one(images: ImageLike | Iterable[ImageLike]) -> Iterator[ImageLike]:
    """Every image by itself, whether one was given, an array `[N, H, W, 3]`, or several."""
    single = isinstance(images, str | os.PathLike | Image.Image)
    if single or (isinstance(images, np.ndarray | Tensor) and images.ndim < 4):
        return iter([images])  # type: ignore[list-item]
    if isinstance(images, Iterable):
        return iter(images)
    raise DataError(f"{type(images).__name__} is neither an image nor several images.")


def _batches(images: Iterator[ImageLike], size: int, batch_size: int) -> Iterator[Tensor]:
    """Views uint8 `[B, 3, S, S]`; the next batch is decoded while this one is computed with."""
    if batch_size < 1:
        raise DataError(f"batch_size is {batch_size}; it must be 1 or more.")
    number = 0
    with ThreadPoolExecutor(_DECODERS) as pool:
        waiting: list[Future[Tensor]] = []
        while True:
            chunk = list(islice(images, batch_size))
            ahead = [
                pool.submit(view_of, image, size, number + place)
                for place, image in enumerate(chunk)
            ]
            number += len(chunk)
            if waiting:
                yield torch.stack([future.result() for future in waiting])  # [B, 3, S, S]
            if not ahead:
                return
            waiting = ahead
