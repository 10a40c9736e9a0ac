"""Vectors of an ONNX graph by ONNX Runtime.

Letters: N images, B images in a batch, S side of a view in pixels, D dimensions.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ram_cli.datasets import ImageSet
from ram_cli.errors import ModelError
from ram_cli.progress import SILENT, Reporter
from ram_cli.views.evaluation import EvaluationViews
from ram_cli.views.spec import InputSpec
from ram_cli.views.tensors import normalise

INPUT, OUTPUT = "images", "embeddings"
"""Names of what a graph takes and gives."""

_DECODERS = 2


class Engine:
    """An open graph that `ram export --onnx` wrote, on the CPU.

    Args:
        path: The file.
        threads: Threads it computes with; 0 leaves it to ONNX Runtime.

    Raises:
        ModelError: ONNX Runtime does not take the file, or it does not say what it expects.
    """

    def __init__(self, path: Path | str, threads: int = 0) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # what is raised need not be printed as well
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            described = self._session.get_modelmeta().custom_metadata_map
            mean, std = (json.loads(described[f"ram.{name}"]) for name in ("mean", "std"))
            self.spec = InputSpec(int(described["ram.size"]), tuple(mean), tuple(std))
            self._pixels = described["ram.input"] == "uint8"
        except refusals() as error:
            reason = " ".join(str(error).split())
            raise ModelError(f"{path} is no graph of ram that can be run: {reason}") from error

    def inputs(self, views: Tensor) -> NDArray[np.generic]:
        """What the graph takes for views uint8 `[B, 3, H, W]`."""
        if self._pixels:
            pixels: NDArray[np.generic] = views.permute(0, 2, 3, 1).contiguous().numpy()
            return pixels  # [B, H, W, 3]
        normalised: NDArray[np.generic] = normalise(views, self.spec).contiguous().numpy()
        return normalised

    def run(self, inputs: NDArray[np.generic]) -> NDArray[np.float32]:
        """Unit vectors `[B, D]` of what `inputs` gives."""
        vectors: NDArray[np.float32] = self._session.run([OUTPUT], {INPUT: inputs})[0]
        return vectors

    def vectors(self, views: Tensor) -> NDArray[np.float32]:
        """Unit vectors `[B, D]` of views uint8 `[B, 3, H, W]`."""
        return self.run(self.inputs(views))

    def embed(
        self, images: ImageSet, *, batch_size: int = 32, reporter: Reporter = SILENT, name: str = ""
    ) -> Tensor:
        """Unit vectors `[N, D]` of the centre crops of an image set, in its order."""
        views, batches = EvaluationViews(images, self.spec.size), []
        with (
            ThreadPoolExecutor(_DECODERS) as pool,
            reporter.task(f"embed {images.name}, {name}", len(images)) as task,
        ):
            for start in range(0, len(images), batch_size):
                places = range(start, min(start + batch_size, len(images)))
                batch = torch.stack(list(pool.map(views.__getitem__, places)))  # [B, 3, S, S]
                batches.append(torch.from_numpy(self.vectors(batch)))
                task.advance(len(batch))
        return torch.cat(batches)


def refusals() -> tuple[type[Exception], ...]:
    """What ONNX Runtime and its tools raise at a graph, and a graph without our metadata."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = (
        "EPFail", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile",
        "NotImplemented", "RuntimeException",
    )  # fmt: skip
    own: list[type[Exception]] = [getattr(state, name) for name in names]
    return (KeyError, RuntimeError, ValueError, *own)
