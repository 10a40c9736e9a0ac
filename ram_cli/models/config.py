"""The description of an embedder, enough to build it again."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, get_args

from ram_cli.errors import CheckpointError
from ram_cli.views.spec import InputSpec
from ram_cli.views.whole import Fit

_RANGES: Final[dict[str, tuple[int, int]]] = {
    "dimension": (0, 1 << 16),
    "adapter": (0, 1 << 16),
    "input_size": (1, 1 << 14),
    "network_size": (1, 1 << 12),
}
"""Least and largest values of a file; what is built to larger ones would fill the memory."""
_SMALLEST_STD = 1e-6
_SHOWN = 60  # characters of a wrong value


@dataclass(frozen=True, slots=True)
class EmbedderConfig:
    """Everything about an embedder but its weights.

    Attributes:
        backbone: `timm:NAME` or `torchvision:NAME`.
        pooling: Key of `POOLINGS`.
        dimension: D, length of an embedding.
        projection: Whether a linear layer C → D follows pooling; without one, D = C.
        input_size: Side of its images (longer side, for landmarks), in pixels.
        mean: Mean of red, green, blue, of values in 0..1.
        std: Standard deviation of red, green, blue, of values in 0..1.
        network_size: Side of the images its backbone is built for, in pixels.
        local_whitening: Whether a linear layer acts on every position before pooling.
        regional: Whether pooling runs over the R-MAC regions.
        regional_whitening: Whether a linear layer acts on every region's vector.
        adapter: Width of a 1 × 1 convolution with ReLU after the backbone; 0 for none.
        whole_features: torchvision's `.features` untouched: VGG and AlexNet keep their last
            max-pooling, DenseNet has no ReLU at its end.
        fit: What it was made to see of an image: "crop", "whole", or empty where nothing says so.
    """

    backbone: str
    pooling: str
    dimension: int
    projection: bool
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    network_size: int
    local_whitening: bool = False
    regional: bool = False
    regional_whitening: bool = False
    adapter: int = 0
    whole_features: bool = False
    fit: str = ""

    @property
    def spec(self) -> InputSpec:
        """Size, mean and std of its input."""
        return InputSpec(self.input_size, self.mean, self.std)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON knows them; an older ram reads them all where `fit` is empty."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if (name, value) != ("fit", "")
        }

    @classmethod
    def from_json(cls, content: Any, where: str = "config.json") -> "EmbedderConfig":
        """Read what `to_json` wrote.

        Args:
            content: The JSON object.
            where: What to call it in an error.

        Raises:
            CheckpointError: A field is missing, unknown, of the wrong type, or out of its range.
        """
        if not isinstance(content, dict):
            raise CheckpointError(f"{where}: the model must be a JSON object.")
        known = {field.name: field for field in fields(cls)}
        if unknown := sorted(content.keys() - known.keys()):
            raise CheckpointError(
                f"{where}: unknown field {_shown(repr(unknown))}. Upgrade ram-cli?"
            )
        try:
            checked = {
                name: _ranged(name, _typed(content[name], field.type))
                for name, field in known.items()
                if name in content
            }
            if checked.get("fit", "") not in ("", *get_args(Fit)):
                raise TypeError(f"fit: {checked['fit']!r} should be crop or whole")
            return cls(**checked)
        except TypeError as error:
            raise CheckpointError(f"{where}: {str(error).rpartition('__init__() ')[2]}.") from error


def _typed(value: Any, kind: Any) -> Any:
    """The value, if it is of the type that a field declares: a scalar, or three numbers."""
    if kind in (str, int, bool):
        if type(value) is not kind:
            raise TypeError(f"{_shown(repr(value))} should be of type {kind.__name__}")
        if kind is str and not value.isprintable():
            raise TypeError(f"{_shown(repr(value))} is no name")
        return value
    numbers = isinstance(value, list) and all(type(item) in (int, float) for item in value)
    if not numbers or len(value) != 3:
        raise TypeError(f"{_shown(repr(value))} should be three numbers")
    try:
        return tuple(float(item) for item in value)
    except OverflowError:
        raise TypeError(f"{_shown(value)} should be three numbers of a usual size") from None


def _ranged(name: str, value: Any) -> Any:
    """The value of a field, if a network can be built to it."""
    least, largest = _RANGES.get(name, (0, 0))
    if name in _RANGES and not least <= value <= largest:
        raise TypeError(f"{name} is {_shown(value)}, not in {least}..{largest}")
    if name in ("mean", "std") and not all(math.isfinite(item) for item in value):
        raise TypeError(f"{name} {_shown(value)} is not finite")
    if name == "std" and min(value) < _SMALLEST_STD:
        raise TypeError(f"std {_shown(value)} is not positive")
    return value


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
