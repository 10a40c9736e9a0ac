"""A graph compared with its model on real images: written right, or not at all.

Letters: B images of H × W pixels, S side of the model's own input in pixels, D dimensions.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ram_cli.errors import ModelError, on_one_line
from ram_cli.export.onnx import OnnxFile, OnnxInput, write_onnx
from ram_cli.export.onnx_session import Engine, refusals
from ram_cli.models import Embedder
from ram_cli.views.tensors import normalise

TOLERANCE = 1e-4
"""Largest difference between components of both engines' vectors that passes for the same."""

_BATCHES = (1, 3)
_OTHER_SIZE = 32


def write_compared(
    model: Embedder, folder: Path, kind: OnnxInput = "float", *, views: Tensor
) -> OnnxFile:
    """Write `model.onnx` and compare it, of one size where it cannot be right at another.

    Args:
        model: As for `write_onnx`.
        folder: As for `write_onnx`.
        kind: As for `write_onnx`.
        views: As for `check_onnx`.

    Raises:
        ModelError: As for `write_onnx` and `check_onnx`.
    """
    file = write_onnx(model, folder, kind)
    try:
        return replace(file, difference=check_onnx(file, model, views))
    except ModelError:
        if not file.any_size:
            raise
    for name in file.files:
        (folder / name).unlink()
    file = write_onnx(model, folder, kind, any_size=False)
    return replace(file, difference=check_onnx(file, model, views))


def check_onnx(file: OnnxFile, model: Embedder, views: Tensor) -> float:
    """Compare the vectors of ONNX Runtime with PyTorch's, in batches of 1 and 3.

    Args:
        file: The graph.
        model: The model it was made of, on the CPU.
        views: Real images, uint8 `[N, 3, S + 32, S + 32]`, N ≥ 3.

    Returns:
        Largest difference between two components, over all batches and both shapes.

    Raises:
        ModelError: It is more than `TOLERANCE`, or ONNX Runtime fails.
    """
    engine, size = Engine(file.path), model.spec.size
    widths = (size, size + _OTHER_SIZE) if file.any_size else (size,)
    largest = 0.0
    for width in widths:
        for batch in _BATCHES:
            images = views[:batch, :, :size, :width]
            with torch.inference_mode():
                wanted = model(normalise(images, model.spec))
            try:
                found = torch.from_numpy(engine.vectors(images))
            except refusals() as error:
                raise ModelError(
                    f"onnx: ONNX Runtime cannot compute {batch} images of {size} × {width} pixels: "
                    f"{on_one_line(' '.join(str(error).split()))}"
                ) from error
            difference = float((found - wanted).abs().max())
            if not difference <= TOLERANCE:
                raise ModelError(
                    f"onnx: vectors of ONNX Runtime differ from PyTorch's by {difference:.1e} for "
                    f"{batch} images of {size} × {width} pixels, more than {TOLERANCE:.0e}. "
                    "Nothing is written; export without --onnx."
                )
            largest = max(largest, difference)
    return largest


def side_to_check(model: Embedder) -> int:
    """Side of the views that `check_onnx` wants, in pixels."""
    return model.spec.size + _OTHER_SIZE
