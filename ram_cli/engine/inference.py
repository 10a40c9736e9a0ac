"""Networks that are not trained, by ONNX Runtime: on a CPU it fuses what torch runs layer by layer.

Letters: B images in a batch, H and W their height and width in pixels, S where both are one, D
embedding dimension.
"""

import contextlib
import io
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ram_cli.engine.runtime import Runtime
from ram_cli.errors import ModelError
from ram_cli.models import Embedder
from ram_cli.progress import SILENT, Reporter

Embed = Callable[[Tensor], Tensor]
"""Normalised images float32 `[B, 3, H, W]` → unit vectors `[B, D]`; called outside autograd."""

TOLERANCE = 1e-4
"""Largest difference from torch's unit vectors; what is measured lies near 1e-6."""
WORTH_PIXELS = 256 * 224 * 224
"""Pixels of input from which on handing a network over costs less than it saves."""

_CHUNK_PIXELS = 16 * 224 * 224
"""Pixels of input that go through at once: more leaves the caches, fewer leaves cores idle."""
_PROBE_IMAGES = 3
_TRACED_SHAPE = (160, 224)
"""Height and width that a network for images of any shape is traced at."""
_PROBE_SHAPES = ((224, 160), (193, 131), (97, 258))
"""Where such a network is compared with torch. What tracing took for constant shows in another
aspect, in sides that no stride divides, in smaller and in longer maps."""


def chosen_engine(runtime: Runtime, *, size: int, images: float) -> Literal["torch", "onnxruntime"]:
    """What `fast_inference` takes, unless the network turns out to need torch."""
    worth = images * size * size >= WORTH_PIXELS
    if runtime.engine == "torch" or (runtime.engine == "auto" and not worth):
        return "torch"
    return "onnxruntime"


def fast_inference(
    model: Embedder,
    runtime: Runtime,
    *,
    size: int,
    images: float,
    any_shape: bool = False,
    pooled: bool = False,
    reporter: Reporter = SILENT,
) -> Embed:
    """The same function as `model`, by the faster of torch and ONNX Runtime.

    Which one follows from `runtime.engine` and the amount of work, never from a measurement: the
    same command takes the same kernels again. Weights are copied; later changes do not count.
    ONNX Runtime is taken only if its vectors are those of torch, see `TOLERANCE`.

    Args:
        model: In eval mode on the runtime's device.
        runtime: Where and how to compute.
        size: S, the only one that the result takes unless it takes any shape.
        images: How many of S x S pixels will be embedded; of other shapes, as many as have the
            pixels of so many.
        any_shape: Whether the result takes images of any height and width.
        pooled: Stop before the projection.
        reporter: Told if the network has to stay with torch.

    Returns:
        A function of normalised images; `model` itself, or its `pool`, where torch is the choice.

    Raises:
        ModelError: The network takes no images of that size.
    """
    plain: Embed = model.pool if pooled else model
    if chosen_engine(runtime, size=size, images=images) == "torch":
        return plain
    shapes = _PROBE_SHAPES if any_shape else ((size, size),)
    try:
        network = _Pooled(model) if pooled else model
        fast = OnnxNetwork(network, _TRACED_SHAPE if any_shape else (size, size), any_shape)
        difference = float(torch.stack([_difference(fast, plain, shape) for shape in shapes]).max())
        obstacle = f"its vectors differ by {difference:.1g}"
    except Exception as error:
        if isinstance(error, ModelError) and not any_shape:
            raise
        difference = math.inf
        obstacle = (str(error).strip() or type(error).__name__).splitlines()[0]
    if difference <= TOLERANCE:
        return fast
    reporter.note(
        f"{model.config.backbone} stays with torch: ONNX Runtime cannot run it: {obstacle}"
    )
    return plain


def _difference(fast: Embed, plain: Embed, shape: tuple[int, int]) -> Tensor:
    """Largest difference of the vectors of noise of that height and width, a scalar."""
    probe = torch.randn(_PROBE_IMAGES, 3, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return (fast(probe) - plain(probe)).abs().max()


class OnnxNetwork:
    """A network of one input and one output, handed over to ONNX Runtime in float32.

    Args:
        network: In eval mode on the CPU.
        shape: H and W.
        any_shape: Take images of other heights and widths as well.
    """

    def __init__(self, network: nn.Module, shape: tuple[int, int], any_shape: bool = False) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors, which are raised as well
        # Threads that wait in a loop would take the cores from decoding and from the student.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = onnxruntime.InferenceSession(
            _exported(network, shape, any_shape), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, images: Tensor) -> Tensor:
        """`[B, 3, H, W]` → `[B, D]`."""
        chunk_size = max(1, _CHUNK_PIXELS // images.shape[2:].numel())
        parts = [
            self._session.run(None, {"images": chunk.contiguous().numpy()})[0]
            for chunk in torch.split(images, chunk_size)
        ]
        return torch.cat([torch.from_numpy(part) for part in parts])


class _Pooled(nn.Module):
    """A network that ends before its projection."""

    def __init__(self, model: Embedder) -> None:
        super().__init__()
        self.model = model
        self.train(model.training)

    def forward(self, images: Tensor) -> Tensor:
        return self.model.pool(images)


def _exported(network: nn.Module, shape: tuple[int, int], any_shape: bool) -> bytes:
    """The network as ONNX, for batches of any length, of one height and width or of any.

    By tracing, which takes a second or two where the exporter on `torch.export` takes ten to
    twenty; what a trace may get wrong, the comparison with torch finds.
    """
    buffer: Any = io.BytesIO()  # which torch takes here, though its signature does not say so
    free = {0: "batch", 2: "height", 3: "width"} if any_shape else {0: "batch"}
    with warnings.catch_warnings(), torch.no_grad(), _no_graphs_printed():
        warnings.simplefilter("ignore")  # on values that a trace takes for constant; see above
        torch.onnx.export(
            network,
            (torch.zeros(2, 3, *shape),),
            buffer,
            input_names=["images"],
            output_names=["vectors"],
            dynamic_axes={"images": free, "vectors": {0: "batch"}},
            dynamo=False,
        )
    exported: bytes = buffer.getvalue()
    return exported


@contextlib.contextmanager
def _no_graphs_printed() -> Iterator[None]:
    """Keep standard output clean of a refused network, which torch prints there to its last layer.

    It has a switch for that, which an export turns on by itself.
    """
    name = "_jit_onnx_log"
    printing = getattr(torch._C, name, None)
    if printing is None:
        yield
        return
    setattr(torch._C, name, lambda *_: None)
    try:
        yield
    finally:
        setattr(torch._C, name, printing)
