"""Preparing a dataset, and the teacher's vectors that later runs find by themselves."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_runs import DISTILL, TINY, write_images

from ram_cli.datasets import load_dataset, read_manifest
from ram_cli.recipes import features

CPU = ["--precision", "fp32", "--device", "cpu", "--workers", "0"]


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the image sets that the teacher embeds."""
    calls: list[str] = []

    def counted(embed):
        def call(model, of, **more):
            calls.append(of.name)
            return embed(model, of, **more)

        return call

    for name in ("embed_images", "embed_sections"):
        monkeypatch.setattr(features, name, counted(getattr(features, name)))
    return calls


def prepare(call, *words):
    code, out, err = call("prepare", *words, *CPU, "--json")
    assert code == 0, err
    return json.loads(out)


def test_manifest_says_what_training_will_see(call, images):
    result = prepare(call, images)
    dataset = load_dataset(str(images), Path("data"))
    assert result["content_hash"] == dataset.content_hash
    assert result["manifest"] == f"data/prepared/stripes-{dataset.content_hash[:8]}/manifest.json"
    written = read_manifest(Path(result["manifest"]))
    assert written.test.paths == dataset.test.paths
    assert written.content_hash == dataset.content_hash
    assert result["splits"]["train"] == {"classes": 3, "images": 12}
    assert (result["skipped"], result["features"]) == ([], None)
    assert not list(images.rglob("manifest.json"))


def test_a_split_file_names_its_folder(call, tmp_path):
    folder = write_images(tmp_path / "mine")
    names = sorted(path.name for path in folder.iterdir())
    parts = {"train": names[:4], "val": names[4:8], "test": names[8:]}
    split = {
        part: [[f"{name}/{number}.jpg" for number in range(4)] for name in found]
        for part, found in parts.items()
    }
    (folder / "split.json").write_text(json.dumps(split))
    assert prepare(call, folder / "split.json")["splits"]["val"]["images"] == 16
    split["test"].append([split["train"][0].pop()])
    (folder / "split.json").write_text(json.dumps(split))
    code, out, err = call("prepare", folder)
    assert (code, out) == (1, "")
    assert "class 00" in err


def test_an_image_that_only_full_decoding_refuses(call, tmp_path):
    from PIL import Image

    folder = write_images(tmp_path / "mine")
    odd = folder / "class 03" / "1.tif"  # floating-point pixels: whole, and yet no picture
    Image.new("F", (40, 40)).save(odd)
    assert load_dataset(str(folder), Path("elsewhere")).skipped == ()
    code, out, err = call("prepare", folder)
    assert (code, out) == (1, "")
    assert "1.tif" in err
    result = prepare(call, folder, "--skip-unreadable")
    assert result["skipped"] == ["class 03/1.tif"]


def test_unknown_names_and_missing_datasets(call):
    assert "cub" in call("prepare", "cubb")[2]
    code, _, err = call("prepare", "cub")
    assert code == 1
    assert "ram download cub" in err
    assert call("prepare")[0] == 2


def test_distillation_finds_the_vectors_by_itself(call, images, teacher, embedded):
    words = [
        *DISTILL, "--method", "cosine-regression", "--dataset", images, "--teacher", teacher,
        "--student", TINY, "--no-pretrained", "--image-size", "24",
    ]  # fmt: skip
    assert call(*words, "--output", "without")[0] == 0
    assert sorted(embedded) == ["stripes/train", "stripes/val"]
    embedded.clear()
    kept = prepare(call, images, "--teacher", teacher)["features"]
    assert prepare(call, images, "--teacher", teacher)["features"] == kept
    assert embedded == ["stripes/all"]
    embedded.clear()
    assert call(*words, "--output", "with")[0] == 0
    assert embedded == []
    assert call(*words, "--output", "all", "--no-val")[0] == 0
    assert embedded == []
    first, second = (load_file(f"{run}/final/model.safetensors") for run in ("without", "with"))
    for name, value in first.items():
        assert torch.allclose(value, second[name], atol=1e-4), name


@pytest.mark.parametrize(
    "change", ["size", "images", "split", "model", "precision", "engine", "damage"]
)
def test_stale_vectors_are_never_used(call, images, teacher, embedded, tmp_path, change):
    folder = shutil.copytree(images, tmp_path / "mine")
    kept = Path(prepare(call, folder, "--teacher", teacher)["features"])
    embedded.clear()
    words = [
        *DISTILL, "--method", "cosine-regression", "--dataset", folder, "--teacher", teacher,
        "--student", TINY, "--no-pretrained", "--image-size", "24", "--no-val", "--epochs", "1",
    ]  # fmt: skip
    if change == "size":
        words += ["--teacher-image-size", "64"]
    elif change == "images":
        shutil.copy(folder / "class 00" / "0.jpg", folder / "class 00" / "9.jpg")
    elif change == "split":
        words += ["--split-seed", "7"]
    elif change == "precision":
        words += ["--precision", "bf16"]
    elif change == "engine":
        pytest.importorskip("onnxruntime")
        words += ["--engine", "onnxruntime"]
    elif change == "model":  # another network under the file name of the first
        path = teacher / "best" / "model.safetensors"
        words[words.index("--teacher") + 1] = shutil.copytree(path.parent, tmp_path / "other")
        weights = load_file(path)
        weights["projection.weight"] *= -1
        save_file(weights, tmp_path / "other" / "model.safetensors")
        config = json.loads((tmp_path / "other" / "config.json").read_text())
        config.pop("hash")
        (tmp_path / "other" / "config.json").write_text(json.dumps(config))
    else:
        content = bytearray(kept.read_bytes())
        content[-1] ^= 1
        kept.write_bytes(content)
    code, _, err = call(*words, "--output", "run")
    assert code == 0, err
    assert embedded == ["mine/train_val"]
    assert ("damaged" in err) == (change == "damage")


def test_a_file_of_another_dataset_is_not_used_under_this_ones_name(
    call, images, teacher, embedded, tmp_path
):
    kept = Path(prepare(call, images, "--teacher", teacher)["features"])
    other = write_images(tmp_path / "other", classes=8)
    made = Path(prepare(call, other)["manifest"]).parent / "features" / kept.name
    made.parent.mkdir()
    shutil.copy(kept, made)
    embedded.clear()
    again = prepare(call, other, "--teacher", teacher)["features"]
    assert again == str(made)
    assert embedded == ["other/all"]
    assert len(load_file(made)["vectors"]) == 32
