"""Model folders and the names of models: round trips, hashes, damage, order of look-up."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ram_cli.errors import CheckpointError, ModelError
from ram_cli.models.build import build_embedder
from ram_cli.models.embedder import Embedder
from ram_cli.models.folder import (
    is_model_folder,
    load_folder,
    model_hash,
    read_provenance,
    save_model,
)
from ram_cli.models.loading import load_model

PROVENANCE = {"training_data": "birds", "metrics": {"map": 0.5}, "teacher": {"hash": "abc"}}


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    torch.manual_seed(3)
    return build_embedder(
        "timm:test_efficientnet",
        pretrained=False,
        input_size=64,
        dimension=16,
        regional=True,
        regional_whitening=True,
        adapter=8,
        local_whitening=True,
    ).eval()


@pytest.fixture
def folder(embedder: Embedder, tmp_path: Path) -> Path:
    save_model(embedder, tmp_path / "model", provenance=PROVENANCE)
    return tmp_path / "model"


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_tensors(folder: Path, **changes: torch.Tensor | None) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors |= {name: value for name, value in changes.items() if value is not None}
    save_file(
        {name: value for name, value in tensors.items() if changes.get(name, value) is not None},
        folder / "model.safetensors",
    )


@torch.no_grad()
def test_a_folder_brings_the_same_model_back(embedder: Embedder, folder: Path) -> None:
    assert is_model_folder(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    again = load_folder(folder)
    assert not again.training
    assert again.config == embedder.config
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(again(images), embedder(images))
    assert read_provenance(folder) == PROVENANCE


def test_config_holds_what_the_model_is(embedder: Embedder, folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text())
    assert content["format_version"] == 1
    assert content["hash"] == model_hash(embedder)
    assert content["model"]["backbone"] == "timm:test_efficientnet"
    assert {"pooling", "projection", "dimension", "input_size", "mean", "std"} <= set(
        content["model"]
    )
    card = (folder / "README.md").read_text()
    assert "birds" in card
    assert card.startswith("---\n")


def test_saving_replaces_an_older_folder(embedder: Embedder, folder: Path) -> None:
    save_model(embedder, folder, provenance={"training_data": "cars"})
    assert read_provenance(folder) == {"training_data": "cars"}
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_failed_save_leaves_the_older_folder(embedder: Embedder, folder: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        save_model(embedder, folder, provenance={"map": float("nan")})
    assert read_provenance(folder) == PROVENANCE


def test_hash_follows_content_alone(embedder: Embedder, folder: Path) -> None:
    assert model_hash(folder) == model_hash(load_folder(folder)) == model_hash(embedder)
    assert model_hash(load_model(folder, input_size=96)) == model_hash(embedder)
    changed = load_folder(folder)
    with torch.no_grad():
        changed.projection.bias[0] += 1e-3  # type: ignore[union-attr]
    assert model_hash(changed) != model_hash(embedder)


def test_shared_tensors_can_be_saved(tmp_path: Path) -> None:
    model = build_embedder("timm:test_efficientnet", pretrained=False, input_size=64, dimension=8)
    model = model.to(memory_format=torch.channels_last)
    model.backbone.network.twin = model.backbone.network.bn2  # same tensors under two names
    save_model(model, tmp_path / "m", provenance={})
    assert model_hash(tmp_path / "m") == model_hash(model)


def fails(path: Path | str) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_truncated_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "model.safetensors" in fails(folder)


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"not weights"])
def test_garbage_weights(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    fails(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe{}", b'{"format": "other"}'])
def test_garbage_configs(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    assert "config.json" in fails(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_files(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert name in fails(folder)


def test_a_folder_of_something_else_is_no_model_folder(tmp_path: Path) -> None:
    (tmp_path / "class 1").mkdir()
    with pytest.raises(CheckpointError, match=r"is no model folder: it has no config\.json and no"):
        load_model(tmp_path)


def test_missing_unknown_and_misshapen_tensors(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    for change in (
        {"projection.bias": None},
        {"surplus": torch.ones(1)},
        {"projection.bias": torch.ones(17)},
    ):
        edit_tensors(folder, **change)
        assert next(iter(change)) in fails(folder)
        (folder / "model.safetensors").write_bytes(whole)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(folder: Path, value: float) -> None:
    edit_tensors(folder, **{"projection.bias": torch.full((16,), value)})
    assert "projection.bias" in fails(folder)


def test_swapped_weights_are_noticed(folder: Path) -> None:
    edit_tensors(folder, **{"projection.bias": torch.ones(16)})
    assert "model.safetensors" in fails(folder)


@pytest.mark.parametrize("version", [2, 0, "1", None])
def test_other_format_versions(folder: Path, version: object) -> None:
    edit_config(folder, format_version=version, ram_version="9.9")
    message = fails(folder)
    assert ("9.9" in message) == (version == 2)


def test_unknown_backbones_in_a_config(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text())
    edit_config(folder, model=content["model"] | {"backbone": "timm:resnet19"})
    with pytest.raises(ModelError):
        load_model(folder)


def test_a_file_inside_the_folder_names_it(embedder: Embedder, folder: Path) -> None:
    assert load_model(folder / "model.safetensors").config == embedder.config
    assert load_model(str(folder / "config.json")).config == embedder.config


def test_run_folders_say_which_model_to_name(embedder: Embedder, tmp_path: Path) -> None:
    save_model(embedder, tmp_path / "best", provenance={})
    assert str(tmp_path / "best") in fails(tmp_path)


@pytest.mark.parametrize("name", ["/no/such", "./none", "none.pth", "a/b/c", "~/none/x"])
def test_missing_paths(name: str) -> None:
    with pytest.raises(ModelError, match="no file or folder"):
        load_model(name)
    with pytest.raises(ModelError):
        load_model(Path(name))


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name(name: str) -> None:
    with pytest.raises(ModelError, match="empty name"):
        load_model(name)


def test_a_size_can_be_chosen_while_loading(folder: Path) -> None:
    assert load_model(folder, input_size=96).spec.size == 96


@pytest.mark.parametrize(
    ("name", "pooling"),
    [
        ("timm:test_efficientnet", "gem"),
        ("test_efficientnet-spoc", "spoc"),
        ("timm:test_efficientnet-rmac", "rmac"),
    ],
)
def test_backbone_names(name: str, pooling: str) -> None:
    model = load_model(name, pretrained=False, input_size=64)
    assert model.config.backbone == "timm:test_efficientnet"
    assert model.config.pooling == pooling
    assert model.projection is None
    assert not model.training


def test_unknown_names_list_close_ones() -> None:
    with pytest.raises(ModelError, match="resnet18"):
        load_model("resnet19")


def test_folders_come_before_other_names(
    monkeypatch: pytest.MonkeyPatch, embedder: Embedder, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(embedder, "resnet18", provenance={})
    assert load_model("resnet18").config == embedder.config
    assert np.isfinite(load_model("resnet18").scale_power)


@pytest.mark.parametrize("part", ["dataset", "metrics", "settings", "teacher"])
@pytest.mark.parametrize("value", [None, [1], "x"])
def test_a_record_of_another_shape_is_told(folder: Path, part: str, value: object) -> None:
    edit_config(folder, provenance={part: value})
    with pytest.raises(CheckpointError, match=rf"config\.json: {part} of the provenance"):
        read_provenance(folder)
    assert load_folder(folder).dimension == 16
