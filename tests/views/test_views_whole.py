"""Whole images: shapes, batches of one shape, and what is known before decoding."""

import numpy as np
import pytest
import torch
from PIL import Image

from ram_cli.datasets import ImageSet
from ram_cli.errors import UnreadableImageError
from ram_cli.views import (
    ViewKey,
    WholeViews,
    bucket_shape,
    bucket_shapes,
    exact_batches,
    label_pairs,
    pair_count,
    shape_batches,
    stack_by_shape,
)
from ram_cli.views.decode import decode_image, stored_size

SIZES = [(60, 80), (80, 60), (60, 79), (50, 50), (30, 90), (400, 40), (45, 80)]  # height, width


@pytest.fixture
def images(tmp_path):
    paths = []
    for number, (height, width) in enumerate(SIZES):
        pixels = np.random.default_rng(number).integers(0, 255, (height, width, 3), np.uint8)
        paths.append(f"{number}.png")
        Image.fromarray(pixels).save(tmp_path / paths[-1])
    return ImageSet("toy", tmp_path, tuple(paths), np.zeros(len(paths), np.int64), ("a",))


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (768, 1024, (48, 64)),  # cameras: no stretch at all
        (1024, 768, (64, 48)),
        (2000, 3000, (43, 64)),
        (1080, 1920, (36, 64)),
        (100, 100, (64, 64)),
        (770, 1024, (48, 64)),  # nearly so
        (10, 64, (10, 64)),  # beyond the table: its own shape
        (1, 1000, (1, 64)),
    ],
)
def test_bucket_shapes_are_near_the_image(height, width, expected):
    assert bucket_shape(height, width, 64) == expected


def test_stretch_is_bounded_and_shapes_are_few():
    shapes = set()
    for aspect in np.exp(np.linspace(0, np.log(4), 500)):
        height, width = bucket_shape(1000, round(1000 * aspect), 1024)
        stretch = max((width / height) / aspect, aspect / (width / height))
        assert stretch < (1.063 if aspect < 2.5 else 1.121)
        shapes.add((height, width))
    assert len(shapes) == 13


def test_views_have_the_shape_that_their_head_promises(images):
    views, shapes = WholeViews(images, 64), bucket_shapes(images, 64)
    for index in range(len(images)):
        assert views[index].shape == (3, *shapes[index])
        assert views[index].dtype == torch.uint8
    assert tuple(shapes[0]) == tuple(shapes[2]) == (48, 64)


def test_views_show_all_of_the_image_and_of_its_box(tmp_path):
    pixels = np.zeros((90, 120, 3), np.uint8)
    pixels[:, :60] = 255
    Image.fromarray(pixels).save(tmp_path / "half.png")
    boxes = np.array([[40, 0, 120, 60]], np.float32)
    plain = ImageSet("p", tmp_path, ("half.png",), np.zeros(1, np.int64), ("a",))
    boxed = ImageSet("b", tmp_path, ("half.png",), np.zeros(1, np.int64), ("a",), boxes)
    assert WholeViews(plain, 32)[0].float().mean() == pytest.approx(127.5, abs=2)
    assert WholeViews(boxed, 32)[0].shape == (3, 24, 32)
    assert WholeViews(boxed, 32)[0].float().mean() == pytest.approx(255 / 4, abs=3)


def test_batches_have_one_shape_and_every_key_once():
    shapes = np.array([(48, 64), (64, 48), (64, 64)])[np.arange(23) % 3]
    keys = [ViewKey(image, 4, position) for position, image in enumerate(range(22, -1, -1))]
    batches = shape_batches(keys, shapes, 4, seed=1, epoch=4)
    assert sorted(key.image for batch in batches for key in batch) == list(range(23))
    for batch in batches:
        assert len(batch) <= 4
        assert len({tuple(shapes[key.image]) for key in batch}) == 1
    assert len(batches) == 6
    assert batches == shape_batches(keys, shapes, 4, seed=1, epoch=4)
    assert batches != shape_batches(keys, shapes, 4, seed=1, epoch=5)
    assert [key for batch in shape_batches(keys, None, 4, seed=1, epoch=4) for key in batch] == keys


def test_stacks_tell_places(images):
    views = [WholeViews(images, 64)[index] for index in range(len(images))]
    places, stacks = stack_by_shape(views)
    assert sorted(torch.cat(places).tolist()) == list(range(len(views)))
    assert places[0].tolist() == [0, 2]
    for chosen, stack in zip(places, stacks, strict=True):
        for place, view in zip(chosen.tolist(), stack, strict=True):
            assert torch.equal(view, views[place])


def test_exact_batches_are_as_large_as_their_pixels_allow(tmp_path):
    shapes = [(64, 48)] * 5 + [(64, 47)] + [(448, 448)] * 5
    paths = [f"{number}.png" for number in range(len(shapes))]
    for path, (height, width) in zip(paths, shapes, strict=True):
        Image.new("RGB", (width, height)).save(tmp_path / path)
    images = ImageSet("toy", tmp_path, tuple(paths), np.zeros(11, np.int64), ("a",))
    assert exact_batches(images, 1000, 8) == [[0, 1, 2, 3, 4], [5], [6, 7], [8, 9], [10]]


def test_size_of_a_turned_photograph_is_that_of_the_upright_one(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 24)).save(tmp_path / "turned.jpg", exif=exif)
    assert stored_size(tmp_path / "turned.jpg") == (40, 24)
    assert decode_image(tmp_path / "turned.jpg").shape == (40, 24, 3)
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(UnreadableImageError, match=r"text\.jpg"):
        stored_size(tmp_path / "text.jpg")


def test_pairs_reach_every_partner():
    labels = np.array([3, 1, 3, 1, 2, 3])
    assert pair_count(labels) == 5
    seen = set()
    for epoch in range(60):
        pairs = label_pairs(labels, 9, seed=0, epoch=epoch)
        assert sorted(pairs[:, 0]) == [0, 1, 2, 3, 5]
        seen |= set(map(tuple, pairs.tolist()))
    assert seen == {(i, j) for i in range(6) for j in range(6) if i != j and labels[i] == labels[j]}
    with pytest.raises(ValueError, match="no class"):
        label_pairs(np.arange(4), 2, seed=0, epoch=0)
