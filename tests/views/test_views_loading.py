import numpy as np
import pytest
from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader

from ram_cli.datasets import ImageSet
from ram_cli.errors import UnreadableImageError
from ram_cli.views import EvaluationViews, decode_image
from ram_cli.views import loading as loading_module
from ram_cli.views.loading import ImageLoader


@pytest.fixture
def decoded(monkeypatch):
    """Paths in the order in which they are decoded."""
    paths = []
    original = loading_module.decode_with_size

    def record(path, *arguments):
        paths.append(path.name)
        return original(path, *arguments)

    monkeypatch.setattr(loading_module, "decode_with_size", record)
    return paths


class TestCache:
    def test_off(self, image_set, decoded):
        loader = ImageLoader(image_set)
        for _ in range(2):
            loader.load(0)
        assert decoded == ["im0.png"] * 2

    def test_keeps_what_fits_and_never_more(self, image_set, decoded):
        first = 90 * 120 * 3
        loader = ImageLoader(image_set, cache_bytes=first + 64 * 64 * 3)
        for index in (0, 1, 2, 0, 1, 2):  # image 1 does not fit beside image 0, image 2 does
            pixels = loader.load(index)
            np.testing.assert_array_equal(pixels, decode_image(image_set.path(index)))
        assert decoded == ["im0.png", "im1.png", "im2.png", "im1.png"]

    def test_does_not_travel_to_workers(self, image_set):
        loader = ImageLoader(image_set, cache_bytes=10**7)
        loader.load(0)
        assert loader.__getstate__()["_cache"] == {}
        assert loader.__getstate__()["_cached_bytes"] == 0


def test_boxes_are_cropped(image_set):
    boxes = np.tile(np.float32((4, 6, 30, 40)), (10, 1))
    with_boxes = ImageSet(
        "toy", image_set.root, image_set.paths, image_set.labels, image_set.class_names, boxes
    )
    loader = ImageLoader(with_boxes)
    pixels, full_size = loader.load_with_size(0)
    assert full_size == (90, 120)
    np.testing.assert_array_equal(pixels, decode_image(image_set.path(0))[6:40, 4:30])


@pytest.fixture
def unreadable(tmp_path):
    path = tmp_path / "odd: näme.jpg"
    path.write_bytes(b"")
    return ImageSet("toy", tmp_path, (path.name,), np.zeros(1, np.int64), ("a",))


def assert_clear(error, images):
    assert error.path == images.path(0)
    assert error.reason == "the file is empty"
    assert str(error) == str(UnreadableImageError(images.path(0), "the file is empty"))


class TestUnreadable:
    def test_in_this_process(self, unreadable):
        with pytest.raises(UnreadableImageError) as caught:
            EvaluationViews(unreadable, 32)[0]
        assert_clear(caught.value, unreadable)

    def test_out_of_a_worker(self, unreadable, monkeypatch):
        monkeypatch.setattr(loading_module, "get_worker_info", object)
        try:
            EvaluationViews(unreadable, 32)[0]
        except UnreadableImageError:
            carried = ExceptionWrapper(where="in DataLoader worker process 0")
        with pytest.raises(UnreadableImageError) as caught:
            carried.reraise()
        assert_clear(caught.value, unreadable)

    @pytest.mark.slow  # torch takes five seconds to give up on its workers
    def test_with_real_workers(self, unreadable):
        with pytest.raises(UnreadableImageError) as caught:
            list(DataLoader(EvaluationViews(unreadable, 32), num_workers=1))
        assert_clear(caught.value, unreadable)
