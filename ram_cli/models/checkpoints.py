"""Published checkpoints: those of RAML, AML and CNN Image Retrieval in PyTorch ("cirtorch").

All are `{"meta": …, "state_dict": …}` with positions of layers as names. What the tensors say is
trusted before what `meta` says: some published `meta` are wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ram_cli.errors import CheckpointError
from ram_cli.models.backbones import backbone_spec
from ram_cli.models.build import embedder_from_config
from ram_cli.models.config import EmbedderConfig
from ram_cli.models.embedder import Embedder
from ram_cli.models.folder import load_tensors
from ram_cli.models.names import BackboneName, parse_backbone_name
from ram_cli.models.pooling import POOLINGS
from ram_cli.models.tensor_files import assert_plain, read_pickle
from ram_cli.views.whole import Fit

_HEAD_KEYS = {
    "lwhiten.weight": "local_whitening.linear.weight",
    "lwhiten.bias": "local_whitening.linear.bias",
    "pool.p": "pooling.p",
    "pool.rpool.p": "pooling.pool.p",
    "pool.whiten.weight": "pooling.whitening.weight",
    "pool.whiten.bias": "pooling.whitening.bias",
    "whiten.weight": "projection.weight",
    "whiten.bias": "projection.bias",
}
# timm's efficientnet_b3 of 2020 as a flat sequence; activations stood at 2 and 6.
_FLAT_EFFICIENTNET = {"0": "conv_stem", "1": "bn1", "3": "blocks", "4": "conv_head", "5": "bn2"}


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the keys of a file become ours.

    Attributes:
        backbone: The network.
        prefixes: Prefix in the file → prefix in our state dict; the longest match counts.
        whole_features: As in `EmbedderConfig`.
        fit: As there: all that was published but RAML's is for landmarks.
    """

    backbone: BackboneName
    prefixes: dict[str, str]
    whole_features: bool = False
    fit: Fit = "whole"


def load_published(path: Path | str) -> Embedder:
    """Load a published `.pth` file, in eval mode.

    Raises:
        CheckpointError: It is damaged, of another layout, or holds more than tensors and arrays.
    """
    path = Path(path)
    meta, state_dict = _read(path)
    architecture = str(meta.get("architecture", ""))
    if not architecture.isprintable():
        raise CheckpointError(f"{path}: its meta names no network, but {architecture[:40]!r}.")
    layout = _layout(path, architecture, state_dict)
    config = _config(path, meta, layout, state_dict)
    embedder = embedder_from_config(config)
    tensors = _renamed(layout, state_dict, embedder.state_dict())
    load_tensors(embedder, tensors, str(path))
    return embedder.eval()


def published_whitening(path: Path | str) -> dict[str, tuple[Tensor, Tensor]]:
    """The learned whitenings that a published file carries.

    Args:
        path: A checkpoint whose `meta` holds `Lw`, or a file of one whitening.

    Returns:
        By name (`retrieval-SfM-120k/ss` for a single scale, `…/ms` for several; `""` for a file of
        one): mean `[D]` and projection `[D, D]`, applied as P(x − m) and then L2.

    Raises:
        CheckpointError: The file is damaged or holds something else.
    """
    path = Path(path)
    content = read_pickle(path)
    if isinstance(content, dict) and {"m", "P"} <= content.keys():
        return {"": _whitening(path, content)}
    meta, _ = _read(path, content)
    learned = meta.get("Lw") or {}
    if not isinstance(learned, dict) or not all(isinstance(of, dict) for of in learned.values()):
        raise CheckpointError(f"{path}: Lw of its meta holds no whitenings.")
    return {
        f"{dataset}/{scales}": _whitening(path, entry)
        for dataset, by_scales in learned.items()
        for scales, entry in by_scales.items()
    }


def _read(path: Path, content: Any = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    content = read_pickle(path) if content is None else content
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), Mapping):
        raise CheckpointError(f"{path} is no published checkpoint: it has no state_dict.")
    if not isinstance(content.get("meta"), dict):
        raise CheckpointError(
            f"{path} does not say what network it is of: it has no meta. Name the backbone, and "
            "pass the file as its weights."
        )
    state_dict = {
        str(key).removeprefix("module."): value for key, value in content["state_dict"].items()
    }
    if not all(isinstance(value, Tensor) for value in state_dict.values()):
        raise CheckpointError(f"{path}: its state_dict holds more than tensors.")
    assert_plain(state_dict, path)
    return content["meta"], state_dict


def _layout(path: Path, architecture: str, state_dict: dict[str, Tensor]) -> _Layout:
    if any(key.startswith("backbone.") for key in state_dict):
        return _raml_layout(parse_backbone_name(architecture))
    if not any(key.startswith("features.") for key in state_dict):
        raise CheckpointError(f"{path}: its keys are of no layout that was ever published.")
    if architecture == "efficientnet_b3" and "features.7.weight" in state_dict:
        prefixes = {f"features.{n}.": f"{name}." for n, name in _FLAT_EFFICIENTNET.items()}
        prefixes["features.7."] = "adapter.0."
        return _Layout(BackboneName("timm", "tf_efficientnet_b3"), prefixes)
    name = parse_backbone_name(architecture)
    if architecture == "mobilenet_v2":
        return _Layout(name, {"features.0.": "features.", "features.1.": "adapter.0."})
    if architecture.startswith(("alexnet", "vgg", "squeezenet")):
        return _Layout(name, {"features.": "features."})
    if architecture.startswith("densenet"):
        features = cast(nn.Module, _whole_network(name).features)
        return _Layout(name, _positions("features.", features, "features."))
    if architecture.startswith(("resnet", "resnext", "wide_resnet")):
        return _Layout(name, _positions("features.", _whole_network(name)))
    raise CheckpointError(f"{path}: no {architecture} was ever published in this layout.")


def _raml_layout(name: BackboneName) -> _Layout:
    if name.library == "timm":
        return _Layout(name, {"backbone.": ""}, fit="crop")
    network = _whole_network(name)
    if hasattr(network, "features"):
        return _Layout(name, {"backbone.": "features."}, whole_features=True, fit="crop")
    return _Layout(name, _positions("backbone.", network), fit="crop")


def _positions(theirs: str, parent: nn.Module, ours: str = "") -> dict[str, str]:
    """Prefix of every child by its position → by its name."""
    names = [name for name, _ in parent.named_children()]
    return {f"{theirs}{position}.": f"{ours}{name}." for position, name in enumerate(names)}


def _whole_network(name: BackboneName) -> nn.Module:
    """A torchvision network with its classifier, without values where it can be."""
    from torchvision.models import get_model

    options = {"init_weights": False} if name.model in {"googlenet", "inception_v3"} else {}
    try:
        with torch.device("meta"):
            return cast(nn.Module, get_model(name.model, weights=None, **options))
    except NotImplementedError:  # RegNet computes its widths with tensors
        return cast(nn.Module, get_model(name.model, weights=None, **options))


def _config(
    path: Path, meta: dict[str, Any], layout: _Layout, state_dict: dict[str, Tensor]
) -> EmbedderConfig:
    pooling = meta.get("pooling")
    if not isinstance(pooling, str) or pooling not in POOLINGS:
        raise CheckpointError(f"{path}: its meta names no pooling of ours, but {pooling!r}.")
    spec = backbone_spec(layout.backbone)
    projection = _filled(path, state_dict, "whiten.weight")
    adapters = [theirs for theirs, ours in layout.prefixes.items() if ours == "adapter.0."]
    adapter = next((_filled(path, state_dict, f"{theirs}weight") for theirs in adapters), None)
    return EmbedderConfig(
        backbone=str(layout.backbone),
        pooling=pooling,
        dimension=0 if projection is None else len(projection),
        projection=projection is not None,
        input_size=spec.size,
        mean=_three(path, meta.get("mean", spec.mean)),
        std=_three(path, meta.get("std", spec.std)),
        network_size=spec.size,
        local_whitening="lwhiten.weight" in state_dict,
        regional=bool(meta.get("regional", False)),
        regional_whitening="pool.whiten.weight" in state_dict,
        adapter=0 if adapter is None else len(adapter),
        whole_features=layout.whole_features,
        fit=layout.fit,
    )


def _filled(path: Path, state_dict: dict[str, Tensor], name: str) -> Tensor | None:
    """The weights of a layer, which tell its width; None where there is no such layer."""
    found = state_dict.get(name)
    if found is not None and (found.ndim < 2 or not found.numel()):
        raise CheckpointError(f"{path}: {name} has shape {list(found.shape)}, which no layer has.")
    return found


def _renamed(
    layout: _Layout, state_dict: dict[str, Tensor], expected: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Our names; tensors of classifiers that we leave out fall away, absent counters are zero."""
    prefixes = sorted(layout.prefixes.items(), key=lambda item: -len(item[0]))
    kept, dropped = _backbone_parts(expected), {"fc", "classifier", "conv_head", "head"}
    tensors = {
        key: torch.zeros_like(value)
        for key, value in expected.items()
        if key.endswith("num_batches_tracked")  # older than this counter
    }
    for key, value in state_dict.items():
        ours = _HEAD_KEYS.get(key)
        if ours is None:
            theirs, prefix = next((p for p in prefixes if key.startswith(p[0])), ("", ""))
            inner = prefix + key.removeprefix(theirs)
            ours = inner if prefix == "adapter.0." else f"backbone.network.{inner}"
            part = inner.partition(".")[0]
            if part not in kept and (part in dropped or part.lower().startswith("aux")):
                continue
        tensors[ours] = value
    return tensors


def _backbone_parts(expected: dict[str, Tensor]) -> set[str]:
    prefix = "backbone.network."
    return {
        key.removeprefix(prefix).partition(".")[0] for key in expected if key.startswith(prefix)
    }


def _whitening(path: Path, entry: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(entry, Mapping) or not {"m", "P"} <= entry.keys():
        raise CheckpointError(f"{path} holds no whitening: m and P are missing.")
    try:
        mean = torch.from_numpy(np.asarray(entry["m"], dtype=np.float64)).reshape(-1)
        projection = torch.from_numpy(np.asarray(entry["P"], dtype=np.float64))
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: m and P of a whitening are no numbers.") from error
    if projection.ndim != 2 or projection.shape[1] != len(mean):
        raise CheckpointError(
            f"{path}: m {list(mean.shape)} and P {list(projection.shape)} differ."
        )
    return mean, projection


def _three(path: Path, values: Any) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: mean and std of its meta must be three numbers.") from error
    return red, green, blue
