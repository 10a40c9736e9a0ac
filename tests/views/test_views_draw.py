import math

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from ram_cli.views import ViewKey
from ram_cli.views.draw import Draws, draw_views, pixel_box, smallest_crop
from ram_cli.views.randomness import Stream, generator

FIELDS = Draws.__slots__
KEY = ViewKey(image=3, epoch=2, position=17, partner=5)


def draw(key=KEY, seed=7, views=8, height=90, width=120, alpha=0.2):
    return draw_views(key, seed, views, height, width, mixup_alpha=alpha)


def same(first, second):
    return all(np.array_equal(getattr(first, f), getattr(second, f)) for f in FIELDS)


class TestPurity:
    def test_depends_on_seed_epoch_and_position_only(self):
        assert same(draw(), draw())
        assert same(draw(), draw(ViewKey(image=99, epoch=2, position=17, partner=6)))

    @pytest.mark.parametrize(
        ("key", "seed"),
        [(ViewKey(3, 3, 17, 5), 7), (ViewKey(3, 2, 18, 5), 7), (KEY, 8), (ViewKey(3, 17, 2, 5), 7)],
    )
    def test_differs_with_each_of_them(self, key, seed):
        other = draw(key, seed)
        for field in FIELDS:
            assert not np.array_equal(getattr(draw(), field), getattr(other, field))

    def test_the_first_views_do_not_depend_on_mixup(self):
        plain = draw(ViewKey(3, 2, 17))
        np.testing.assert_array_equal(plain.boxes, draw().boxes)
        np.testing.assert_array_equal(plain.order, draw().order)

    def test_streams_differ(self):
        values = {generator(stream, 1, 0, 0).random() for stream in Stream}
        values |= {generator(Stream.DRAW, 1, 0, position).random() for position in range(1, 4)}
        assert len(values) == len(Stream) + 3


@pytest.fixture(scope="module")
def many():
    return draw(views=20_000)


class TestDistribution:
    def test_crops_follow_torchvision(self, many):
        """Same mean and spread of every crop number as torchvision, within four standard errors."""
        torch.manual_seed(0)
        image = torch.empty(3, 90, 120)
        theirs = np.array(
            [RandomResizedCrop.get_params(image, (0.08, 1), (3 / 4, 4 / 3)) for _ in range(4000)],
            dtype=np.float64,
        )  # top, left, height, width
        left, top, right, bottom = (many.boxes * (120, 90, 120, 90)).T
        ours = np.stack((top, left, bottom - top, right - left), axis=1)
        np.testing.assert_allclose(ours, ours.round(), atol=1e-9)
        error = theirs.std(axis=0) * math.sqrt(1 / len(theirs) + 1 / len(ours))
        assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 4 * error).all()
        np.testing.assert_allclose(ours.std(axis=0), theirs.std(axis=0), rtol=0.06)

    def test_crops_stay_inside_and_within_scale_and_ratio(self, many):
        left, top, right, bottom = (many.boxes * (120, 90, 120, 90)).T
        assert left.min() == 0
        assert right.max() == 120
        assert top.min() == 0
        assert bottom.max() == 90
        area = (right - left) * (bottom - top) / (90 * 120)
        ratio = (right - left) / (bottom - top)
        assert 0.075 < area.min() < 0.09
        assert 0.95 < area.max() <= 1
        assert 0.72 < ratio.min() < 0.78
        assert 1.3 < ratio.max() < 1.38

    def test_every_number_is_drawn_on_its_own(self, many):
        left, top, right, bottom = many.boxes.T
        area = (right - left) * (bottom - top)
        free = (right - left < 0.9) & (bottom - top < 0.9)  # room to move both ways
        across, down = left / (1 - (right - left) + 1e-9), top / (1 - (bottom - top) + 1e-9)
        numbers = [across, down, area, many.flips, many.weights, *many.factors.T]
        table = np.corrcoef(np.array(numbers, dtype=float)[:, free])
        independent = table[~np.eye(len(table), dtype=bool)]
        assert np.abs(independent).max() < 0.1

    def test_flips_and_colours(self, many):
        assert abs(many.flips.mean() - 0.5) < 0.02
        for column, centre, reach in ((0, 1, 0.4), (1, 1, 0.4), (2, 1, 0.4), (3, 0, 0.1)):
            values = many.factors[:, column]
            assert abs(values.mean() - centre) < 0.03 * reach
            limits = centre - reach, centre + reach
            np.testing.assert_allclose((values.min(), values.max()), limits, atol=0.01 * reach)

    def test_orders_are_uniform_permutations(self, many):
        orders, counts = np.unique(many.order, axis=0, return_counts=True)
        assert len(orders) == 24
        np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(4), (24, 1)))
        expected = 20_000 / 24
        assert (np.abs(counts - expected) < 5 * math.sqrt(expected)).all()

    def test_weights_follow_the_beta_distribution(self, many):
        assert many.weights.dtype == np.float32
        assert abs(many.weights.mean() - 0.5) < 0.02
        assert abs(many.weights.var() - 0.25 / 1.4) < 0.005  # a = 0.2: variance 1 / (4 (2a + 1))
        between = many.weights[(many.weights > 0) & (many.weights < 1)]
        assert between.min() >= 0.5 / 255
        assert between.max() <= 1 - 0.5 / 255
        assert 0.1 < (many.weights == 0).mean() < 0.2

    def test_no_mixup_without_partner_or_alpha(self):
        assert (draw(ViewKey(3, 2, 17)).weights == 1).all()
        assert (draw(alpha=0).weights == 1).all()


@pytest.mark.parametrize(("height", "width"), [(10, 400), (400, 10), (1, 1), (1, 50), (50, 1)])
def test_extreme_aspects_fall_back_to_the_centre_as_torchvision_does(height, width):
    torch.manual_seed(0)
    theirs = RandomResizedCrop.get_params(torch.empty(3, height, width), (0.999, 1), (3 / 4, 4 / 3))
    boxes = draw(views=50, height=height, width=width).boxes
    pixels = [pixel_box(box, height, width) for box in boxes]
    for left, top, right, bottom in pixels:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    top, left, crop_height, crop_width = theirs
    assert (left, top, left + crop_width, top + crop_height) in pixels


class TestPixelBox:
    def test_whole_pixels_of_the_anchor_come_back(self):
        for height, width in ((90, 120), (101, 75), (333, 217)):
            for box in draw(views=200, height=height, width=width).boxes:
                expected = box * (width, height, width, height)
                np.testing.assert_allclose(pixel_box(box, height, width), expected, atol=1e-6)

    def test_same_place_in_a_partner_of_other_size(self):
        assert pixel_box(np.array((0.25, 0.5, 0.75, 1.0)), 200, 80) == (20, 100, 60, 200)

    def test_never_empty(self):
        assert pixel_box(np.array((0.99, 0.0, 1.0, 0.01)), 3, 3) == (2, 0, 3, 1)


def test_smallest_crop_of_the_smallest_image_is_large_enough():
    side = smallest_crop(100)
    for height, width in ((side, side), (side, 3 * side)):
        left, top, right, bottom = (
            draw(views=5000, height=height, width=width).boxes * (width, height, width, height)
        ).T
        assert min((right - left).min(), (bottom - top).min()) >= 99.5
    assert side < 410
