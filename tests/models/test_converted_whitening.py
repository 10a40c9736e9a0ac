"""Published files become model folders with the whitening of their searches."""

from pathlib import Path

import numpy as np
import pytest
import torch
from test_models_checkpoints import KEYS, twin

from ram_cli.models import ZOO, load_model, model_hash, stored_whitening
from ram_cli.models.whitening_file import MULTI_SCALE_FILE, WHITENING_FILE
from ram_cli.models.zoo import ZooEntry, zoo_cache
from ram_cli.recipes.export import run_export
from ram_cli.settings import ExportSettings

IMAGES = [np.random.default_rng(n).integers(0, 256, (60, 80, 3), dtype=np.uint8) for n in range(2)]


def whitening(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {"m": random.normal(0, 0.1, (512, 1)), "P": random.normal(0, 1, (512, 512))}


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cache of a gallery network with two whitenings, and of its student."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, paper, teacher in (("gallery", "cirtorch", ""), ("query", "AML", "tiny-gallery")):
        address = (f"http://127.0.0.1:9/tiny-{name}.pth",)
        entry = ZooEntry(paper, "landmarks", "squeezenet1_1", 512, 64, address, teacher=teacher)
        monkeypatch.setitem(ZOO, f"tiny-{name}", entry)
    zoo_cache().mkdir(parents=True)
    meta = KEYS["cirtorch"]["squeezenet1_1-spoc"]["meta"]
    whitenings = {"retrieval-SfM-120k": {"ss": whitening(1), "ms": whitening(2)}}
    for name, known in (("gallery", meta | {"Lw": whitenings}), ("query", meta)):
        path = twin("cirtorch", "squeezenet1_1-spoc", tmp_path, meta=known)
        path.rename(zoo_cache() / f"tiny-{name}.pth")
    return tmp_path


def export(run: str, to: Path, **more: object) -> None:
    run_export(ExportSettings.load({"run": run, "to": to, "device": "cpu"} | more))


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 0.5)])
def test_both_whitenings_of_a_gallery_network_go_with_it(published: Path, scales) -> None:
    folder, copy = published / "folder", published / "copy"
    export("tiny-gallery", folder)
    export(str(folder), copy)
    wanted = stored_whitening("tiny-gallery", scales=scales)
    for converted in (folder, copy):
        found = stored_whitening(converted, scales=scales)
        assert all(torch.equal(one, other) for one, other in zip(wanted, found, strict=True))
        assert torch.equal(
            load_model(converted).embed(IMAGES), load_model("tiny-gallery").embed(IMAGES)
        )
    assert (copy / MULTI_SCALE_FILE).is_file()


def test_a_student_is_converted_with_the_whitening_of_its_gallery(published: Path) -> None:
    export("tiny-query", published / "alone")
    export("tiny-query", published / "both", pair=True)
    wanted = load_model("tiny-query").embed(IMAGES)
    (zoo_cache() / "tiny-gallery.pth").unlink()
    for folder in (published / "alone", published / "both" / "student"):
        assert not (folder / WHITENING_FILE).exists()
        assert torch.equal(load_model(folder).embed(IMAGES), wanted)
    teacher = published / "both" / "teacher"
    assert model_hash(load_model(teacher)) == model_hash(load_model(published / "both" / "student"))
    teacher.rename(published / "gone")
    assert torch.equal(load_model(published / "both" / "student").embed(IMAGES), wanted)


def test_a_gallery_that_cannot_be_had_is_told(published: Path, capsys) -> None:
    (zoo_cache() / "tiny-gallery.pth").unlink()
    from ram_cli.cli.main import main

    with pytest.raises(SystemExit) as stopped:
        main(["export", "tiny-query", "--to", str(published / "alone"), "--device", "cpu"])
    assert stopped.value.code in (0, None)
    assert "the whitening of its gallery does not go with it" in capsys.readouterr().err
