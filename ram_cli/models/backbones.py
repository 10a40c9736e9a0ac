"""Any classification network of timm or torchvision as a map of features.

Letters: B images of H × W pixels, C channels of a map of h × w positions.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from ram_cli.errors import CheckpointError, ModelError
from ram_cli.models.measure import REFUSALS, Extract, fits, measure, token_grid
from ram_cli.models.names import BackboneName, parse_backbone_name
from ram_cli.models.pretrained import timm_weights, torchvision_state_dict, unreachable
from ram_cli.models.timm_networks import (
    build_timm,
    timm_features,
    timm_last_intermediate,
    timm_spec,
)
from ram_cli.models.torchvision_networks import build_torchvision, torchvision_spec
from ram_cli.views.spec import InputSpec

_LIKELY_STEPS = (14, 16, 32, 56, 64, 128, 224)


class Backbone(nn.Module):
    """A network without its classifier: `[B, 3, H, W]` → `[B, C, h, w]`.

    Args:
        name: Explicit name, `timm:NAME` or `torchvision:NAME`.
        network: The network.
        extract: How its last features are read.
        spec: Input size it is built for, and the normalisation of its weights.

    Attributes:
        channels: C, measured.
        spec: As given.

    Raises:
        ModelError: Its features are no map of the image.
    """

    def __init__(self, name: str, network: nn.Module, extract: Extract, spec: InputSpec) -> None:
        super().__init__()
        measured = measure(network, extract, spec.size)
        for child in measured.idle_children:
            setattr(network, child, nn.Identity())
        for parameter_name, parameter in network.named_parameters():
            if parameter_name in measured.idle_parameters:
                parameter.requires_grad_(False)
        self.name, self.network, self.spec = name, network, spec
        self.channels = measured.channels
        self._extract, self._layout = extract, measured.layout
        self._prefix_tokens = measured.prefix_tokens

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images `[B, 3, H, W]` to `[B, C, h, w]`.

        Raises:
            ModelError: The network takes no images of this size.
        """
        height, width = images.shape[2:]
        try:
            features: Tensor = self._extract(self.network, images)
        except REFUSALS as error:
            own_size = height == width == self.spec.size
            if own_size or isinstance(error, torch.OutOfMemoryError):
                raise
            raise ModelError(
                f"{self.name} is built for {self.spec.size} × {self.spec.size} pixels and cannot "
                f"take {height} × {width}: {error}"
            ) from error
        if self._layout == "channels_last":
            return features.permute(0, 3, 1, 2)
        if self._layout == "tokens":
            features = features[:, self._prefix_tokens :]  # [B, h·w, C]
            rows, columns = token_grid(features.shape[1], height, width)
            return features.transpose(1, 2).reshape(features.shape[0], -1, rows, columns)
        return features

    def takes_size(self, size: int) -> bool:
        """Whether square images of `size` pixels can go through."""
        return size == self.spec.size or fits(self.network, self._extract, size)


def build_backbone(
    name: str,
    *,
    pretrained: bool | str | Path = True,
    input_size: int | None = None,
    whole_features: bool = False,
) -> Backbone:
    """Build a backbone by name.

    Args:
        name: `timm:NAME`, `torchvision:NAME` or a bare name, looked up in torchvision first. A tag
            chooses among published weights (`timm:resnet50.a1_in1k`,
            `torchvision:resnet50.imagenet1k_v2`).
        pretrained: True for published weights, False for random ones, or a file of weights.
        input_size: Side of its square input in pixels; None for the size it was trained at.
        whole_features: Keep the last max-pooling of VGG and AlexNet, no ReLU after DenseNet.

    Raises:
        ModelError: Unknown name, a size the network cannot take, weights out of reach.
        CheckpointError: The file of weights is damaged or of another network.
    """
    parsed = parse_backbone_name(name)
    spec = backbone_spec(parsed)
    size = spec.size if input_size is None else input_size
    if size < 1:
        raise ModelError(f"the input size must be positive, not {size} pixels.")
    try:
        return _build(parsed, pretrained, spec.with_size(size), whole_features)
    except (CheckpointError, torch.OutOfMemoryError):
        raise
    except (ModelError, *REFUSALS) as error:
        if size != spec.size and (sizes := _working_sizes(parsed, spec, size)):
            raise ModelError(f"{parsed} cannot take {size} pixels; it takes {sizes}.") from error
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{parsed} cannot be used as a backbone: {error}") from error
    except OSError as error:  # the connection broke while its weights came
        raise unreachable(parsed) from error


def backbone_spec(name: BackboneName) -> InputSpec:
    """Input size, mean and std that the weights of a network were published with."""
    return timm_spec(name) if name.library == "timm" else torchvision_spec(name)


def _build(
    name: BackboneName, pretrained: bool | str | Path, spec: InputSpec, whole_features: bool
) -> Backbone:
    if name.library == "torchvision":
        state_dict = torchvision_state_dict(name, pretrained)
        network = build_torchvision(name, spec.size, state_dict, whole_features)
        return Backbone(str(name), network, _identity_extract, spec)
    network = build_timm(name, spec.size, timm_weights(name, pretrained))
    try:
        return Backbone(str(name), network, timm_features, spec)
    except ModelError:
        if not hasattr(network, "forward_intermediates"):
            raise
        return Backbone(str(name), network, timm_last_intermediate, spec)


def _identity_extract(network: nn.Module, images: Tensor) -> Tensor:
    features: Tensor = network(images)
    return features


def _working_sizes(name: BackboneName, spec: InputSpec, size: int) -> str:
    """Sizes near `size` that the network takes; empty if it takes `size` itself."""
    if _can_build(name, spec.with_size(size)):
        return ""
    near = {max(1, round(size / step)) * step for step in _LIKELY_STEPS} - {size, spec.size}
    working = [other for other in near if _can_build(name, spec.with_size(other))]
    return ", ".join(map(str, sorted([*working, spec.size])))


def _can_build(name: BackboneName, spec: InputSpec) -> bool:
    try:
        with torch.device("meta"):
            _build(name, False, spec, False)
    except (ModelError, *REFUSALS):
        return False
    return True
