"""Where and in which number format to compute, chosen once and said aloud."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import DistributedDataParallelKwargs

from ram_cli.errors import ConfigError
from ram_cli.processes import local_count, local_index, process_count

Precision = Literal["fp32", "bf16", "fp16"]
Engine = Literal["torch", "onnxruntime", "auto"]
"""What runs networks that are not trained; "auto" is ONNX Runtime for long work, else torch."""

_DTYPES: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
_ACCELERATE_NAMES: dict[str, str] = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


@dataclass(frozen=True, slots=True)
class Runtime:
    """A device, the number format of its matrix products, and what runs frozen networks."""

    device: torch.device
    precision: Precision
    engine: Engine = "torch"

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the matrix products."""
        return _DTYPES[self.precision]

    def autocast(self) -> torch.autocast:
        """Context in which matrix products and convolutions run in this precision."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.precision != "fp32")

    def describe(self) -> str:
        """One line for people: device and precision."""
        name = str(self.device)
        if self.device.type == "cuda":
            name = f"{name} ({torch.cuda.get_device_name(self.device)})"
        elif self.device.type == "cpu":
            threads = torch.get_num_threads()
            name = f"cpu ({threads} thread{'s' if threads > 1 else ''})"
        if process_count() > 1:
            name = f"{process_count()} processes, the first on {name}"
        suffix = {"torch": "", "auto": ", long embedding by ONNX Runtime"}
        return f"{name}, {self.precision}{suffix.get(self.engine, ', embedding by ONNX Runtime')}"


def resolve_runtime(device: str = "auto", precision: str = "auto", engine: str = "auto") -> Runtime:
    """Turn names into a device, a precision and an engine that this machine really has.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; auto prefers cuda, then mps.
        precision: `auto`, `fp32`, `bf16` or `fp16`; auto takes bf16 on CUDA devices that have
            it, fp16 on older ones, and fp32 elsewhere.
        engine: `auto`, `torch` or `onnxruntime`; auto takes ONNX Runtime for long work in fp32 on
            a CPU where it is installed.

    Raises:
        ConfigError: The machine has no such device or engine, or the device no such format.
    """
    chosen = _device(device)
    arithmetic = _precision(precision, chosen)
    return Runtime(chosen, arithmetic, _engine(engine, chosen, arithmetic))


def onnxruntime_installed() -> bool:
    """Whether networks can be handed over to ONNX Runtime; says nothing about one network."""
    return all(find_spec(package) is not None for package in ("onnx", "onnxruntime"))


def make_accelerator(
    runtime: Runtime, *, folder: Path | None = None, tracker: str | None = None
) -> Accelerator:
    """Build the accelerate engine for one piece of training on `runtime`.

    accelerate keeps its choice of device in process-wide state; a second training in the same
    process (distillation after the teacher's) may choose otherwise, so that state is renewed.

    Args:
        runtime: Where and how to compute.
        folder: Where trackers write.
        tracker: Name of an accelerate tracker, such as "tensorboard"; None for none.
    """
    AcceleratorState._reset_state(reset_partial_state=process_count() == 1)
    GradientState._reset_state()
    if runtime.device.type == "cuda":
        torch.cuda.set_device(runtime.device)
    return Accelerator(
        cpu=runtime.device.type == "cpu",
        mixed_precision=_ACCELERATE_NAMES[runtime.precision],
        log_with=tracker,
        project_dir=None if folder is None else str(folder),
        kwargs_handlers=[
            DistributedDataParallelKwargs(
                broadcast_buffers=False,  # statistics are frozen, or the layers share them
                gradient_as_bucket_view=True,
                find_unused_parameters=True,  # a backbone may bring what features do not need
            )
        ],
    )


def _device(name: str) -> torch.device:
    device = _named_device(name)
    if process_count() == 1 or device.type == "cpu":
        return device
    if device.type != "cuda":
        raise ConfigError(
            f"device: {device.type} is for one process. Use --device cpu, or one process."
        )
    if ":" in name and local_count() > 1:
        raise ConfigError(
            f"device: {name} for {local_count()} processes. Use --device cuda: each takes its own."
        )
    if local_index() >= torch.cuda.device_count():
        raise ConfigError(
            f"device: {local_count()} processes, but {torch.cuda.device_count()} CUDA devices on "
            "this machine. Start one process for each."
        )
    return torch.device("cuda", device.index if local_count() == 1 else local_index())


def _named_device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            name = "cuda"
        elif torch.backends.mps.is_available():
            name = "mps"
        else:
            name = "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise ConfigError("device: no CUDA device on this machine. Use --device cpu.")
        if device.index is not None and device.index >= count:
            raise ConfigError(f"device: cuda:{device.index} of {count} CUDA devices (from 0).")
        return torch.device("cuda", device.index or 0)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device: no MPS device on this machine. Use --device cpu.")
    return device


def _precision(name: str, device: torch.device) -> Precision:
    if name == "auto":
        return _fast_precision(device)
    if name == "fp16" and device.type == "cpu":
        raise ConfigError("precision: fp16 needs a GPU. Use bf16 or fp32 on a CPU.")
    if name == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise ConfigError("precision: this GPU has no bf16. Use fp16 or fp32.")
    if name not in _DTYPES:
        raise ConfigError(f"precision: {name!r} is none of auto, {', '.join(_DTYPES)}.")
    return name  # type: ignore[return-value]


def _engine(name: str, device: torch.device, precision: Precision) -> Engine:
    fits = device.type == "cpu" and precision == "fp32"
    if name == "auto":
        return "auto" if fits and onnxruntime_installed() else "torch"
    if name == "onnxruntime" and not fits:
        raise ConfigError("engine: onnxruntime is for fp32 on a CPU. Use --engine torch.")
    if name == "onnxruntime" and not onnxruntime_installed():
        raise ConfigError('engine: no ONNX Runtime here. Run: pip install "ram-cli[fast]"')
    if name not in get_args(Engine):
        raise ConfigError(f"engine: {name!r} is none of {', '.join(get_args(Engine))}.")
    return name  # type: ignore[return-value]


def _fast_precision(device: torch.device) -> Precision:
    """Half precision on CUDA devices alone.

    On a CPU with instructions for bf16 a student's training step took twice as long as in fp32, and
    fp32 by ONNX Runtime half as long as bf16 by torch. It also makes results those of any CPU.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "fp32"
