"""What a query costs: multiply-accumulate operations and milliseconds."""

import platform
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from ram_cli.engine.runtime import Runtime
from ram_cli.evaluation.extract import place
from ram_cli.models import Embedder


@dataclass(frozen=True, slots=True)
class QueryCost:
    """Cost of embedding one image.

    Attributes:
        size: Side of the image in pixels.
        parameters: Parameters of the model.
        gmac: 10⁹ multiply-accumulate operations of its convolutions and matrix products.
        milliseconds: Time of one image on the runtime's device, without decoding it: the fastest
            of several runs, since other programs can only add to it.
    """

    size: int
    parameters: int
    gmac: float
    milliseconds: float


def query_cost(
    model: Embedder, *, runtime: Runtime, size: int | None = None, repeats: int = 15
) -> QueryCost:
    """Count the operations of one image, and time it.

    Args:
        model: Moved to the runtime's device and put in eval mode.
        runtime: Where and in which precision to compute.
        size: Side in pixels; None for the model's own.
        repeats: Timed runs, after two that are not counted.
    """
    size = size or model.spec.size
    place(model, runtime).eval()
    gmac = count_gmac(model, size)
    images = torch.zeros(1, 3, size, size, device=runtime.device).contiguous(
        memory_format=torch.channels_last
    )
    with torch.no_grad(), runtime.autocast():
        times = [_seconds(model, images) for _ in range(repeats + 2)][2:]
    return QueryCost(
        size=size,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        gmac=gmac,
        milliseconds=1000 * min(times),
    )


def count_gmac(model: Embedder, size: int) -> float:
    """Count the multiply-accumulate operations of one image, in 10⁹.

    Args:
        model: On any device, also on "meta", where nothing is computed.
        size: Side of the image in pixels.
    """
    device = next(model.parameters()).device
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, size, size, device=device))
    operations: int = counter.get_total_flops()  # a multiplication and an addition count as two
    return operations / 2e9


def machine_name(device: torch.device) -> str:
    """Name of the GPU, or of the CPU with the number of threads that compute on it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpu = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.is_file():
        lines = described.read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        cpu = names[0] if names else cpu
    if device.type != "cpu":
        return f"{device.type.upper()} of {cpu}"
    threads = torch.get_num_threads()
    return f"{cpu}, {threads} thread{'s' if threads > 1 else ''}"


def _seconds(model: Embedder, images: torch.Tensor) -> float:
    _synchronise(images.device)
    started = time.perf_counter()
    model(images)
    _synchronise(images.device)
    return time.perf_counter() - started


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
