"""An ONNX graph whose backbone computes with 8-bit integers.

Letters: B images in a batch, S side of a view in pixels.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ram_cli.errors import ModelError, OutputError
from ram_cli.export.onnx import OnnxFile, quiet
from ram_cli.export.onnx_session import INPUT, Engine, refusals

INT8_FILE = "model.int8.onnx"
CALIBRATION_IMAGES = 128

_BATCH = 8
_OPERATORS = ("Conv", "Gemm", "MatMul", "Add", "Relu", "Clip", "MaxPool", "AveragePool", "Reshape")
_OPERATORS_OF_TOKENS = ("Conv", "Gemm", "MatMul")


def write_int8(file: OnnxFile, views: Tensor, weight_bits: int = 8) -> OnnxFile:
    """Write `model.int8.onnx` beside `model.onnx`: static QDQ quantisation of the backbone.

    Weights have one scale per output channel; activations are 8-bit with the range that the
    calibration images show. What follows the backbone stays float32: GeM's powers need its range.

    Args:
        file: The float graph.
        views: Images to calibrate with, uint8 `[N, 3, S, S]`.
        weight_bits: 8, or 7: x86 processors without VNNI add two products in 16 bits, which
            overflow less often then.

    Raises:
        ModelError: ONNX Runtime cannot quantise the graph.
        OutputError: The disk is full.
    """
    from google.protobuf.message import DecodeError
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    path = file.path.with_name(INT8_FILE)
    large = len(file.files) > 1
    try:
        with quiet():
            quantize_static(
                file.path,
                path,
                _Reader(Engine(file.path), views),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=weight_bits < 8,
                op_types_to_quantize=list(_operators(file.path)),
                nodes_to_exclude=list(file.head),
                use_external_data_format=large,
            )
    except DecodeError as error:  # what was just written beside the graph, and not whole
        raise OutputError(
            f"cannot write {path}: a file for it is cut off. Is the disk full?"
        ) from error
    except refusals() as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"int8: the graph cannot be quantised: {reason}") from error
    files = tuple(sorted(one.name for one in path.parent.glob(f"{INT8_FILE}*")))
    return replace(file, path=path, files=files)


def _operators(path: Path) -> tuple[str, ...]:
    """Operators to quantise: in a transformer the products alone, for sums feed its norms."""
    import onnx

    kinds = {node.op_type for node in onnx.load(path, load_external_data=False).graph.node}
    return _OPERATORS_OF_TOKENS if "LayerNormalization" in kinds else _OPERATORS


class _Reader:
    """Batches in the form in which ONNX Runtime's calibration asks for them."""

    def __init__(self, engine: Engine, views: Tensor) -> None:
        self._batches = ({INPUT: engine.inputs(batch)} for batch in torch.split(views, _BATCH))

    def get_next(self) -> dict[str, NDArray[np.generic]] | None:
        """The next batch, or None after the last."""
        return next(self._batches, None)
