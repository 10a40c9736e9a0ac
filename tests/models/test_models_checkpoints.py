"""Published layouts: synthetic twins of real files give the descriptors of the published code."""

import gzip
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ram_cli.errors import CheckpointError, ModelError
from ram_cli.models.build import build_embedder
from ram_cli.models.checkpoints import load_published, published_whitening
from ram_cli.models.folder import read_provenance
from ram_cli.models.loading import load_model
from ram_cli.models.pooling import GEM_INITIAL_POWER
from ram_cli.models.tensor_files import read_pickle
from ram_cli.models.zoo import ZOO, ZooEntry, zoo_cache
from ram_cli.recipes.aligned import find_teacher
from ram_cli.recipes.export import run_export
from ram_cli.settings import ExportSettings

GOLDEN = Path(__file__).parents[1] / "golden"
SOURCES = ["raml", "raml_timmfix", "cirtorch", "aml"]
QUICK = {
    ("raml", "resnet18-gem-w512"),
    ("raml", "mobilenet_v2-gemmp-w512"),
    ("raml", "shufflenet_v2_x1_0-gem-w512"),
    ("raml_timmfix", "resnet18d-gem-w512"),
    ("raml_timmfix", "tf_efficientnet_lite0-gemmp-w512"),
    ("cirtorch", "resnet18-rmac"),
    ("cirtorch", "resnet18-mac-r"),
    ("cirtorch", "resnet18-gem-lwhiten-whiten"),
    ("cirtorch", "squeezenet1_1-spoc"),
    ("aml", "mobilenet_v2-gem-t_vgg16"),
    ("aml", "resnet18-gem-lwhiten-r"),
}
# The published code gave these a layer whose width is not that of the features.
MISFITS = {"vgg16-gem-w512", "vgg16-gemmp", "mobilenet_v3_large-gem-w512"}
HEAVY = {"vgg16-gem-w512", "vgg16-gemmp", "googlenet-gem-w512", "mobilenet_v3_large-gem-w512"}


def recipe_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_recipe", GOLDEN / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RECIPE = recipe_module()
INPUTS = np.load(GOLDEN / "net_inputs.npz")
DESCRIPTORS = {source: np.load(GOLDEN / f"net_{source}.npz") for source in SOURCES}
KEYS: dict[str, dict[str, Any]] = {
    source: json.loads(gzip.decompress((GOLDEN / f"net_{source}_keys.json.gz").read_bytes()))
    for source in SOURCES
}


def cases(known: bool) -> list[Any]:
    """Networks whose descriptor the published code could compute, or those where it crashed."""
    return [
        pytest.param(
            source,
            name,
            marks=pytest.mark.slow
            if name in HEAVY or (known and (source, name) not in QUICK)
            else (),
        )
        for source in SOURCES
        for name in KEYS[source]
        if any(key.startswith(f"{name}_f") for key in DESCRIPTORS[source].files) == known
    ]


def twin(source: str, name: str, folder: Path, **changes: Any) -> Path:
    """Write the synthetic twin of a published file."""
    entry = KEYS[source][name]
    state_dict = {key: RECIPE.value(key, shape) for key, shape in entry["state_dict"].items()}
    path = folder / f"{name}.pth"
    torch.save({"meta": entry["meta"], "state_dict": state_dict} | changes, path)
    return path


def descriptors(source: str, name: str, path: Path, dtype: torch.dtype) -> Tensor:
    entry = KEYS[source][name]
    size = (96, 128) if entry["input"].startswith("crop") else None
    meta = entry["meta"]
    images = RECIPE.images(INPUTS, meta["mean"], meta["std"], size, dtype)
    with torch.inference_mode():
        result: Tensor = load_model(path).to(dtype)(images)
    return result


@pytest.mark.parametrize(("source", "name"), cases(known=True))
def test_twins_give_the_published_descriptors(source: str, name: str, tmp_path: Path) -> None:
    path = twin(source, name, tmp_path)
    golden = DESCRIPTORS[source]
    expected = torch.from_numpy(golden[f"{name}_f32"])
    result = descriptors(source, name, path, torch.float32)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=2e-6)
    if f"{name}_f64" in golden.files:
        exact = torch.from_numpy(golden[f"{name}_f64"])
        result = descriptors(source, name, path, torch.float64)
        torch.testing.assert_close(result, exact, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("source", "name"), cases(known=False))
def test_what_crashed_in_the_published_code_runs(source: str, name: str, tmp_path: Path) -> None:
    path = twin(source, name, tmp_path)
    entry = KEYS[source][name]
    if name in MISFITS:
        with pytest.raises(CheckpointError, match="shape"):
            load_model(path)
        model = build_embedder(entry["meta"]["architecture"], pretrained=False, input_size=64)
        size = 64
    else:
        model, size = load_model(path), 224
    with torch.inference_mode():
        result = model.eval()(torch.randn(1, 3, size, size))
    assert result.shape == (1, 512)
    torch.testing.assert_close(result.norm(dim=1), torch.ones(1), rtol=1e-4, atol=1e-4)


def test_config_follows_the_tensors(tmp_path: Path) -> None:
    config = load_model(twin("aml", "mobilenet_v2-gem-t_vgg16", tmp_path)).config
    assert config.backbone == "torchvision:mobilenet_v2"
    assert (config.adapter, config.projection, config.dimension) == (512, False, 512)
    config = load_model(twin("raml", "resnet18-gem-w512", tmp_path)).config
    assert (config.adapter, config.projection, config.dimension) == (0, True, 512)
    assert config.mean == (0.485, 0.456, 0.406)


def test_files_from_before_batch_counters(tmp_path: Path) -> None:
    entry = KEYS["raml"]["resnet18-gem-w512"]
    state_dict = {
        key: RECIPE.value(key, shape)
        for key, shape in entry["state_dict"].items()
        if not key.endswith("num_batches_tracked")
    }
    path = twin("raml", "resnet18-gem-w512", tmp_path, state_dict=state_dict)
    assert load_published(path).dimension == 512


def test_files_of_data_parallel_and_of_the_old_format(tmp_path: Path) -> None:
    entry = KEYS["cirtorch"]["squeezenet1_1-spoc"]
    state_dict = {
        f"module.{key}": RECIPE.value(key, shape) for key, shape in entry["state_dict"].items()
    }
    path = tmp_path / "old.pth"
    content = {"meta": entry["meta"], "state_dict": state_dict, "epoch": 3, "min_loss": 0.5}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    assert load_published(path).dimension == 512


def whitening(size: int) -> dict[str, Any]:
    return {"m": np.full((size, 1), 0.5), "P": np.eye(size, dtype=np.float32)}


def test_whitening_in_meta_is_read_and_does_not_disturb(tmp_path: Path) -> None:
    meta = KEYS["cirtorch"]["squeezenet1_1-spoc"]["meta"]
    meta = meta | {"Lw": {"retrieval-SfM-120k": {"ss": whitening(4), "ms": whitening(4)}}}
    path = twin("cirtorch", "squeezenet1_1-spoc", tmp_path, meta=meta)
    assert load_published(path).dimension == 512
    found = published_whitening(path)
    assert list(found) == ["retrieval-SfM-120k/ss", "retrieval-SfM-120k/ms"]
    mean, projection = found["retrieval-SfM-120k/ss"]
    assert torch.equal(mean, torch.full((4,), 0.5, dtype=torch.float64))
    assert torch.equal(projection, torch.eye(4, dtype=torch.float64))


def test_files_of_one_whitening(tmp_path: Path) -> None:
    torch.save(whitening(3), tmp_path / "w.pth")
    assert list(published_whitening(tmp_path / "w.pth")) == [""]
    torch.save(whitening(3) | {"P": np.eye(4)}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError):
        published_whitening(tmp_path / "w.pth")


def test_arrays_under_numpys_former_name_are_read(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(whitening(3), path, pickle_protocol=2, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    old = content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    assert old != content
    path.write_bytes(old)
    assert np.array_equal(read_pickle(path)["P"], np.eye(3))


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("raml", "resnet18-gem-w512"),
        ("aml", "mobilenet_v2-gem-t_vgg16"),
        ("cirtorch", "squeezenet1_1-spoc"),
    ],
)
def test_published_files_become_model_folders(source: str, name: str, tmp_path: Path) -> None:
    path, folder = twin(source, name, tmp_path), tmp_path / "new"
    values = {"run": str(path), "to": folder, "device": "cpu"}
    result = run_export(ExportSettings.load(values))
    assert result.model.difference == 0
    images = torch.rand(2, 3, 96, 128)
    with torch.inference_mode():
        assert torch.equal(load_model(path)(images), load_model(folder)(images))
    assert f"converted from {name}.pth".replace("_", "\\_") in (folder / "README.md").read_text()
    assert str(tmp_path) not in (folder / "config.json").read_text()


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twins of two published files: a student at hand, and its teacher in the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    address = "http://127.0.0.1:9/{}.pth"
    for name, size, teacher in (("big", 96, ""), ("small", 48, "tiny-big")):
        known = f"tiny-{name}"
        entry = ZooEntry(
            "RAML",
            "birds",
            "shufflenet_v2_x1_0",
            512,
            size,
            (address.format(known),),
            teacher=teacher,
        )
        monkeypatch.setitem(ZOO, known, entry)
    zoo_cache().mkdir(parents=True)
    for folder, name in ((zoo_cache(), "big"), (tmp_path, "small")):
        twin("raml", "shufflenet_v2_x1_0-gem-w512", folder).rename(folder / f"tiny-{name}.pth")
    return tmp_path / "tiny-small.pth"


def test_a_published_student_keeps_its_size_and_its_teacher(published: Path) -> None:
    folder = published.parent / "alone"
    run_export(ExportSettings.load({"run": str(published), "to": folder, "device": "cpu"}))
    assert load_model(folder).spec.size == 48
    card = (folder / "README.md").read_text()
    assert "in the space of its teacher, [tiny-big](http://127.0.0.1:9/tiny-big.pth)" in card
    assert 'teacher = ram_cli.load_model("tiny-big")' in card
    assert find_teacher(str(folder)) == find_teacher(str(published)) == "tiny-big"
    assert read_provenance(folder)["dataset"] == {"name": "birds"}
    images = torch.rand(1, 3, 96, 96)
    kept = load_model(folder).embed(torch.zeros(3, 60, 60, dtype=torch.uint8))
    assert kept.shape == (1, 512)

    values = {"run": str(published), "to": published.parent / "both", "pair": True, "device": "cpu"}
    result = run_export(ExportSettings.load(values))
    assert result.teacher is not None
    assert (result.model.image_size, result.teacher.image_size) == (48, 96)
    student = published.parent / "both" / "student"
    assert find_teacher(str(student)) == str(student.parent / "teacher")
    with torch.inference_mode():
        assert torch.equal(
            load_model("tiny-big")(images), load_model(find_teacher(str(student)))(images)
        )


def test_a_renamed_file_is_only_what_it_holds(published: Path) -> None:
    renamed = published.rename(published.with_name("mine.pth"))
    folder = published.parent / "alone"
    run_export(ExportSettings.load({"run": str(renamed), "to": folder, "device": "cpu"}))
    assert load_model(folder).spec.size == 224
    assert read_provenance(folder) == {"converted_from": "mine.pth"}


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("harm"),))


@pytest.mark.parametrize("where", ["meta", "state_dict", "extra"])
def test_files_that_hold_code_are_refused_and_not_run(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = twin("cirtorch", "squeezenet1_1-spoc", tmp_path, **{where: {"x": Harmful()}})
    with pytest.raises(CheckpointError) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"meta": None},
        {"state_dict": None},
        {"state_dict": {"conv.weight": torch.zeros(1)}},
        {"state_dict": {"features.0.weight": torch.zeros(1)}},
        {"state_dict": {"features.0.weight": 3}},
        {"meta": {"architecture": "squeezenet1_1", "pooling": "median"}},
        {"meta": {"architecture": "squeezenet1_1", "pooling": "spoc", "mean": [1, 2]}},
        {"meta": {"architecture": "swin_t", "pooling": "spoc"}},
    ],
)
def test_foreign_files_are_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    path = twin("cirtorch", "squeezenet1_1-spoc", tmp_path, **changes)
    with pytest.raises(CheckpointError) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_unknown_architectures_are_named(tmp_path: Path) -> None:
    meta = {"architecture": "resnet19", "pooling": "gem"}
    with pytest.raises(ModelError, match="resnet18"):
        load_model(twin("cirtorch", "squeezenet1_1-spoc", tmp_path, meta=meta))


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = twin("cirtorch", "squeezenet1_1-spoc", tmp_path)
    content = torch.load(path, weights_only=True)
    content["state_dict"]["features.0.bias"][0] = float("nan")
    torch.save(content, path)
    with pytest.raises(CheckpointError):
        load_model(path)


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    path = twin("cirtorch", "squeezenet1_1-spoc", tmp_path)
    path.write_bytes(path.read_bytes()[: -len(path.read_bytes()) // 2])
    with pytest.raises(CheckpointError):
        load_model(path)


def test_the_recipe_starts_gem_where_we_do() -> None:
    assert float(RECIPE.value("pool.p", [1])) == GEM_INITIAL_POWER
