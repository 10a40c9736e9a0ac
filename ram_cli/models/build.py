"""Embedders from names and settings, and from what a model folder describes."""

from dataclasses import replace
from pathlib import Path
from typing import cast

from torch import nn

from ram_cli.errors import ModelError
from ram_cli.models.backbones import Backbone, build_backbone
from ram_cli.models.config import EmbedderConfig
from ram_cli.models.embedder import Embedder


def build_embedder(
    backbone: str,
    *,
    pooling: str = "gem",
    dimension: int = 512,
    pretrained: bool | str | Path = True,
    input_size: int | None = None,
    local_whitening: bool = False,
    regional: bool = False,
    regional_whitening: bool = False,
    adapter: int = 0,
    whole_features: bool = False,
    init_from: Embedder | None = None,
) -> Embedder:
    """Build an embedder around a backbone.

    Args:
        backbone: `timm:NAME`, `torchvision:NAME` or a bare name, looked up in torchvision first.
        pooling: Key of `POOLINGS`.
        dimension: D; 0 for no projection.
        pretrained: Backbone weights: True for published ones, False for random ones, or a file.
        input_size: Side of its square input in pixels; None for what it was trained at.
        local_whitening: Linear layer on every position before pooling.
        regional: Pool over the R-MAC regions.
        regional_whitening: Linear layer on every region's vector.
        adapter: Width of a 1 × 1 convolution with ReLU after the backbone; 0 for none.
        whole_features: Keep the last max-pooling of VGG and AlexNet, no ReLU after DenseNet.
        init_from: Take over the layers after the backbone from this embedder, usually the
            teacher, wherever their shapes agree.

    Raises:
        ModelError: Unknown name, impossible combination, weights out of reach.
        CheckpointError: The file of weights is damaged or of another network.
    """
    if dimension < 0 or adapter < 0:
        raise ModelError(f"dimension and adapter cannot be negative: {dimension}, {adapter}.")
    built = build_backbone(
        backbone, pretrained=pretrained, input_size=input_size, whole_features=whole_features
    )
    config = replace(
        _described(built, pooling, dimension),
        local_whitening=local_whitening,
        regional=regional,
        regional_whitening=regional_whitening,
        adapter=adapter,
        whole_features=whole_features,
    )
    embedder = Embedder(config, built)
    if init_from is not None:
        _take_over_head(embedder, init_from)
    return embedder


def embedder_from_config(config: EmbedderConfig) -> Embedder:
    """Build what `config` describes, with random weights.

    Raises:
        ModelError: The installed libraries do not have it.
    """
    backbone = build_backbone(
        config.backbone,
        pretrained=False,
        input_size=config.network_size,
        whole_features=config.whole_features,
    )
    return Embedder(config, backbone)


def _described(backbone: Backbone, pooling: str, dimension: int) -> EmbedderConfig:
    """An embedder of nothing but backbone, pooling and projection."""
    spec = backbone.spec
    return EmbedderConfig(
        backbone=backbone.name,
        pooling=pooling,
        dimension=dimension,
        projection=dimension > 0,
        input_size=spec.size,
        mean=spec.mean,
        std=spec.std,
        network_size=spec.size,
    )


def _take_over_head(embedder: Embedder, source: Embedder) -> None:
    for part in ("adapter", "local_whitening", "pooling", "projection"):
        ours, theirs = getattr(embedder, part), getattr(source, part)
        if ours is None or theirs is None:
            continue
        state = cast(nn.Module, theirs).state_dict()
        shapes = {name: value.shape for name, value in cast(nn.Module, ours).state_dict().items()}
        if shapes == {name: value.shape for name, value in state.items()}:
            ours.load_state_dict(state)
