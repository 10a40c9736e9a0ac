"""Smaller copies of large images: made once, read by trainings alone, never when stale."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file
from tiny_runs import DISTILL, TINY, TRAIN, write_images

from ram_cli.datasets import load_dataset
from ram_cli.recipes import copies
from ram_cli.recipes.copies import NONE, training_images
from ram_cli.views import decode_image

CPU = ["--precision", "fp32", "--device", "cpu", "--workers", "0"]
ONCE = [*TRAIN, "--epochs", "1", "--no-val", "--projection-start", "random"]


@pytest.fixture
def photos(empty_folder: Path) -> Path:
    """Images of 64 x 72 pixels; those of class 00 are larger, one of them a turned PNG."""
    folder = write_images(empty_folder / "photos")
    for number in range(4):
        path = folder / "class 00" / f"{number}.jpg"
        with Image.open(path) as image:
            large = image.resize((720, 640))
        path.unlink()
        exif = Image.Exif()
        exif[0x0112] = 6
        large.save(path.with_suffix(".png" if number == 0 else ".jpg"), exif=exif)
    return folder


def prepare(call, folder, size, *words):
    code, out, err = call("prepare", folder, "--cache-size", size, *CPU, "--json", *words)
    assert code == 0, err
    return json.loads(out), err


def shown(folder, needed=48, **more):
    dataset = load_dataset(str(folder), Path("data"))
    return training_images(dataset.train_val, dataset, Path("data"), needed, **more)


def test_large_images_have_copies_and_small_ones_have_none(call, photos):
    result, _ = prepare(call, photos, 96)
    made = result["copies"]
    assert (made["size"], made["images"]) == (96, 4)
    files = sorted(Path(made["folder"]).rglob("*.jpg"))
    assert sum(file.stat().st_size for file in files) == made["bytes"]
    for file in files:
        assert decode_image(file).shape == (108, 96, 3)  # upright
    assert prepare(call, photos, 96)[0]["copies"] == made


def test_what_a_copy_shows_is_what_the_image_shows(call, photos):
    prepare(call, photos, 96)
    images, identity = shown(photos)
    assert identity != NONE
    place = next(index for index, path in enumerate(images.paths) if "class 00" in path)
    copy, image = decode_image(images.path(place)), decode_image(images.root / images.paths[place])
    smaller = np.asarray(Image.fromarray(image).resize(copy.shape[1::-1], Image.Resampling.LANCZOS))
    assert np.abs(copy.astype(int) - smaller.astype(int)).mean() < 3


def test_tests_and_vectors_do_not_depend_on_copies(call, photos, teacher):
    words = ["test", "--student", teacher, "--dataset", photos, *CPU, "--json"]
    before = json.loads(call(*words)[1])["rows"][0]
    vectors = prepare(call, photos, 64, "--teacher", teacher)[0]["features"]
    after = json.loads(call(*words)[1])["rows"][0]
    assert {k: v for k, v in after.items() if k != "query_ms"} == {
        k: v for k, v in before.items() if k != "query_ms"
    }
    kept = load_file(vectors)["vectors"]
    shutil.rmtree("data/prepared")
    again = prepare(call, photos, 96, "--teacher", teacher)[0]["features"]
    assert kept.equal(load_file(again)["vectors"])


def test_trainings_read_them_and_say_so(call, photos, teacher):
    prepare(call, photos, 64)
    code, _, err = call(*ONCE, "--dataset", photos, "--output", "with")
    assert code == 0, err
    assert "images-64" in err
    code, _, err = call(*ONCE, "--dataset", photos, "--output", "without", "--no-image-copies")
    assert code == 0, err
    assert "images-64" not in err
    first, second = (load_file(f"{run}/final/model.safetensors") for run in ("with", "without"))
    assert any(not value.equal(second[name]) for name, value in first.items())
    record = json.loads(Path("with/final/config.json").read_text())["provenance"]
    assert len(record["image_copies"]) == 64
    words = ["--dataset", photos, "--teacher", teacher, "--student", TINY, "--no-pretrained"]
    sizes = ["--image-size", "24", "--epochs", "1", "--no-val"]
    code, _, err = call(*DISTILL, *words, *sizes, "--output", "student")
    assert code == 0, err
    assert "images-64" in err
    code, _, err = call(*DISTILL, *words, *sizes, "--teacher-image-size", "96", "--output", "large")
    assert code == 0, err
    assert "too small for views of 96" in err


def test_images_that_are_small_enough_train_the_very_same_weights(call, photos):
    shutil.rmtree(photos / "class 00")
    prepare(call, photos, 64)
    for run, words in (("with", []), ("without", ["--no-image-copies"])):
        assert call(*ONCE, "--dataset", photos, "--output", run, *words)[0] == 0
    first, second = (load_file(f"{run}/final/model.safetensors") for run in ("with", "without"))
    assert all(value.equal(second[name]) for name, value in first.items())


@pytest.mark.parametrize("change", ["pixels", "size", "copy", "gone", "split"])
def test_stale_copies_are_never_read(call, photos, change):
    made = prepare(call, photos, 64)[0]["copies"]
    assert shown(photos)[1] != NONE
    image = photos / "class 00" / "1.jpg"
    copy = next(Path(made["folder"]).rglob("*.jpg"))
    words = []
    if change == "pixels":  # another content of the same length
        content = bytearray(image.read_bytes())
        content[-400] ^= 255
        image.write_bytes(content)
    elif change == "size":
        image.write_bytes(image.read_bytes() + b"\0")
    elif change == "copy":
        copy.write_bytes(copy.read_bytes()[:-5])
    elif change == "gone":
        copy.unlink()
    else:
        words = ["--split-seed", "3"]
    code, _, err = call(*ONCE, "--dataset", photos, "--output", "run", *words)
    assert code == 0, err
    assert "training reads" not in err
    assert "ram prepare" in err
    assert ("class 00/1.jpg" in err) == (change == "pixels")
    again, err = prepare(call, photos, 64)
    assert shown(photos)[1] != NONE
    assert (again["copies"]["images"], "changed" in err) == (4, change == "pixels")


def test_images_that_only_moved_keep_what_was_prepared(call, photos):
    prepare(call, photos, 64)
    for path in photos.rglob("*.*"):
        os.utime(path, (1, 1))
    assert shown(photos)[1] != NONE


def test_the_vectors_of_changed_images_are_not_used(call, photos, teacher):
    prepare(call, photos, 64, "--teacher", teacher)
    image = photos / "class 03" / "1.jpg"
    content = bytearray(image.read_bytes())
    content[-100] ^= 255
    image.write_bytes(content)
    words = [
        *DISTILL, "--method", "cosine-regression", "--dataset", photos, "--teacher", teacher,
        "--student", TINY, "--no-pretrained", "--image-size", "24", "--no-val", "--epochs", "1",
    ]  # fmt: skip
    code, _, err = call(*words, "--output", "run")
    assert code == 0, err
    assert "class 03/1.jpg" in err
    assert "the teacher's vectors are those" not in err


def test_a_run_goes_on_with_the_images_that_it_began_with(call, photos):
    run = [*TRAIN, "--dataset", photos, "--no-val", "--projection-start", "random"]
    made = Path(prepare(call, photos, 64)[0]["copies"]["folder"])
    assert call(*run, "--output", "with")[0] == 0
    made.rename(made.with_name("hidden"))
    code, _, err = call("train", "--resume", "with")
    assert code == 1
    assert "--cache-size" in err
    assert call(*run, "--output", "without")[0] == 0
    made.with_name("hidden").rename(made)
    code, _, err = call("train", "--resume", "without")
    assert code == 0, err
    assert "training reads" not in err


def test_an_interrupted_preparation_goes_on(call, photos, monkeypatch):
    make, count = copies._copy, []

    def some(*words):
        count.append(words)
        if len(count) == 20:
            raise KeyboardInterrupt
        return make(*words)

    monkeypatch.setattr(copies, "_copy", some)
    assert call("prepare", photos, "--cache-size", "64", *CPU)[0] == 130
    assert shown(photos)[1] == NONE
    monkeypatch.setattr(copies, "_copy", make)
    assert prepare(call, photos, 64)[0]["copies"]["images"] == 4
    assert shown(photos)[1] != NONE
