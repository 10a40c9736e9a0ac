"""torchvision's classification networks, cut before their global pooling."""

import re
from collections import OrderedDict
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ram_cli.errors import CheckpointError, ModelError
from ram_cli.models.names import BackboneName
from ram_cli.views.spec import InputSpec

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)

_HEADS = {"avgpool", "fc", "classifier", "dropout", "flatten", "head", "heads"}
_HEADS |= {"AuxLogits", "aux1", "aux2"}
# Their pretrained weights were trained on mean = std = 0.5; torchvision converts inside `forward`.
_HALF_NORMALISED = {"googlenet", "inception_v3"}
_OWN_INITIALISATION = {"googlenet", "inception_v3"}
_MAXVIT_STEP = 224
_DENSENET_KEY = re.compile(r"\.(norm|conv)\.([12])\.")


def torchvision_weights(name: BackboneName) -> Any:
    """The published weights that a name means, as torchvision's enumeration member.

    Without a tag these are the first ImageNet ones, which the published recipes start from.

    Raises:
        ModelError: torchvision has none, or none of that tag.
    """
    from torchvision.models import get_model_weights

    choices = {member.name.lower(): member for member in get_model_weights(name.model)}
    if not choices:
        raise ModelError(f"torchvision has no weights for {name.model}: pass --no-pretrained.")
    tag = name.tag.lower() or (
        "imagenet1k_v1" if "imagenet1k_v1" in choices else next(iter(choices))
    )
    if tag not in choices:
        raise ModelError(
            f"torchvision's {name.model} has no weights '{name.tag}'. "
            f"Choose one of {', '.join(choices)}."
        )
    return choices[tag]


def torchvision_spec(name: BackboneName) -> InputSpec:
    """Input size and normalisation that a network's weights were published with."""
    from torchvision.models import get_model_weights

    if not list(get_model_weights(name.model)):
        return InputSpec(224, IMAGENET_MEAN, IMAGENET_STD)
    transforms = torchvision_weights(name).transforms()
    size = int(transforms.crop_size[0])
    if name.model in _HALF_NORMALISED:
        return InputSpec(size, HALF, HALF)
    return InputSpec(size, _triple(transforms.mean), _triple(transforms.std))


def build_torchvision(
    name: BackboneName,
    size: int,
    state_dict: dict[str, Tensor] | None,
    whole_features: bool = False,
) -> nn.Module:
    """Build a network `[B, 3, H, W]` → `[B, C, h, w]` whose keys are torchvision's own.

    Args:
        name: The network.
        size: Side of its input, in pixels; only maxvit is built for one size.
        state_dict: Weights of the whole network, or None for random ones.
        whole_features: Keep the last max-pooling of VGG and AlexNet, no ReLU after DenseNet.

    Raises:
        ModelError: The network does not take this size.
        CheckpointError: The weights do not fit.
    """
    from torchvision.models import get_model

    options: dict[str, Any] = {}
    if name.model in _OWN_INITIALISATION:
        options["init_weights"] = state_dict is None
    if name.model.startswith("maxvit"):
        if size % _MAXVIT_STEP:
            raise ModelError(
                f"{name} takes sizes that are multiples of {_MAXVIT_STEP} pixels, not {size}."
            )
        options["input_size"] = (size, size)
    body = _body(cast(nn.Module, get_model(name.model, weights=None, **options)), whole_features)
    if state_dict is not None:
        _load(body, state_dict, name)
    return body


def _load(body: nn.Module, state_dict: dict[str, Tensor], name: BackboneName) -> None:
    kept = {key: value for key, value in state_dict.items() if key.partition(".")[0] not in _HEADS}
    # DenseNet's files are older than its present key names: `norm.1` became `norm1`.
    kept = {_DENSENET_KEY.sub(r".\1\2.", key): value for key, value in kept.items()}
    try:
        body.load_state_dict(kept)
    except RuntimeError as error:
        problem = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise CheckpointError(f"the weights are not those of {name}: {problem}") from error


def _body(network: nn.Module, whole_features: bool) -> nn.Module:
    """The part of a network before its global pooling; children run in the order they stand in."""
    kind = type(network).__name__
    if kind == "VisionTransformer":
        return VisionTransformerMap(network)
    children = OrderedDict(
        (name, child) for name, child in network.named_children() if name not in _HEADS
    )
    if kind in {"AlexNet", "VGG"} and not whole_features:  # a finer map to pool from
        children["features"] = cast(nn.Sequential, network.features)[:-1]
    elif kind == "DenseNet" and not whole_features:
        children["relu"] = nn.ReLU()
    elif kind == "MaxVit":
        children["blocks"] = nn.Sequential(*cast(nn.ModuleList, network.blocks))
    return nn.Sequential(children)


class VisionTransformerMap(nn.Module):
    """torchvision's vision transformer as a map of its patches, at any input size.

    Sides that are no multiple of the patch are padded with zeros on the right and below; position
    embeddings are resampled when the grid differs from the pretrained one.

    Args:
        network: torchvision's `VisionTransformer`; its parameters keep their names.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.patch_size = int(network.patch_size)
        self.conv_proj, self.encoder = network.conv_proj, network.encoder
        self.class_token = network.class_token

    def forward(self, images: Tensor) -> Tensor:
        """Map `[B, 3, H, W]` to `[B, C, h, w]`."""
        height, width = images.shape[2:]
        padding = (0, -width % self.patch_size, 0, -height % self.patch_size)
        patches = self.conv_proj(functional.pad(images, padding))  # [B, C, h, w]
        batch, channels, rows, columns = patches.shape
        tokens = patches.flatten(2).transpose(1, 2)  # [B, h·w, C]
        tokens = torch.cat([self.class_token.expand(batch, -1, -1), tokens], dim=1)
        tokens = tokens + resample_positions(self.encoder.pos_embedding, rows, columns)
        tokens = cast(Tensor, self.encoder.ln(self.encoder.layers(self.encoder.dropout(tokens))))
        return tokens[:, 1:].transpose(1, 2).reshape(batch, channels, rows, columns)


def resample_positions(positions: Tensor, rows: int, columns: int) -> Tensor:
    """Resample the position embeddings of a square grid, with one class token, to another grid.

    Args:
        positions: `[1, 1 + n², C]`.
        rows: h of the new grid.
        columns: w of the new grid.

    Returns:
        `[1, 1 + h·w, C]`.
    """
    side = round((positions.shape[1] - 1) ** 0.5)
    if (rows, columns) == (side, side):
        return positions
    grid = positions[:, 1:].transpose(1, 2).reshape(1, -1, side, side)  # [1, C, n, n]
    grid = functional.interpolate(grid, (rows, columns), mode="bicubic", antialias=True)
    return torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
