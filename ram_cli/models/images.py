"""Whatever a person calls an image, as the view that a network sees; and vectors of many.

Letters: N images, B images in a batch, S side of a view in pixels, D dimensions of an embedding.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from io import IOBase
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ram_cli.errors import DataError, ModelError
from ram_cli.models.projection import whiten
from ram_cli.views.decode import decode_image, image_pixels
from ram_cli.views.evaluation import DRAFT_GAP, MARGIN, evaluation_view, landmark_view
from ram_cli.views.tensors import normalise
from ram_cli.views.whole import Fit, batch_of, stack_by_shape

if TYPE_CHECKING:
    from ram_cli.models.embedder import Embedder

ImageLike: TypeAlias = str | Path | Image.Image | NDArray[np.uint8] | Tensor
"""A file, an image of Pillow, RGB pixels `[H, W, 3]` (grey `[H, W]`), or a tensor `[3, H, W]`."""

_DECODERS = 4
_CONVERSIONS = {
    "f": "values in 0..1 with (255 * image).round().astype('uint8')",
    "u": "values in 0..65535 with (image // 257).astype('uint8')",
    "b": "a mask with 255 * image.astype('uint8')",
}


def embed(
    model: "Embedder",
    images: ImageLike | Iterable[ImageLike],
    *,
    fit: Fit | None = None,
    whitening: "bool | Embedder | None" = None,
    batch_size: int = 32,
) -> Tensor:
    """Embed images as evaluation does; see `Embedder.embed`."""
    chosen = model.fit if fit is None else fit
    if chosen not in get_args(Fit):
        raise DataError(f"fit is {fit!r}; it is 'crop', 'whole' or None.")
    applied = _whitening(model, whitening, by_itself=chosen == model.fit == "whole")
    first = next(model.parameters())
    parts, training = [], model.training
    model.eval()
    try:
        with torch.inference_mode():
            for views in _batches(_one_by_one(images), model.spec.size, chosen, batch_size):
                vectors = torch.empty(len(views), model.dimension)
                for places, stacked in _stacks(views, chosen, batch_size):
                    inputs = normalise(stacked.to(first.device), model.spec, first.dtype)
                    vectors[places] = model(inputs).float().cpu()
                parts.append(vectors)
    finally:
        model.train(training)
    vectors = torch.cat(parts) if parts else torch.empty(0, model.dimension)
    return vectors if applied is None else whiten(vectors, *applied).float()


def view_of(image: ImageLike, size: int, number: int = 0, fit: Fit = "crop") -> Tensor:
    """What a network sees of one image: uint8 `[3, S, S]`, or whole `[3, h, w]`.

    Args:
        image: The image.
        size: S, or the longer side of a whole image.
        number: Its place among others, for errors.
        fit: Its centre, or all of it.

    Raises:
        UnreadableImageError: A file is missing or damaged.
        DataError: The pixels are not 8-bit RGB or grey.
    """
    view = landmark_view if fit == "whole" else evaluation_view
    if isinstance(image, str | os.PathLike):
        # As in evaluation: whole images are never decoded at a fraction.
        draft = None if fit == "whole" else round(size * MARGIN * DRAFT_GAP)
        return view(decode_image(Path(image), min_side=draft), size)
    if isinstance(image, Image.Image):
        return view(image_pixels(image), size)
    return view(_pixels(image, number), size)


def _whitening(
    model: "Embedder", wanted: "bool | Embedder | None", *, by_itself: bool
) -> tuple[Tensor, Tensor] | None:
    """The whitening to apply; see `Embedder.embed`."""
    if wanted is False or (wanted is None and not by_itself):
        return None
    asked = isinstance(wanted, torch.nn.Module)
    source = (wanted if asked else model).whitening_source  # type: ignore[union-attr]
    found = None if source is None else source.find()
    if found is None:
        if wanted is None:
            return None
        raise ModelError(
            "whitening: the gallery network brings none. Learn one with ram test "
            "--learn-whitening … --store-whitening, or leave whitening out."
        )
    if found[1].shape[1] != model.dimension:
        raise ModelError(
            f"whitening: it is of {found[1].shape[1]} dimensions, but vectors have "
            f"{model.dimension}."
        )
    return found


def _stacks(views: Sequence[Tensor], fit: Fit, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Places `[b]` of views of one shape, and the views `[b, 3, h, w]`, as many as go at once."""
    for places, stacked in zip(*stack_by_shape(views), strict=True):
        height, width = stacked.shape[2:]
        most = batch_of(height, width, batch_size) if fit == "whole" else batch_size
        for start in range(0, len(places), most):
            yield places[start : start + most], stacked[start : start + most]


def _pixels(image: object, number: int) -> NDArray[np.uint8]:
    """Pixels `[H, W, 3]` of an array or a tensor."""
    if isinstance(image, Tensor):
        channels_last = image.permute(1, 2, 0) if image.ndim == 3 else image
        image = channels_last.detach().cpu().numpy()  # [H, W, 3]
    if not isinstance(image, np.ndarray):
        raise DataError(
            f"image {number} is of type {type(image).__name__}. "
            "Give a path, an image of Pillow, which opens files and bytes, or an array of pixels."
        )
    if image.dtype != np.uint8:
        raise DataError(
            f"image {number} has values of type {image.dtype}, not uint8 in 0..255. Convert "
            f"{_CONVERSIONS.get(image.dtype.kind, _CONVERSIONS['f'])}."
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
    # What a file holds is no image yet, and neither are its lines or bytes; it is told as a whole.
    single = isinstance(images, str | os.PathLike | Image.Image | bytes | bytearray | IOBase)
    if single or (isinstance(images, np.ndarray | Tensor) and images.ndim < 4):
        return iter([images])  # type: ignore[list-item]
    if isinstance(images, Iterable):
        return iter(images)
    raise DataError(f"{type(images).__name__} is neither an image nor several images.")


def _batches(
    images: Iterator[ImageLike], size: int, fit: Fit, batch_size: int
) -> Iterator[list[Tensor]]:
    """Views of B images; the next batch is decoded while this one is computed with."""
    if batch_size < 1:
        raise DataError(f"batch_size is {batch_size}; it must be 1 or more.")
    number = 0
    with ThreadPoolExecutor(_DECODERS) as pool:
        waiting: list[Future[Tensor]] = []
        while True:
            chunk = list(islice(images, batch_size))
            ahead = [
                pool.submit(view_of, image, size, number + place, fit)
                for place, image in enumerate(chunk)
            ]
            number += len(chunk)
            if waiting:
                yield [future.result() for future in waiting]
            if not ahead:
                return
            waiting = ahead
