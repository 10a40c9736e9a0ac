"""A model as `model.onnx`, which ONNX Runtime computes without PyTorch.

Letters: B images of H × W pixels, S side of the model's own input in pixels, D dimensions.

Only this file and its siblings `onnx_int8` and `onnx_session` know the optional packages onnx,
onnxruntime and onnxscript.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from ram_cli.errors import ConfigError, ModelError, causes, on_one_line
from ram_cli.export.deadline import TooLongError, at_most
from ram_cli.export.onnx_session import INPUT, OUTPUT
from ram_cli.models import Embedder, model_hash
from ram_cli.models.measure import REFUSALS
from ram_cli.version import __version__
from ram_cli.views.evaluation import MARGIN
from ram_cli.views.tensors import coefficients

OnnxInput = Literal["float", "uint8"]
"""What a graph takes: normalised `[B, 3, H, W]`, or pixels `[B, H, W, 3]`."""

ONNX_FILE = "model.onnx"
OPSET = 18
_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_LARGEST_FILE = 2**31 - 2**24
"""Bytes of weights that one file can hold: 2 GiB is protobuf's limit, less room for the graph."""

_CROPPED = "shorter side to round(margin * size), then centre crop"
_SECONDS_FOR_ANY_SIZE = 120
"""After which a graph of one size has to do: formulas of a free size may grow without an end."""
_FORMULAS = ("Same", "Window", "TinyVit", "MobileVit", "VisionTransformerMap")
"""In names of modules that pad or resample by a formula of the size, which export cannot close:
convolutions padded as TensorFlow does, windowed attention, patches of MobileViT, torchvision's ViT.
"""


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """One graph that was written.

    Attributes:
        path: The file.
        input: What it takes.
        any_size: Whether H and W are free; else both are S.
        files: All files it consists of; weights of more than 2 GiB stand beside the graph.
        head: Names of the nodes after the backbone.
        difference: Largest difference between its vectors and PyTorch's, once checked.
    """

    path: Path
    input: OnnxInput
    any_size: bool
    files: tuple[str, ...]
    head: tuple[str, ...]
    difference: float = 0.0


def require_onnx() -> None:
    """Say what to install where an optional package is missing.

    Raises:
        ConfigError: One is.
    """
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise ConfigError(
            f"onnx: {', '.join(missing)} cannot be imported: pip install 'ram-cli[onnx]'"
        )


def write_onnx(
    model: Embedder, folder: Path, kind: OnnxInput = "float", *, any_size: bool = True
) -> OnnxFile:
    """Write `model.onnx` into a folder that exists; see `onnx_check.write_compared`.

    The batch is free. The size is, where the network is free of it too: convolutions whose padding
    does not depend on it, and a pooling over the whole map.

    Args:
        model: The model, on the CPU.
        folder: Where to.
        kind: With "uint8" the graph itself scales and normalises pixels.
        any_size: Whether to try for a free size.

    Raises:
        ModelError: The network has something that ONNX, or its exporter, does not know.
    """
    graph = _Graph(model, kind).eval()
    may_be_free = any_size and _may_be_free(model)
    program, any_size = _exported(graph, kind, model.spec.size, free=may_be_free)
    head = _strip(program.model, after="model.backbone")
    program.model.metadata_props.update(_description(model, kind, any_size=any_size))
    path = folder / ONNX_FILE
    weight_bytes = sum(value.nbytes for value in model.state_dict().values())
    program.save(path, external_data=weight_bytes > _LARGEST_FILE)
    files = tuple(sorted(file.name for file in folder.glob(f"{ONNX_FILE}*")))
    return OnnxFile(path, kind, any_size, files, head)


class _Graph(nn.Module):
    """The model behind the input that its graph is to have."""

    def __init__(self, model: Embedder, kind: OnnxInput) -> None:
        super().__init__()
        self.model = model
        self.pixels = kind == "uint8"
        factors, offsets = coefficients(model.spec)
        self.register_buffer("factors", factors.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("offsets", offsets.view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Embed `[B, 3, H, W]`, or pixels `[B, H, W, 3]`."""
        if self.pixels:
            images = images.permute(0, 3, 1, 2).float()  # [B, 3, H, W]
            images = images * cast(Tensor, self.factors) - cast(Tensor, self.offsets)
        return cast(Tensor, self.model(images))


def _exported(graph: _Graph, kind: OnnxInput, size: int, *, free: bool) -> tuple[Any, bool]:
    """The program, and whether its size is free: tried first where it may be.

    Raises:
        ModelError: Neither can be made.
    """
    pixels = kind == "uint8"
    shape = (2, size, size, 3) if pixels else (2, 3, size, size)
    example = torch.zeros(shape, dtype=torch.uint8 if pixels else torch.float32)
    rows = 1 if pixels else 2
    sizes = {rows: "height", rows + 1: "width"}
    for any_size in (True, False) if free else (False,):
        names = {0: "batch"} | (sizes if any_size else {})
        try:
            with quiet(), at_most(_SECONDS_FOR_ANY_SIZE) if any_size else nullcontext():
                return _program(graph, example, names), any_size
        except TooLongError:
            continue
        except (*REFUSALS, torch.onnx.OnnxExporterError) as error:
            if not any_size:
                first = list(causes(error))[-1]
                reason = next(iter(str(first).strip().splitlines()), type(first).__name__)
                name = graph.model.config.backbone
                raise ModelError(
                    f"onnx: {name} cannot be exported: {on_one_line(reason)}"
                ) from error
    raise AssertionError("the last attempt returns or raises")


def _program(graph: _Graph, example: Tensor, names: dict[int, str]) -> Any:
    free = dict.fromkeys(names, torch.export.Dim.DYNAMIC)
    with torch.no_grad():
        # Captured by itself: the exporter's own fallbacks would fix a size that is to be free.
        captured = torch.export.export(graph, (example,), dynamic_shapes=(free,), strict=False)
    return torch.onnx.export(
        captured,
        dynamo=True,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=(names,),
        verbose=False,
    )


def _may_be_free(model: Embedder) -> bool:
    """Whether no part of the network is known to depend on the size of its input."""
    config = model.config
    by_region = config.regional or config.pooling in ("rmac", "none")
    padded = any(
        formula in type(module).__name__
        for module in model.backbone.modules()
        for formula in _FORMULAS
    )
    return not by_region and not padded and model.backbone.takes_size(config.input_size + 32)


def _strip(graph_model: Any, *, after: str) -> tuple[str, ...]:
    """Remove what tells of the machine from every node; names of the nodes outside of `after`."""
    head = []
    for node in graph_model.graph.all_nodes():
        scopes = node.metadata_props.get("pkg.torch.onnx.name_scopes", "")
        if f"'{after}'" not in scopes:
            head.append(str(node.name))
        node.metadata_props.clear()  # stack traces hold paths
        node.doc_string = None
    for value in (*graph_model.graph.inputs, *graph_model.graph.outputs):
        value.metadata_props.clear()
    graph_model.graph.metadata_props.clear()
    return tuple(head)


def _description(model: Embedder, kind: OnnxInput, *, any_size: bool) -> dict[str, str]:
    """How to prepare images, as the file's metadata tell it."""
    spec, whole = model.spec, model.fit == "whole" and any_size
    content: dict[str, Any] = {
        "size": spec.size,
        "any_size": any_size,
        "mean": list(spec.mean),
        "std": list(spec.std),
        "fit": "whole" if whole else "crop",
        "margin": 1.0 if whole else MARGIN,
        "resize": "longer side down to size, never up, no crop" if whole else _CROPPED,
        "filter": "lanczos",
        "channels": "RGB",
        "input": kind,
        "layout": "BHWC" if kind == "uint8" else "BCHW",
        "normalised": kind == "float",
        "dimension": model.dimension,
        "backbone": model.config.backbone,
        "ram_version": __version__,
        "model_hash": model_hash(model),
    }
    return {
        f"ram.{name}": value if isinstance(value, str) else json.dumps(value)
        for name, value in content.items()
    }


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what exporters warn of, one line per operator, off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
