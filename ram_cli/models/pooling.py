"""Global pooling of feature maps: from `[B, C, h, w]` to `[B, C]`.

Letters: B images, C channels, h and w the size of the feature map, R regions, L levels of regions.
Everything here computes in float32 (float64 stays float64), whatever precision the map comes in:
`clamp(x, ε)^p` underflows in half precision.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ram_cli.errors import ModelError

EPSILON = 1e-6
"""ε of every pooling and normalisation."""
GEM_INITIAL_POWER = 3.0
RMAC_LEVELS = 3


def l2_normalise(vectors: Tensor, dim: int = 1) -> Tensor:
    """Divide by the Euclidean norm along `dim`: x / (‖x‖ + ε); a zero vector stays zero."""
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=dim, keepdim=True)
    return vectors / (norms + EPSILON)


@contextmanager
def full_precision(features: Tensor) -> Iterator[Tensor]:
    """Yield `features` in float32 or float64, with autocast switched off inside the block."""
    device = features.device.type
    wide = features if features.dtype == torch.float64 else features.float()
    # The context is entered only where it changes something: exporters need not know it.
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            yield wide
    else:
        yield wide


def linear(vectors: Tensor, layer: nn.Linear) -> Tensor:
    """Apply `layer` in the precision of `vectors`, whatever precision its weights are kept in."""
    bias = None if layer.bias is None else layer.bias.to(vectors.dtype)
    return functional.linear(vectors, layer.weight.to(vectors.dtype), bias)


def generalised_mean(features: Tensor, power: Tensor) -> Tensor:
    """GeM: (mean of clamp(x, ε)^p)^(1/p).

    The map is first divided by its largest value, which cancels out: no power, however large,
    overflows, or underflows for all positions of a channel and so makes the gradient NaN.

    Args:
        features: `[B, C, h, w]`.
        power: p, `[1]` or one per channel `[C]`.

    Returns:
        `[B, C]`.

    Reference: Radenović, Tolias, Chum, "Fine-tuning CNN image retrieval with no human
    annotation", TPAMI 2018, eq. 3.
    """
    clamped = features.clamp(min=EPSILON)
    scale = clamped.detach().amax(dim=(2, 3), keepdim=True)  # [B, C, 1, 1]
    power = power.to(clamped.dtype)
    mean = (clamped / scale).pow(power.view(1, -1, 1, 1)).mean(dim=(2, 3))  # [B, C]
    return scale[:, :, 0, 0] * mean.pow(1.0 / power)


@dataclass(frozen=True, slots=True)
class Region:
    """A square window of a feature map, in positions; `size` 0 stands for the whole map."""

    top: int
    left: int
    size: int


def region_grid(height: int, width: int, levels: int = RMAC_LEVELS) -> list[Region]:
    """Windows of R-MAC: at level l, squares of side floor(2·min(h, w)/(l+1)).

    Along the longer side the number of windows grows by 1 to 6, whichever brings the overlap of
    neighbours on the first level closest to 40 %.

    Returns:
        R regions, level by level, rows before columns; the whole map is not among them.

    Reference: Tolias, Sicre, Jégou, "Particular object retrieval with integral max-pooling of CNN
    activations", ICLR 2016, section 3.2.
    """
    short, long = min(height, width), max(height, width)
    extra = 0
    if long > short:
        extra = min(range(1, 7), key=lambda steps: abs(1 - (long - short) / (steps * short) - 0.4))
    regions = []
    for level in range(1, levels + 1):
        size = 2 * short // (level + 1)
        if size == 0:
            continue
        tops = _window_starts(height, size, level + (extra if height > width else 0))
        lefts = _window_starts(width, size, level + (extra if width > height else 0))
        regions += [Region(top, left, size) for top in tops for left in lefts]
    return regions


def _window_starts(length: int, size: int, count: int) -> list[int]:
    if count == 1:
        return [0]
    return [index * (length - size) // (count - 1) for index in range(count)]


def _crops(features: Tensor, levels: int) -> Iterator[Tensor]:
    """The whole map, then every region of the grid."""
    yield features
    for region in region_grid(features.shape[2], features.shape[3], levels):
        rows = slice(region.top, region.top + region.size)
        columns = slice(region.left, region.left + region.size)
        yield features[:, :, rows, columns]


class Mac(nn.Module):
    """Maximum over all positions."""

    def forward(self, features: Tensor) -> Tensor:
        """Pool `[B, C, h, w]` to `[B, C]`."""
        return features.amax(dim=(2, 3))


class Spoc(nn.Module):
    """Mean over all positions."""

    def forward(self, features: Tensor) -> Tensor:
        """Pool `[B, C, h, w]` to `[B, C]`."""
        return features.mean(dim=(2, 3))


class Gem(nn.Module):
    """Generalised mean with a learnable power.

    Args:
        channels: C for one power per channel, 1 for a single power.
    """

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((channels,), GEM_INITIAL_POWER))

    def forward(self, features: Tensor) -> Tensor:
        """Pool `[B, C, h, w]` to `[B, C]`."""
        return generalised_mean(features, self.p)


class Rmac(nn.Module):
    """Sum of the unit-norm maxima of the whole map and of every region of the grid."""

    def __init__(self, levels: int = RMAC_LEVELS) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, features: Tensor) -> Tensor:
        """Pool `[B, C, h, w]` to `[B, C]`."""
        maxima = [crop.amax(dim=(2, 3)) for crop in _crops(features, self.levels)]
        return l2_normalise(torch.stack(maxima, dim=1), dim=2).sum(dim=1)  # [B, R+1, C] → [B, C]


class Flat(nn.Module):
    """No pooling: for backbones whose feature map has a single position."""

    def forward(self, features: Tensor) -> Tensor:
        """Turn `[B, C, 1, 1]` into `[B, C]`.

        Raises:
            ModelError: The map has more than one position.
        """
        if features.shape[2:] != (1, 1):
            height, width = features.shape[2:]
            raise ModelError(
                f"the feature map has {height} × {width} positions and pooling is 'none': "
                "choose a pooling such as gem."
            )
        return features[:, :, 0, 0]


class Regional(nn.Module):
    """Pool every R-MAC region, L2, optional shared linear layer, L2, sum, L2.

    Args:
        pool: Pooling of one region.
        channels: C.
        whitening: Whether the linear layer `[C, C]` is there.
        levels: L.
    """

    def __init__(
        self, pool: nn.Module, channels: int, *, whitening: bool, levels: int = RMAC_LEVELS
    ) -> None:
        super().__init__()
        self.pool, self.levels = pool, levels
        self.whitening = nn.Linear(channels, channels) if whitening else None

    def forward(self, features: Tensor) -> Tensor:
        """Pool `[B, C, h, w]` to `[B, C]`."""
        pooled = [self.pool(crop) for crop in _crops(features, self.levels)]
        vectors = l2_normalise(torch.stack(pooled, dim=1), dim=2)  # [B, R+1, C]
        if self.whitening is not None:
            vectors = l2_normalise(linear(vectors, self.whitening), dim=2)
        return l2_normalise(vectors.sum(dim=1))


class LocalWhitening(nn.Module):
    """A linear layer at every position of the feature map.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Map `[B, C, h, w]` to `[B, C, h, w]`."""
        return linear(features.permute(0, 2, 3, 1), self.linear).permute(0, 3, 1, 2)


@dataclass(frozen=True, slots=True)
class PoolingEntry:
    """A way of pooling.

    Attributes:
        summary: One line for people.
        build: From C to the module.
        lr_scale: Factor on the learning rate of its own parameters, which get no weight decay.
        regional: Whether it can be applied to regions.
    """

    summary: str
    build: Callable[[int], nn.Module]
    lr_scale: float = 1.0
    regional: bool = True


POOLINGS: dict[str, PoolingEntry] = {
    "gem": PoolingEntry("generalised mean, one learnable power", lambda _: Gem(), 10.0),
    "gemmp": PoolingEntry("generalised mean, one power per channel", Gem, 100.0),
    "mac": PoolingEntry("maximum over all positions", lambda _: Mac()),
    "spoc": PoolingEntry("mean over all positions", lambda _: Spoc()),
    "rmac": PoolingEntry("regional maxima, summed", lambda _: Rmac(), regional=False),
    "none": PoolingEntry("no pooling: one position only", lambda _: Flat(), regional=False),
}
"""Every pooling by name."""


def build_pooling(
    name: str, channels: int, *, regional: bool = False, regional_whitening: bool = False
) -> nn.Module:
    """Build a pooling `[B, C, h, w]` → `[B, C]`.

    Args:
        name: Key of `POOLINGS`.
        channels: C.
        regional: Apply it to the R-MAC regions and sum.
        regional_whitening: With `regional`, a linear layer `[C, C]` shared by the regions.

    Raises:
        ModelError: Unknown name, or one that cannot be regional.
    """
    if name not in POOLINGS:
        raise ModelError(f"there is no pooling '{name}'. Choose one of {', '.join(POOLINGS)}.")
    entry = POOLINGS[name]
    if not regional:
        if regional_whitening:
            raise ModelError("regional whitening needs regional pooling: pass --regional.")
        return entry.build(channels)
    if not entry.regional:
        choices = ", ".join(key for key, value in POOLINGS.items() if value.regional)
        raise ModelError(f"pooling '{name}' cannot be regional. Choose one of {choices}.")
    return Regional(entry.build(channels), channels, whitening=regional_whitening)
