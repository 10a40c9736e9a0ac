import numpy as np
import pytest
import torch
from PIL import Image

from ram_cli.datasets import ImageSet
from ram_cli.views import (
    EvaluationViews,
    InputSpec,
    LandmarkViews,
    decode_image,
    evaluation_view,
    landmark_view,
    normalise,
    rescaled_view,
    resize_batch,
)
from ram_cli.views.evaluation import centre_crop_size

IMAGENET = InputSpec(64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = InputSpec(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture(scope="module")
def golden(golden_folder):
    return dict(np.load(golden_folder / "transforms.npz"))


@pytest.fixture(scope="module")
def landmarks(golden_folder):
    return dict(np.load(golden_folder / "transforms_cirtorch.npz"))


def rows(view):
    return view.permute(1, 2, 0).numpy()


def test_sizes_before_the_crop(golden):
    for width, height, size, out_width, out_height in golden["rescale_size_table"].tolist():
        assert centre_crop_size(width, height, size) == (out_width, out_height)


@pytest.mark.parametrize("case", ["64_img0", "64_img1", "64_img2", "224_img0"])
def test_centre_crop_is_exact(golden, case):
    size, name = case.split("_")
    view = evaluation_view(golden[name], int(size))
    assert view.dtype == torch.uint8
    assert view.is_contiguous()
    np.testing.assert_array_equal(rows(view), golden[f"fg_eval_{case}_u8"])


@pytest.mark.parametrize("name", ["img0", "img1", "img2"])
def test_normalised_crops(golden, name):
    for spec, key in ((IMAGENET, f"fg_eval_64_{name}"), (HALF, f"fg_eval_32_mean05_{name}")):
        tensor = normalise(evaluation_view(golden[name], spec.size), spec)
        np.testing.assert_allclose(tensor, golden[f"{key}_tensor"], atol=1e-6)
    tensor = normalise(evaluation_view(golden["img0"], 224), IMAGENET)[:, ::16, ::16]
    np.testing.assert_allclose(tensor, golden["fg_eval_224_img0_tensor_sub16"], atol=1e-6)


@pytest.mark.parametrize("name", ["img0", "img1", "img2"])
def test_longer_and_shorter_side(golden, name):
    for side, key in (("longer", "max"), ("shorter", "min")):
        view = rescaled_view(golden[name], 48, side)
        np.testing.assert_array_equal(rows(view), golden[f"imrescale_48_{key}_{name}"])


def test_longer_side_enlarges(golden):
    view = rescaled_view(golden["img2"], 150)
    np.testing.assert_array_equal(rows(view), golden["imrescale_150_max_img2"])


@pytest.mark.parametrize("index", [0, 1, 2])
def test_landmarks_shrink_and_never_grow(golden, landmarks, index):
    for size in (48, 100):
        view = landmark_view(golden[f"img{index}"], size)
        np.testing.assert_array_equal(rows(view), landmarks[f"imresize_{size}_img{index}"])


def test_landmark_queries_keep_the_scale_of_their_image(golden_folder, landmarks):
    folder = golden_folder / "img"
    queries = ImageSet(
        name="queries",
        root=folder,
        paths=("im0.png", "im1.png", "im2.png"),
        labels=np.zeros(3, np.int64),
        class_names=("a",),
        boxes=landmarks["bbx"].astype(np.float32),
    )
    views = LandmarkViews(queries, 48)
    assert len(views) == 3
    for index in range(3):
        np.testing.assert_array_equal(rows(views[index]), landmarks[f"bbx_imsize48_img{index}"])


def test_evaluation_views_are_the_crops_in_order(image_set):
    views = EvaluationViews(image_set, 40)
    assert len(views) == 10
    for index in (0, 3, 9):
        expected = evaluation_view(decode_image(image_set.path(index)), 40)
        assert torch.equal(views[index], expected)
        assert views[index].shape == (3, 40, 40)


def test_a_large_jpeg_is_decoded_at_a_fraction_without_visible_change(tmp_path, photograph):
    path = tmp_path / "a.jpg"
    Image.fromarray(photograph(600, 800)).save(path, quality=92)
    images = ImageSet("toy", tmp_path, ("a.jpg",), np.zeros(1, np.int64), ("a",))
    assert EvaluationViews(images, 100)._loader.load(0).shape == (300, 400, 3)
    difference = EvaluationViews(images, 100)[0].int() - evaluation_view(decode_image(path), 100)
    assert difference.abs().float().mean() < 0.5


class TestNormalise:
    def test_formula_layout_and_dtype(self):
        images = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
        mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET.mean, IMAGENET.std))
        result = normalise(images, IMAGENET)
        torch.testing.assert_close(result, (images / 255 - mean) / std, atol=1e-6, rtol=1e-6)
        assert result.is_contiguous(memory_format=torch.channels_last)
        half = normalise(images, IMAGENET, torch.bfloat16)
        assert half.dtype == torch.bfloat16
        torch.testing.assert_close(half, result.bfloat16())

    def test_leaves_its_input_alone(self):
        for dtype in (torch.uint8, torch.float32):
            images = torch.full((1, 3, 2, 2), 100, dtype=dtype)
            normalise(images, IMAGENET)
            assert (images == 100).all()

    def test_any_leading_dimensions(self):
        images = torch.randint(0, 256, (2, 4, 3, 5, 5), dtype=torch.uint8)
        flat = normalise(images.flatten(0, 1), IMAGENET)
        assert torch.equal(normalise(images, IMAGENET).flatten(0, 1), flat)

    def test_with_size(self):
        assert IMAGENET.with_size(99) == InputSpec(99, IMAGENET.mean, IMAGENET.std)


class TestMultiScale:
    def descriptors(self, inputs, weights):
        """TinyNet of the golden files: convolution, ReLU, GeM with p = 3, L2; `[B, 12]`."""
        features = torch.nn.functional.conv2d(inputs, torch.from_numpy(weights), stride=3).relu()
        pooled = features.clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3)
        return pooled / (pooled.norm(dim=1, keepdim=True) + 1e-6)

    @pytest.mark.parametrize("exponent", [1, 3])
    def test_golden(self, golden, exponent):
        inputs = torch.from_numpy(golden["ms_input"])
        scales = golden["ms_scales"].tolist()
        single = self.descriptors(inputs, golden["ms_conv_w"])
        np.testing.assert_allclose(single.T, golden["ms_single"], atol=2e-6)
        parts = [
            self.descriptors(resize_batch(inputs, s), golden["ms_conv_w"]).pow(exponent)
            for s in scales
        ]
        combined = (sum(parts) / len(parts)).pow(1 / exponent)
        combined = combined / combined.norm(dim=1, keepdim=True)
        np.testing.assert_allclose(combined.T, golden[f"ms_msp{exponent}"], atol=2e-6)

    def test_shapes(self):
        images = torch.rand(2, 3, 9, 13)
        assert resize_batch(images, 1) is images
        assert resize_batch(images, 0.5).shape == (2, 3, 4, 6)
        assert resize_batch(images, 0.01).shape == (2, 3, 1, 1)
        assert resize_batch(images, 2**0.5).shape == (2, 3, 12, 18)
