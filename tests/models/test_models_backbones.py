"""Backbones: feature maps equal to the libraries' own, for every kind of network."""

from typing import Any

import pytest
import timm
import torch
from torch import nn
from torchvision import models

from ram_cli.errors import CheckpointError, ModelError
from ram_cli.models.backbones import Backbone, build_backbone
from ram_cli.models.measure import token_grid
from ram_cli.models.names import BackboneName, parse_backbone_name
from ram_cli.models.torchvision_networks import build_torchvision, resample_positions

slow = pytest.mark.slow

# name, input size, channels, side of the map
NETWORKS = [
    ("torchvision:resnet18", 64, 512, 2),
    ("torchvision:squeezenet1_1", 64, 512, 3),
    ("torchvision:mobilenet_v2", 64, 1280, 2),
    ("torchvision:mobilenet_v3_small", 64, 576, 2),
    ("torchvision:shufflenet_v2_x0_5", 64, 1024, 2),
    ("torchvision:mnasnet0_5", 64, 1280, 2),
    ("torchvision:regnet_x_400mf", 64, 400, 2),
    ("torchvision:efficientnet_b0", 64, 1280, 2),
    pytest.param("torchvision:densenet121", 64, 1024, 2, marks=slow),
    pytest.param("torchvision:googlenet", 64, 1024, 2, marks=slow),
    pytest.param("torchvision:inception_v3", 96, 2048, 1, marks=slow),
    pytest.param("torchvision:vgg11", 64, 512, 4, marks=slow),
    pytest.param("torchvision:alexnet", 96, 256, 5, marks=slow),
    pytest.param("torchvision:convnext_tiny", 64, 768, 2, marks=slow),
    pytest.param("torchvision:vit_b_32", 96, 768, 3, marks=slow),
    pytest.param("torchvision:vit_b_32", 100, 768, 4, marks=slow),
    pytest.param("torchvision:swin_t", 100, 768, 4, marks=slow),
    pytest.param("torchvision:maxvit_t", 224, 512, 7, marks=slow),
    ("timm:tf_efficientnet_lite0", 64, 1280, 2),
    ("timm:resnet18", 64, 512, 2),
    ("timm:mobilenetv3_small_050", 64, 288, 2),
    ("timm:vit_tiny_patch16_224", 96, 192, 6),
    ("timm:vit_tiny_patch16_224", 100, 192, 7),
    ("timm:deit_tiny_distilled_patch16_224", 64, 192, 4),
    ("timm:convnext_atto", 64, 320, 2),
    ("timm:efficientvit_b0", 64, 128, 2),
    ("timm:mobilevit_xxs", 64, 320, 2),
    ("timm:edgenext_xx_small", 64, 168, 2),
    pytest.param("timm:swin_tiny_patch4_window7_224", 100, 768, 4, marks=slow),
    pytest.param("timm:levit_128s", 224, 384, 4, marks=slow),
    pytest.param("timm:pit_xs_224", 224, 384, 7, marks=slow),
    pytest.param("timm:coat_tiny", 224, 152, 7, marks=slow),
    pytest.param("timm:crossvit_9_240", 240, 256, 14, marks=slow),
    pytest.param("timm:hiera_tiny_224", 224, 768, 7, marks=slow),
    pytest.param("timm:volo_d1_224", 224, 384, 14, marks=slow),
    pytest.param("timm:mixer_s32_224", 224, 512, 7, marks=slow),
]


def images_of(height: int, width: int) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "size", "channels", "side"), NETWORKS)
def test_every_kind_of_network_gives_a_map(name: str, size: int, channels: int, side: int) -> None:
    backbone = build_backbone(name, pretrained=False, input_size=size)
    assert backbone.name == name
    assert backbone.spec.size == size
    assert backbone.channels == channels
    assert not any(value.is_meta for value in backbone.state_dict().values())
    features = backbone.train()(images_of(size, size))
    assert features.shape == (2, channels, side, side)
    features.square().sum().backward()
    idle = [name for name, value in backbone.named_parameters() if value.grad is None]
    assert [name for name, value in backbone.named_parameters() if not value.requires_grad] == idle


def first_head_input(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """What the library itself feeds to its pooling or classifier."""
    seen: list[torch.Tensor] = []
    for name, child in network.named_children():
        if name in {"avgpool", "classifier", "fc", "head"}:
            child.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    network.eval()(images)
    return seen[0]


TORCHVISION_FAMILIES = ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "regnet_x_400mf"]
TORCHVISION_SLOW = ["vgg11", "densenet121", "googlenet", "inception_v3", "swin_t", "maxvit_t"]


@pytest.mark.parametrize(
    "model", [*TORCHVISION_FAMILIES, *(pytest.param(name, marks=slow) for name in TORCHVISION_SLOW)]
)
@torch.no_grad()
def test_maps_equal_what_torchvision_pools(model: str) -> None:
    options = {"init_weights": False} if model in {"googlenet", "inception_v3"} else {}
    network = models.get_model(model, weights=None, **options)
    size = 224 if model == "maxvit_t" else 96
    name = BackboneName("torchvision", model)
    ours = build_torchvision(name, size, network.state_dict(), whole_features=True).eval()
    images = images_of(size, size)
    features, expected = ours(images), first_head_input(network, images)
    if model == "densenet121":
        features = features.relu()
    if expected.ndim == 2:
        features = features.mean(dim=(2, 3))
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_vgg_loses_its_last_pooling_and_densenet_gains_a_relu() -> None:
    with torch.device("meta"):
        whole = build_torchvision(BackboneName("torchvision", "vgg11"), 64, None, True)
        cut = build_torchvision(BackboneName("torchvision", "vgg11"), 64, None)
        dense = build_torchvision(BackboneName("torchvision", "densenet121"), 64, None)
    assert len(whole.features) == len(cut.features) + 1
    assert isinstance(dense.relu, nn.ReLU)


@pytest.mark.slow
@torch.no_grad()
def test_torchvision_transformer_equals_its_own_encoder() -> None:
    network = models.get_model("vit_b_32", weights=None).eval()
    name = BackboneName("torchvision", "vit_b_32")
    ours = build_torchvision(name, 224, network.state_dict()).eval()
    seen: list[torch.Tensor] = []
    network.encoder.register_forward_hook(lambda _module, _args, output: seen.append(output))
    images = images_of(224, 224)
    network(images)
    torch.testing.assert_close(ours(images).flatten(2).transpose(1, 2), seen[0][:, 1:])


def test_positions_of_another_grid_keep_the_class_token_and_the_mean() -> None:
    positions = torch.randn(1, 1 + 49, 8)
    assert resample_positions(positions, 7, 7) is positions
    other = resample_positions(positions, 5, 9)
    assert other.shape == (1, 46, 8)
    torch.testing.assert_close(other[:, 0], positions[:, 0])
    flat = resample_positions(torch.ones(1, 50, 8), 3, 4)
    torch.testing.assert_close(flat, torch.ones(1, 13, 8))


@pytest.mark.parametrize("shape", [(96, 96), (64, 96), (128, 80)])
@torch.no_grad()
def test_tokens_go_back_to_where_their_patches_were(shape: tuple[int, int]) -> None:
    backbone = build_backbone("timm:vit_tiny_patch16_224", pretrained=False, input_size=96).eval()
    network: Any = backbone.network
    images = images_of(*shape)
    expected = network.forward_intermediates(images, indices=1, intermediates_only=True, norm=True)
    if isinstance(network.norm, nn.Identity):
        pytest.fail("the oracle needs a final norm")
    torch.testing.assert_close(backbone(images), expected[-1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("tokens", "height", "width", "grid"),
    [(196, 224, 224, (14, 14)), (12, 64, 48, (4, 3)), (12, 48, 64, (3, 4)), (63, 100, 130, (7, 9))],
)
def test_token_grid(tokens: int, height: int, width: int, grid: tuple[int, int]) -> None:
    assert token_grid(tokens, height, width) == grid


@torch.no_grad()
def test_convolutional_networks_take_any_shape() -> None:
    backbone = build_backbone("timm:resnet18", pretrained=False, input_size=64).eval()
    assert backbone(images_of(96, 64)).shape == (2, 512, 3, 2)
    assert backbone.takes_size(80)


@pytest.mark.slow
def test_a_size_that_cannot_be_is_refused_with_those_that_can() -> None:
    with pytest.raises(ModelError, match=r"224.*256"):
        build_backbone("timm:levit_128s", pretrained=False, input_size=250)
    backbone = build_backbone("timm:levit_128s", pretrained=False)
    assert not backbone.takes_size(250)
    with pytest.raises(ModelError, match="224"):
        backbone(images_of(192, 192))


def test_maxvit_says_which_sizes_it_takes() -> None:
    with pytest.raises(ModelError, match="224"):
        build_backbone("torchvision:maxvit_t", pretrained=False, input_size=200)


@pytest.mark.parametrize("size", [0, -3])
def test_sizes_are_positive(size: int) -> None:
    with pytest.raises(ModelError):
        build_backbone("resnet18", pretrained=False, input_size=size)


@pytest.mark.parametrize(
    ("name", "explicit"),
    [
        ("resnet18", "torchvision:resnet18"),
        ("timm:resnet18", "timm:resnet18"),
        ("timm:resnet50.a1_in1k", "timm:resnet50.a1_in1k"),
        ("resnet18d", "timm:resnet18d"),
        ("efficientnet_b0", "torchvision:efficientnet_b0"),
        ("efficientnet-lite0", "timm:tf_efficientnet_lite0"),
    ],
)
def test_names(name: str, explicit: str) -> None:
    assert str(parse_backbone_name(name)) == explicit
    assert parse_backbone_name(explicit) == parse_backbone_name(name)


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("resnet19", "resnet18"),
        ("mobilenetv2", "mobilenet_v2"),
        ("timm:resnet19d", "resnet18d"),
        ("efficientnet-lite", "efficientnet-lite0"),
    ],
)
def test_unknown_names_list_close_ones(name: str, close: str) -> None:
    with pytest.raises(ModelError, match=close) as caught:
        parse_backbone_name(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["keras:resnet50", "qqqqqqqq", "", "torchvision:resnet18d"])
def test_impossible_names(name: str) -> None:
    with pytest.raises(ModelError):
        parse_backbone_name(name)


def test_each_network_brings_its_own_normalisation() -> None:
    lite = build_backbone("efficientnet-lite0", pretrained=False, input_size=64)
    assert lite.spec.mean == lite.spec.std == (0.5, 0.5, 0.5)
    resnet = build_backbone("torchvision:resnet18", pretrained=False)
    assert resnet.spec.size == 224
    assert resnet.spec.mean == (0.485, 0.456, 0.406)


def test_timm_weights_are_kept_only_once() -> None:
    network: Any = build_backbone("efficientnet-lite0", input_size=64).network
    assert not any(isinstance(value, dict) for value in network.pretrained_cfg.values())


def test_networks_without_a_map_are_refused() -> None:
    class Vector(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(2, 3))

    spec = build_backbone("resnet18", pretrained=False, input_size=64).spec
    with pytest.raises(ModelError):
        Backbone("x:vector", Vector(), lambda network, images: network(images), spec)


def test_classifiers_are_not_kept() -> None:
    small = build_backbone("timm:mobilenetv3_small_050", pretrained=False, input_size=64)
    assert not any("conv_head" in name for name, _ in small.named_parameters())
    whole = timm.create_model("mobilenetv3_small_050", num_classes=0)
    assert any("conv_head" in name for name, _ in whole.named_parameters())


def test_weights_of_another_network_are_refused() -> None:
    name = BackboneName("torchvision", "resnet18")
    with pytest.raises(CheckpointError) as caught:
        build_torchvision(name, 64, {"conv1.weight": torch.zeros(1)})
    assert "\n" not in str(caught.value)


class Idle(nn.Module):
    """A map beside a layer that runs for nothing and one that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.runs, self.never = (nn.Conv2d(3, 4, 3, 2) for _ in range(3))
        self.several = nn.ModuleList([nn.Conv2d(3, 4, 3, 2)])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        wasted: torch.Tensor = self.runs(images)
        assert wasted.shape == self.several[0](images).shape
        return self.conv(images)


def test_only_layers_that_never_run_are_removed() -> None:
    spec = build_backbone("resnet18", pretrained=False, input_size=64).spec
    backbone = Backbone("x:idle", Idle(), lambda network, images: network(images), spec)
    assert isinstance(backbone.network.never, nn.Identity)
    assert isinstance(backbone.network.runs, nn.Conv2d)
    assert [value.requires_grad for value in backbone.network.runs.parameters()] == [False, False]
    backbone(images_of(64, 64)).sum().backward()
