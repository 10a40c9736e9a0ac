"""timm's classification networks, read before their global pooling."""

import dataclasses
from typing import Any, cast

from torch import Tensor, nn

from ram_cli.errors import ModelError
from ram_cli.models.names import BackboneName
from ram_cli.models.torchvision_networks import IMAGENET_MEAN, IMAGENET_STD
from ram_cli.views.spec import InputSpec

# What makes a transformer take more than one input size, from the freest to nothing. A family
# that does not know an option refuses it before it builds anything.
_SIZE_OPTIONS: tuple[dict[str, Any], ...] = (
    {"dynamic_img_size": True, "dynamic_img_pad": True},
    {"dynamic_img_size": True},
    {"strict_img_size": False},
    {},
)


def timm_config(name: BackboneName) -> dict[str, Any]:
    """What timm says of a network of a network: input size, normalisation, address of its weights.

    Raises:
        ModelError: The network has no weights of that tag.
    """
    import timm

    try:
        config = timm.get_pretrained_cfg(_full_name(name))
    except RuntimeError as error:
        tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{name.model}.*")]
        raise ModelError(
            f"timm's {name.model} has no weights '{name.tag}'. Choose one of {', '.join(tags)}."
        ) from error
    return {} if config is None else dataclasses.asdict(cast(Any, config))


def timm_spec(name: BackboneName) -> InputSpec:
    """Input size and normalisation that a network's weights were published with."""
    config = timm_config(name)
    mean, std = config.get("mean", IMAGENET_MEAN), config.get("std", IMAGENET_STD)
    size = int(config.get("input_size", (3, 224, 224))[-1])
    return InputSpec(size, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def build_timm(name: BackboneName, size: int, overlay: dict[str, Any] | None = None) -> nn.Module:
    """Build a network that `timm_features` can read, for images of `size` pixels.

    Args:
        name: The network.
        size: Side of its input, in pixels.
        overlay: Where its weights are, in timm's words (`{"state_dict": …}`, `{"file": …}`, or
            nothing for timm's own address); None for random weights.
    """
    import timm

    loading = {} if overlay is None else {"pretrained": True, "pretrained_cfg_overlay": overlay}
    for sizing in ({"img_size": size}, {}):
        for freedom in _SIZE_OPTIONS:
            options: dict[str, Any] = {**sizing, **freedom, **loading}
            try:
                return _forget_weights(
                    timm.create_model(_full_name(name), num_classes=0, **options)
                )
            except TypeError as error:
                if "unexpected keyword" not in str(error):
                    raise
    raise ModelError(f"timm cannot build {name}.")


def _forget_weights(network: Any) -> nn.Module:
    """Drop the second copy of the weights that an overlay leaves in the network's description."""
    for config in (network.pretrained_cfg, getattr(network, "default_cfg", {})):
        config.pop("state_dict", None)
    return cast(nn.Module, network)


def timm_features(network: Any, images: Tensor) -> Tensor:
    """The last features of a network: `[B, C, h, w]`, `[B, h, w, C]` or tokens `[B, N, C]`.

    Where a network normalises after pooling, its normalisation is applied to every token instead.
    """
    features = network.forward_features(images)
    if isinstance(features, dict):
        features = features["patches"]
    if isinstance(features, (list, tuple)):  # several scales, coarsest last
        features = features[-1]
    norm = getattr(network, "fc_norm", None)
    if features.ndim == 3 and isinstance(norm, nn.Module):
        features = norm(features)
    return cast(Tensor, features)


def timm_last_intermediate(network: Any, images: Tensor) -> Tensor:
    """The last feature map of a network whose `forward_features` keeps class tokens only."""
    maps = network.forward_intermediates(images, indices=1, intermediates_only=True)
    return cast(Tensor, maps[-1])


def _full_name(name: BackboneName) -> str:
    return f"{name.model}.{name.tag}" if name.tag else name.model
