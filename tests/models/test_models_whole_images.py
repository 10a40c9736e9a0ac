"""`embed` of models for whole images: their shapes, and the whitening of their searches."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ram_cli.datasets import ImageSet
from ram_cli.engine import resolve_runtime
from ram_cli.errors import CheckpointError, DataError, ModelError
from ram_cli.evaluation import Whitening, apply_whitening, embed_images, whiten_pca
from ram_cli.models import Embedder, build_embedder, load_model, model_hash, save_model
from ram_cli.models.whitening_file import GALLERY_WHITENING_FILE, save_whitening

SHAPES = ((90, 60), (60, 90), (90, 60), (40, 30), (120, 50))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    folder, random = tmp_path_factory.mktemp("landmarks"), np.random.default_rng(4)
    for number, (width, height) in enumerate(SHAPES):
        pixels = random.integers(0, 255, (height // 10, width // 10, 3), dtype=np.uint8)
        Image.fromarray(pixels.repeat(10, 0).repeat(10, 1)).save(folder / f"{number}.jpg")
    names = tuple(sorted(path.name for path in folder.iterdir()))
    return ImageSet("x", folder, names, np.zeros(len(names), np.int64), ("a",))


def paths(images: ImageSet) -> list[Path]:
    return [images.path(index) for index in range(len(images))]


def expected(model: Embedder, images: ImageSet, fit: Any) -> torch.Tensor:
    return embed_images(model, images, runtime=resolve_runtime("cpu", "fp32"), fit=fit)


def saved(folder: Path, provenance: dict[str, Any], fit: str = "", seed: int = 2) -> Path:
    torch.manual_seed(seed)
    model = build_embedder("timm:test_resnet", pretrained=False, dimension=4, input_size=64)
    save_model(model, folder, provenance=provenance)
    config = folder / "config.json"
    content = json.loads(config.read_text())
    assert "fit" not in content["model"]  # so that an older ram reads it
    if fit:
        content["model"]["fit"] = fit
        config.write_text(json.dumps(content))
    return folder


def whitening_of(folder: Path, seed: int) -> Whitening:
    generator = torch.Generator().manual_seed(seed)
    learned = whiten_pca(torch.randn(30, 4, generator=generator))
    save_whitening(folder, learned.mean, learned.projection, {})
    return learned


@pytest.mark.parametrize(
    ("provenance", "fit", "seen"),
    [
        ({}, "", "crop"),
        ({}, "whole", "whole"),
        ({"settings": {"fit": "whole"}, "dataset": {"source": "photos"}}, "", "whole"),
        ({"settings": {"fit": None}, "dataset": {"source": "sfm120k"}}, "", "whole"),
        ({"settings": {"fit": "crop"}, "dataset": {"source": "sfm120k"}}, "", "crop"),
        ({"settings": {"fit": None}, "dataset": {"source": "photos"}}, "", "crop"),
        ({"settings": {"fit": "whole"}, "dataset": {"source": "sfm30k"}}, "crop", "crop"),
        ({"settings": [], "dataset": "sfm30k"}, "", "crop"),
    ],
)
def test_a_folder_says_what_its_model_sees(
    images: ImageSet, tmp_path: Path, provenance: dict[str, Any], fit: str, seen: str
) -> None:
    model = load_model(saved(tmp_path / "model", provenance, fit))
    assert model.fit == seen
    wanted = {name: expected(model, images, name) for name in ("crop", "whole")}
    assert (wanted["crop"] - wanted["whole"]).abs().max() > 1e-2
    torch.testing.assert_close(model.embed(paths(images), batch_size=4), wanted[seen])
    for name in ("crop", "whole"):
        found = model.embed(paths(images), fit=name, batch_size=1)  # type: ignore[arg-type]
        torch.testing.assert_close(found, wanted[name])
    pixels = [np.asarray(Image.open(path)) for path in paths(images)]
    torch.testing.assert_close(model.embed(pixels), wanted[seen])
    with pytest.raises(DataError, match="whole"):
        model.embed(pixels, fit="half")  # type: ignore[arg-type]


def test_what_is_seen_is_no_part_of_the_hash(tmp_path: Path) -> None:
    plain, whole = saved(tmp_path / "a", {}), saved(tmp_path / "b", {}, "whole")
    assert model_hash(plain) == model_hash(whole) == model_hash(load_model(whole))
    with pytest.raises(CheckpointError, match="crop or whole"):
        load_model(saved(tmp_path / "c", {}, "half"))


def test_stored_whitening_is_applied_as_in_a_search(images: ImageSet, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", {}, "whole")
    with pytest.raises(ModelError, match="brings none"):
        load_model(folder).embed(paths(images), whitening=True)
    learned = whitening_of(folder, 1)
    model = load_model(folder)
    plain = {fit: expected(model, images, fit) for fit in ("crop", "whole")}
    whitened = {fit: apply_whitening(plain[fit], learned).float() for fit in plain}
    torch.testing.assert_close(model.embed(paths(images)), whitened["whole"])
    torch.testing.assert_close(model.embed(paths(images), whitening=False), plain["whole"])
    torch.testing.assert_close(model.embed(paths(images), fit="crop"), plain["crop"])
    again = model.embed(paths(images), fit="crop", whitening=True)
    torch.testing.assert_close(again, whitened["crop"])
    crops = load_model(saved(tmp_path / "crops", {}))
    whitening_of(tmp_path / "crops", 1)
    torch.testing.assert_close(crops.embed(paths(images)), plain["crop"])


def test_a_student_is_whitened_as_its_gallery_is(images: ImageSet, tmp_path: Path) -> None:
    teacher = saved(tmp_path / "runs" / "best", {}, "whole", seed=3)
    learned = whitening_of(teacher, 2)
    record = {"teacher": {"name": str(tmp_path / "runs"), "hash": model_hash(teacher)}}
    student = saved(tmp_path / "pair" / "student", record, "whole")
    whitening_of(student, 1)  # its own, which is not that of the gallery
    plain = expected(load_model(student), images, "whole")
    wanted = apply_whitening(plain, learned).float()
    torch.testing.assert_close(load_model(student).embed(paths(images)), wanted)

    teacher.rename(tmp_path / "pair" / "teacher")  # as an exported pair lies
    torch.testing.assert_close(load_model(student).embed(paths(images)), wanted)
    gallery = load_model(tmp_path / "pair" / "teacher")

    gone = student.rename(tmp_path / "student")  # alone, on another machine
    model = load_model(gone)
    with pytest.raises(ModelError, match="whitening=False"):
        model.embed(paths(images))
    torch.testing.assert_close(model.embed(paths(images), whitening=False), plain)
    torch.testing.assert_close(model.embed(paths(images), whitening=gallery), wanted)
    save_whitening(gone, learned.mean, learned.projection, {}, GALLERY_WHITENING_FILE)
    torch.testing.assert_close(load_model(gone).embed(paths(images)), wanted)
