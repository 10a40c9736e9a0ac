"""Embedders: shapes, precision, parameter groups, initialisation, frozen statistics."""

import copy
import dataclasses
import json
from typing import Any

import pytest
import torch
from torch import nn

from ram_cli.errors import CheckpointError, ModelError
from ram_cli.models.batchnorm import freeze_batchnorm_statistics
from ram_cli.models.build import build_embedder
from ram_cli.models.config import EmbedderConfig
from ram_cli.models.embedder import Embedder
from ram_cli.models.pooling import Gem, l2_normalise
from ram_cli.models.projection import pca_projection, ridge_projection

SMALL = "timm:test_efficientnet"  # 0.4 M parameters


def build(**options: Any) -> Embedder:
    settings: dict[str, Any] = {"dimension": 16, "pretrained": False, "input_size": 64} | options
    return build_embedder(settings.pop("backbone", SMALL), **settings)


def images(batch: int = 2, size: int = 64) -> torch.Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dimension": 0},
        {"pooling": "gemmp"},
        {"pooling": "rmac", "local_whitening": True},
        {"pooling": "mac", "regional": True},
        {"pooling": "gem", "regional": True, "regional_whitening": True, "adapter": 24},
    ],
)
def test_embeddings_are_unit_vectors(options: dict[str, Any]) -> None:
    embedder = build(**options).eval()
    result = embedder(images())
    width = embedder.channels if options.get("dimension") == 0 else 16
    assert embedder.dimension == embedder.config.dimension == width
    assert result.shape == (2, width)
    torch.testing.assert_close(result.norm(dim=1), torch.ones(2), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_parts_run_in_the_published_order() -> None:
    embedder = build(local_whitening=True).eval()
    batch = images()
    features = embedder.backbone(batch)
    assert embedder.local_whitening is not None
    assert embedder.projection is not None
    pooled = l2_normalise(embedder.pooling(embedder.local_whitening(features)))
    expected = l2_normalise(embedder.projection(pooled))
    torch.testing.assert_close(embedder.pool(batch), pooled)
    torch.testing.assert_close(embedder(batch), expected)


def test_the_head_stays_in_float32_under_autocast() -> None:
    embedder = build(dimension=8).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = embedder(images())
        features = embedder.backbone(images())
    assert features.dtype == torch.bfloat16
    assert half.dtype == torch.float32
    full = embedder.project(l2_normalise(embedder.pooling(features.float())))
    torch.testing.assert_close(half, full)
    torch.testing.assert_close(half.norm(dim=1), torch.ones(2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float64])
def test_models_in_other_precisions(half: torch.dtype) -> None:
    embedder = build().eval().to(half)
    expected = torch.float64 if half == torch.float64 else torch.float32
    assert embedder(images().to(half)).dtype == expected


def test_gradients_reach_every_part() -> None:
    embedder = build(adapter=12, local_whitening=True, regional=True, regional_whitening=True)
    embedder(images()).sum().backward()
    silent = [name for name, value in embedder.named_parameters() if value.grad is None]
    assert silent == []


@pytest.mark.parametrize(
    ("pooling", "regional", "scale"),
    [("gem", False, 10), ("gemmp", False, 100), ("gem", True, 10), ("spoc", False, None)],
)
def test_parameter_groups(pooling: str, regional: bool, scale: float | None) -> None:
    embedder = build(
        pooling=pooling, regional=regional, regional_whitening=regional, local_whitening=True
    )
    groups = {group["name"]: group for group in embedder.parameter_groups(1e-3, 1e-2)}
    assert list(groups) == ["backbone", "pooling", "projection"][:: 1 if scale else 2]
    if scale:
        pool = groups["pooling"]
        assert pool["lr"] == pytest.approx(scale * 1e-3)
        assert pool["lr_scale"] == scale
        assert pool["weight_decay"] == 0
        assert [value.shape for value in pool["params"]] == [
            (embedder.channels if pooling == "gemmp" else 1,)
        ]
    for name in ("backbone", "projection"):
        assert groups[name]["lr"] == 1e-3
        assert groups[name]["lr_scale"] == 1
        assert groups[name]["weight_decay"] == 1e-2
    grouped = [id(value) for group in groups.values() for value in group["params"]]
    assert sorted(grouped) == sorted(id(value) for value in embedder.parameters())
    torch.optim.AdamW(embedder.parameter_groups(1e-3, 1e-2))


def test_parameter_groups_leave_out_what_does_not_train() -> None:
    embedder = build(pooling="spoc")
    embedder.backbone.requires_grad_(False)
    assert [group["name"] for group in embedder.parameter_groups(1.0, 0.0)] == ["projection"]


def test_scale_power_is_that_of_gem_only_where_pooling_comes_last() -> None:
    embedder = build(dimension=0)
    assert isinstance(embedder.pooling, Gem)
    with torch.no_grad():
        embedder.pooling.p.fill_(2.5)
    assert embedder.scale_power == 2.5
    assert build().scale_power == 1
    assert build(dimension=0, pooling="gemmp").scale_power == 1
    assert build(dimension=0, regional=True).scale_power == 1


def test_projection_starts_orthogonal_without_bias() -> None:
    projection = build(dimension=16).projection
    assert projection is not None
    gram = projection.weight @ projection.weight.T
    torch.testing.assert_close(gram, torch.eye(16), rtol=1e-5, atol=1e-5)
    assert not projection.bias.any()


def test_init_from_takes_over_the_layers_that_fit() -> None:
    teacher = build(dimension=16)
    with torch.no_grad():
        teacher.pooling.p.fill_(4.0)  # type: ignore[union-attr]
    student = build(dimension=16, init_from=teacher)
    assert student.projection is not None
    assert teacher.projection is not None
    assert torch.equal(student.projection.weight, teacher.projection.weight)
    assert student.projection.weight is not teacher.projection.weight
    assert torch.equal(student.pooling.p, teacher.pooling.p)  # type: ignore[arg-type]
    other = build(dimension=8, init_from=teacher)
    assert other.projection is not None
    assert other.projection.weight.shape[0] == 8


def test_input_size_changes_where_the_backbone_allows() -> None:
    embedder = build()
    embedder.set_input_size(96)
    assert embedder.spec.size == embedder.config.input_size == 96
    assert embedder.config.network_size == 64
    with pytest.raises(ModelError):
        embedder.set_input_size(0)


@pytest.mark.parametrize("options", [{"dimension": -1}, {"adapter": -2}, {"pooling": "x"}])
def test_impossible_options(options: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        build(**options)


def test_config_survives_json() -> None:
    config = build(regional=True, adapter=8).config
    again = EmbedderConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert again == config
    assert again.spec == config.spec


@pytest.mark.parametrize(
    "change",
    [
        {"colour": 1},
        {"dimension": "16"},
        {"projection": 1},
        {"mean": [0.5, 0.5]},
        {"std": "half"},
        {"pooling": None},
    ],
)
def test_config_refuses_what_it_does_not_know(change: dict[str, Any]) -> None:
    content = build().config.to_json() | change
    with pytest.raises(CheckpointError, match="here"):
        EmbedderConfig.from_json(content, "here")


def test_config_refuses_missing_fields() -> None:
    content = build().config.to_json()
    del content["backbone"]
    with pytest.raises(CheckpointError, match="backbone"):
        EmbedderConfig.from_json(content)
    with pytest.raises(CheckpointError):
        EmbedderConfig.from_json([])


def test_config_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        build().config.pooling = "mac"  # type: ignore[misc]


def statistics(module: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for name, value in module.named_buffers() if "running" in name]


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(left, right, strict=True))


def test_frozen_statistics_survive_training_and_copying() -> None:
    embedder = build()
    freeze_batchnorm_statistics(embedder)
    embedder.train()
    copied = copy.deepcopy(embedder).train()
    before = statistics(embedder)
    assert before
    for model in (embedder, copied):
        model(images()).sum().backward()
        assert same(statistics(model), before)
    gains = [value for name, value in embedder.named_parameters() if name.endswith("bn1.weight")]
    assert all(value.grad is not None for value in gains)
    assert embedder.training
    assert len(embedder.state_dict()) == len(build().state_dict())
    # The copy is its own: thawing it by hand leaves the original frozen.
    for module in copied.modules():
        vars(module).pop("train", None)
    copied.train()(images())
    assert not same(statistics(copied), before)
    assert same(statistics(embedder), before)


def test_pca_projection_equals_the_singular_vectors() -> None:
    features = torch.randn(60, 10, dtype=torch.float64)
    weight, bias = pca_projection(features, 4)
    centred = features - features.mean(dim=0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    projected = features @ weight.T + bias
    torch.testing.assert_close(
        (projected.T @ projected).diag(), (centred @ directions[:4].T).square().sum(0)
    )
    torch.testing.assert_close(weight @ weight.T, torch.eye(4, dtype=torch.float64))
    with pytest.raises(ModelError):
        pca_projection(features, 11)


def test_ridge_projection_finds_a_linear_teacher() -> None:
    features = torch.randn(200, 12)
    weight, bias = torch.randn(5, 12), torch.randn(5)
    found, offset = ridge_projection(features, features @ weight.T + bias, strength=1e-9)
    torch.testing.assert_close(found, weight, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(offset, bias, rtol=1e-3, atol=1e-4)
    embedder = build(dimension=5)
    assert embedder.projection is not None
    embedder.set_projection(torch.ones(5, embedder.channels), bias)
    assert torch.equal(embedder.projection.bias, bias)
    with pytest.raises(ModelError):
        embedder.set_projection(torch.ones(4, embedder.channels), torch.ones(4))
    with pytest.raises(ModelError):
        build(dimension=0).set_projection(weight, bias)


def test_ridge_projection_survives_fewer_images_than_channels() -> None:
    weight, bias = ridge_projection(torch.randn(4, 12), torch.randn(4, 3))
    assert weight.isfinite().all()
    assert bias.isfinite().all()
