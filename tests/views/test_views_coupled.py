"""Coupled views against plain references for the same draw.

Tolerances, in grey levels of 0..255: 0.5 (one final rounding) against torchvision on float tensors
after the same resizing; 1 between Pillow's and our resizing; a mean of 2.5 against a pipeline that
works on Pillow images throughout, which cuts to whole levels after every operation and the hue to
1/256 of a turn.
"""

import pickle

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as F
from PIL import Image
from torch.utils.data import DataLoader

from ram_cli.views import (
    CoupledViews,
    InputSpec,
    SingleViews,
    ViewKey,
    collate_coupled,
    decode_image,
    instance_plan,
    normalise,
)
from ram_cli.views.draw import draw_views, pixel_box
from ram_cli.views.resize import crop_resize, padded

SIZES = (24, 40)
STUDENT = InputSpec(24, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
TEACHER = InputSpec(40, (0.5, 0.4, 0.3), (0.5, 0.6, 0.7))
ROUNDING = 0.51
KEYS = [ViewKey(0, 0, 0, 1), ViewKey(3, 1, 5, 4), ViewKey(8, 0, 2), ViewKey(2, 4, 9, 7)]


def views_of(image_set, **options):
    options = {"views": 6, "seed": 11, **options}
    return CoupledViews(image_set, *SIZES, **options)


def adjust(image, draws, k):
    """Run the colour operations of draw `k` with torchvision."""
    functions = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
    for operation in draws.order[k]:
        image = functions[operation](image, float(draws.factors[k, operation]))
    return image


def draws_of(image_set, key):
    """The draws of `key` with the decoded anchor and, if there is one, partner."""
    indices = [index for index in (key.image, key.partner) if index >= 0]
    images = [decode_image(image_set.path(index)) for index in indices]
    return draw_views(key, 11, 6, *images[0].shape[:2], mixup_alpha=0.2), images


def tensor_reference(image_set, key, size):
    """Plain torchvision on float tensors after 8-bit resizing, `[K, 3, S, S]` in 0..255."""
    draws, images = draws_of(image_set, key)
    result = []
    for k, weight in enumerate(draws.weights.tolist()):
        parts = []
        for image in images:
            resized = crop_resize(image, pixel_box(draws.boxes[k], *image.shape[:2]), size)
            part = adjust(torch.from_numpy(resized).permute(2, 0, 1) / 255, draws, k) * 255
            parts.append(F.hflip(part) if draws.flips[k] else part)
        result.append(weight * parts[0] + (1 - weight) * parts[-1])
    return torch.stack(result)


def pillow_reference(image_set, key, size):
    """Plain Pillow all the way, `[K, 3, S, S]` in 0..255."""
    draws, images = draws_of(image_set, key)
    result = []
    for k, weight in enumerate(draws.weights.tolist()):
        parts = []
        for image in images:
            box = pixel_box(draws.boxes[k], *image.shape[:2])
            part = Image.fromarray(image).crop(box).resize((size, size), Image.Resampling.BILINEAR)
            part = F.hflip(part) if draws.flips[k] else part
            parts.append(F.pil_to_tensor(adjust(part, draws, k)).float())
        result.append(weight * parts[0] + (1 - weight) * parts[-1])
    return torch.stack(result)


@pytest.mark.parametrize("key", KEYS)
class TestFinishedViews:
    def test_agree_with_torchvision_on_tensors(self, image_set, key):
        sample = views_of(image_set)[key]
        for views, size in zip((sample.student, sample.teacher), SIZES, strict=True):
            assert views.dtype == torch.uint8
            reference = tensor_reference(image_set, key, size)
            assert views.shape == reference.shape == (6, 3, size, size)
            assert (views - reference).abs().max() <= ROUNDING

    def test_agree_with_pillow(self, image_set, key):
        sample = views_of(image_set)[key]
        for views, size in zip((sample.student, sample.teacher), SIZES, strict=True):
            difference = (views - pillow_reference(image_set, key, size)).abs()
            assert difference.mean() < 2.5
            assert difference.quantile(0.99) < 12

    def test_both_sizes_show_the_same(self, image_set, key):
        sample = views_of(image_set)[key]
        small = sample.student.float().mean(dim=(2, 3))
        large = sample.teacher.float().mean(dim=(2, 3))
        torch.testing.assert_close(small, large, atol=4, rtol=0)


class TestBatch:
    def test_rows_are_image_major_and_each_side_has_its_own_normalisation(self, image_set):
        samples = [views_of(image_set)[key] for key in KEYS]
        batch = collate_coupled(samples)
        assert len(batch) == 4
        assert batch.images.tolist() == [0, 3, 8, 2]
        student, teacher = batch.inputs(STUDENT, TEACHER, "cpu")
        assert student.shape == (24, 3, 24, 24)
        assert teacher.shape == (24, 3, 40, 40)
        for b, k in ((0, 0), (1, 5), (3, 2)):
            torch.testing.assert_close(
                student[b * 6 + k], normalise(samples[b].student[k], STUDENT)
            )
            torch.testing.assert_close(
                teacher[b * 6 + k], normalise(samples[b].teacher[k], TEACHER)
            )
        assert student.is_contiguous(memory_format=torch.channels_last)

    def test_dtype(self, image_set):
        batch = collate_coupled([views_of(image_set)[KEYS[0]]])
        student, teacher = batch.inputs(STUDENT, TEACHER, "cpu", torch.bfloat16)
        assert student.dtype == teacher.dtype == torch.bfloat16

    def test_moves(self, image_set, monkeypatch):
        pinned = []
        monkeypatch.setattr(torch.Tensor, "pin_memory", lambda t: pinned.append(t) or t.clone())
        batch = collate_coupled([views_of(image_set)[KEYS[0]]])
        copy = batch.pin_memory()
        assert len(pinned) == 3
        assert torch.equal(copy.teacher, batch.teacher)
        moved = batch.to("meta", non_blocking=True)
        assert moved.student.device.type == moved.images.device.type == "meta"


def test_batches_do_not_depend_on_workers(image_set):
    plan = instance_plan(10, 3, seed=1, epoch=2)
    views = views_of(image_set, views=2)
    runs = [
        list(DataLoader(views, batch_sampler=plan, num_workers=n, collate_fn=collate_coupled))
        for n in (0, 1, 2)
    ]
    assert [len(batch) for batch in runs[0]] == [3, 3, 3, 1]
    for run in runs[1:]:
        for ours, theirs in zip(run, runs[0], strict=True):
            assert torch.equal(ours.student, theirs.student)
            assert torch.equal(ours.teacher, theirs.teacher)
            assert torch.equal(ours.images, theirs.images)


def test_resume_gives_the_rest_of_the_epoch(image_set):
    views, plan = views_of(image_set, views=2), instance_plan(10, 3, seed=1, epoch=0)
    whole = [collate_coupled([views[key] for key in batch]) for batch in plan]
    rest = [collate_coupled([views[key] for key in batch]) for batch in plan[2:]]
    for ours, theirs in zip(rest, whole[2:], strict=True):
        assert torch.equal(ours.student, theirs.student)


def test_one_hidden_partner_is_never_decoded(image_set):
    views = views_of(image_set, mixup_alpha=0)
    assert views[ViewKey(0, 0, 0, 10_000)].student.shape == (6, 3, 24, 24)


def test_survives_pickling_for_spawned_workers(image_set):
    views = views_of(image_set, cache_bytes=10**7)
    before = views[KEYS[0]]
    assert len(views) == 10
    after = pickle.loads(pickle.dumps(views))[KEYS[0]]
    assert torch.equal(before.teacher, after.teacher)


class TestResize:
    @pytest.mark.parametrize("size", [1, 17, 64, 200])
    @pytest.mark.parametrize("box", [(0, 0, 120, 90), (7, 3, 60, 81), (5, 5, 6, 6), (0, 2, 120, 3)])
    def test_within_one_level_of_pillow_and_as_close_to_exact(self, photograph, box, size):
        pixels = photograph(90, 120)
        ours = crop_resize(pixels, box, size).astype(float)
        region = Image.fromarray(pixels).crop(box)
        pillow = np.asarray(region.resize((size, size), Image.Resampling.BILINEAR)).astype(float)
        assert np.abs(ours - pillow).max() <= 1
        planes = [
            Image.fromarray(plane) for plane in np.asarray(region, np.float32).transpose(2, 0, 1)
        ]
        exact = [plane.resize((size, size), Image.Resampling.BILINEAR) for plane in planes]
        exact = np.stack([np.asarray(plane) for plane in exact], axis=2)
        assert np.abs(ours - exact).mean() <= np.abs(pillow - exact).mean() + 0.01

    def test_padding_changes_nothing(self, photograph):
        pixels = photograph(90, 120)
        box = (7, 3, 60, 81)
        np.testing.assert_array_equal(
            crop_resize(padded(pixels), box, 33)[..., :3], crop_resize(pixels, box, 33)
        )


class TestSingleViews:
    def test_is_the_first_draw_without_colours(self, image_set):
        views = SingleViews(image_set, 32, 5)
        flips = 0
        for position in range(12):
            key = ViewKey(3, 0, position)
            pixels = decode_image(image_set.path(3))
            draws = draw_views(key, 5, 1, *pixels.shape[:2])
            expected = crop_resize(pixels, pixel_box(draws.boxes[0], *pixels.shape[:2]), 32)
            expected = expected[:, ::-1] if draws.flips[0] else expected
            flips += int(draws.flips[0])
            view = views[key]
            assert view.dtype == torch.uint8
            assert view.is_contiguous()
            np.testing.assert_array_equal(view.permute(1, 2, 0), expected)
        assert 0 < flips < 12

    def test_jitter_follows_the_draw(self, image_set):
        coupled = views_of(image_set, views=1, seed=5, mixup_alpha=0)
        single = SingleViews(image_set, 40, 5, jitter=True)
        for key in KEYS:
            assert torch.equal(single[key], coupled[key].teacher[0])
