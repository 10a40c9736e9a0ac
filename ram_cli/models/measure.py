"""What a backbone gives for an image, found by running it once without data."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ram_cli.errors import ModelError

Extract = Callable[[nn.Module, Tensor], Tensor]
"""Reads the last features of a network: (network, images `[B, 3, H, W]`) → features."""
Layout = Literal["channels_first", "channels_last", "tokens"]

REFUSALS = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
    ZeroDivisionError,
)
"""What networks raise at an input that they cannot take."""
_MAX_PREFIX_TOKENS = 8
_LARGEST_PATCH = 64


@dataclass(frozen=True, slots=True)
class Measured:
    """Shape of a network's features, and which of its parameters they depend on.

    Attributes:
        layout: Order of the axes.
        channels: C.
        prefix_tokens: Class and register tokens before those of the image.
        idle_children: Children of the network that never ran and whose parameters have no part.
        idle_parameters: Names of all parameters that have no part.
    """

    layout: Layout
    channels: int
    prefix_tokens: int
    idle_children: tuple[str, ...]
    idle_parameters: frozenset[str]


class _Probe(nn.Module):
    def __init__(self, network: nn.Module, extract: Extract) -> None:
        super().__init__()
        self.network, self.extract = network, extract

    def forward(self, images: Tensor) -> Tensor:
        return self.extract(self.network, images)


def measure(network: nn.Module, extract: Extract, size: int) -> Measured:
    """Run `network` once on an image of `size` pixels, on the meta device where it can.

    Raises:
        ModelError: The features are no map of the image.
    """
    network.eval()
    try:
        measured = _measure(network, extract, size, torch.device("meta"))
    except REFUSALS:  # a few networks look at values, which meta tensors do not have
        measured = _measure(network, extract, size, torch.device("cpu"))
        network.train().eval()  # some transformers cache their attention biases until they train
    return measured


def fits(network: nn.Module, extract: Extract, size: int) -> bool:
    """Whether `network` takes images of `size` pixels."""
    try:
        measure(network, extract, size)
    except REFUSALS:
        return False
    except ModelError:
        return False
    return True


def token_grid(tokens: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of `tokens` patches of an image: the factors closest to its proportions.

    Args:
        tokens: N, without prefix tokens.
        height: H, in pixels.
        width: W, in pixels.
    """
    divisors = [rows for rows in range(1, tokens + 1) if tokens % rows == 0]
    wanted = math.log(height / width)
    rows = min(divisors, key=lambda rows: abs(math.log(rows * rows / tokens) - wanted))
    return rows, tokens // rows


def _measure(network: nn.Module, extract: Extract, size: int, device: torch.device) -> Measured:
    ran: set[nn.Module] = set()
    hooks = [
        child.register_forward_hook(lambda module, _args, _output: ran.add(module))
        for child in network.children()
    ]
    try:
        features, parameters = _run(network, extract, size, device)
    finally:
        for hook in hooks:
            hook.remove()
    idle = _idle_parameters(features, parameters)
    idle_children = tuple(
        name
        for name, child in network.named_children()
        if child not in ran
        and not isinstance(child, nn.ModuleList | nn.ModuleDict)  # walked through, never run
        and any(True for _ in child.parameters())
        and all(f"{name}.{inner}" in idle for inner, _ in child.named_parameters())
    )
    layout, channels, prefix = _layout(network, features, size)
    return Measured(layout, channels, prefix, idle_children, idle)


def _run(
    network: nn.Module, extract: Extract, size: int, device: torch.device
) -> tuple[Tensor, dict[str, Tensor]]:
    """Features of an empty image, and the parameters they were computed with."""
    parameters, buffers = dict(network.named_parameters()), dict(network.named_buffers())
    if device.type == "meta":
        empty = torch.empty_like
        parameters = {
            name: nn.Parameter(empty(value, device=device), value.requires_grad)
            for name, value in parameters.items()
        }
        buffers = {name: empty(value, device=device) for name, value in buffers.items()}
    tensors = {f"network.{name}": value for name, value in (parameters | buffers).items()}
    images = torch.zeros(1, 3, size, size, device=device)
    with torch.enable_grad():
        # Modules that stand at several places are swapped once: tying would swap them twice and
        # leave the empty tensors behind.
        features: Tensor = torch.func.functional_call(
            _Probe(network, extract), tensors, (images,), tie_weights=False
        )
    return features, dict(parameters)


def _idle_parameters(features: Tensor, parameters: dict[str, Tensor]) -> frozenset[str]:
    """Names of the trainable parameters that the features do not depend on."""
    trainable = {name: value for name, value in parameters.items() if value.requires_grad}
    if not trainable or not features.requires_grad:
        return frozenset(trainable)
    with torch.enable_grad():
        total = features.sum()
    gradients = torch.autograd.grad(total, list(trainable.values()), allow_unused=True)
    return frozenset(
        name for name, gradient in zip(trainable, gradients, strict=True) if gradient is None
    )


def _layout(network: nn.Module, features: Tensor, size: int) -> tuple[Layout, int, int]:
    """Order of the axes, C and the number of prefix tokens, from the features of a square image."""
    shape = tuple(features.shape)
    if features.ndim == 4:
        last = getattr(network, "output_fmt", None) == "NHWC" or shape[1] == shape[2] != shape[3]
        return ("channels_last", shape[3], 0) if last else ("channels_first", shape[1], 0)
    if features.ndim == 3:
        declared = getattr(network, "num_prefix_tokens", None)
        likely = [declared] if isinstance(declared, int) else []
        for prefix in [*likely, *range(_MAX_PREFIX_TOKENS)]:
            tokens = shape[1] - prefix
            lone = tokens == 1 and size > _LARGEST_PATCH  # a class token, not a map
            if tokens > 0 and not lone and math.isqrt(tokens) ** 2 == tokens:
                return "tokens", shape[2], prefix
    raise ModelError(f"the features {list(shape)} are no map of the image.")
