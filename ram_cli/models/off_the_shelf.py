"""Names that say how a backbone becomes a descriptor: `resnet101-gem-lwhiten-r-whiten`."""

from dataclasses import dataclass

import torch
from torch import nn

from ram_cli.errors import ModelError
from ram_cli.models.backbones import Backbone
from ram_cli.models.config import EmbedderConfig
from ram_cli.models.embedder import Embedder
from ram_cli.models.names import is_backbone_name, suggest
from ram_cli.models.pooling import POOLINGS
from ram_cli.models.zoo import ZOO

_LOCAL, _REGIONAL, _WHITEN = "lwhiten", "r", "whiten"
_LAYERS = (_LOCAL, _REGIONAL, _WHITEN)


@dataclass(frozen=True, slots=True)
class OffTheShelf:
    """What a name `BACKBONE[-POOLING[-lwhiten][-r][-whiten]]` asks for.

    Attributes:
        backbone: Name of the network.
        pooling: Key of `POOLINGS`.
        local_whitening: Linear layer on every position before pooling.
        regional: Pool over the R-MAC regions, with a linear layer on every region.
        projection: Linear layer C → C after pooling.
    """

    backbone: str
    pooling: str
    local_whitening: bool = False
    regional: bool = False
    projection: bool = False

    def config(self, backbone: Backbone, dimension: int = 0) -> EmbedderConfig:
        """The embedder that is asked for, around a backbone.

        Args:
            backbone: The network that `backbone` names.
            dimension: Outputs of the projection, where they are not those of the features; a
                projection is added where the name has none.
        """
        spec = backbone.spec
        return EmbedderConfig(
            backbone=backbone.name,
            pooling=self.pooling,
            dimension=dimension or backbone.channels,
            projection=self.projection or dimension > 0,
            input_size=spec.size,
            mean=spec.mean,
            std=spec.std,
            network_size=spec.size,
            local_whitening=self.local_whitening,
            regional=self.regional,
            regional_whitening=self.regional,
        )


@torch.no_grad()
def pass_through(embedder: Embedder) -> Embedder:
    """Let the layers on positions and regions, which nothing was learned for yet, change nothing.

    A random one would make noise of features that are good as they come.
    """
    regional = getattr(embedder.pooling, "whitening", None)
    local = None if embedder.local_whitening is None else embedder.local_whitening.linear
    for layer in (regional, local):
        if isinstance(layer, nn.Linear):
            nn.init.eye_(layer.weight)
            nn.init.zeros_(layer.bias)
    return embedder


def off_the_shelf(name: str, pooling: str = "gem") -> OffTheShelf:
    """Read such a name.

    Args:
        name: `resnet101`, `resnet101-gem`, `resnet101-gem-whiten`, …
        pooling: Of a name that says none.

    Raises:
        ModelError: No library has the backbone; the closest names are listed.
    """
    if is_backbone_name(name):
        return OffTheShelf(name, pooling)
    rest, _, last = name.rpartition("-")
    layers: list[str] = []
    while last in _LAYERS and rest:
        layers.insert(0, last)
        rest, _, last = rest.rpartition("-")
    ordered = layers == [layer for layer in _LAYERS if layer in layers]
    if last in POOLINGS and ordered and is_backbone_name(rest):
        return OffTheShelf(
            rest,
            last,
            local_whitening=_LOCAL in layers,
            regional=_REGIONAL in layers,
            projection=_WHITEN in layers,
        )
    raise ModelError(f"there is no model '{name}'. {suggest(name, others=ZOO)}")
