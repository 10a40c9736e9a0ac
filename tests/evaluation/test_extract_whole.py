"""Whole images are embedded in batches of their exact shapes, with the vectors of one at a time."""

import numpy as np
import pytest
import torch
from PIL import Image

from ram_cli.datasets import ImageSet
from ram_cli.engine import Runtime, resolve_runtime
from ram_cli.engine.inference import OnnxNetwork
from ram_cli.evaluation import embed_images
from ram_cli.evaluation.extract import arithmetic, filled
from ram_cli.models import build_embedder
from ram_cli.views import decode_image, landmark_view, normalise

CPU = torch.device("cpu")


def test_vectors_are_those_of_single_images_in_their_order(tmp_path):
    random, paths = np.random.default_rng(3), []
    for number in range(9):
        height, width = ((40, 60), (60, 40), (44, 60))[number % 3]
        paths.append(f"{number}.png")
        pixels = random.integers(0, 255, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / paths[-1])
    images = ImageSet("toy", tmp_path, tuple(paths), np.zeros(9, np.int64), ("a",))
    torch.manual_seed(0)
    model = build_embedder("timm:test_resnet", pretrained=False, dimension=0).eval()
    runtime = resolve_runtime("cpu", "fp32")
    for workers in (0, 1):
        found = embed_images(model, images, runtime=runtime, size=48, fit="whole", workers=workers)
        for index, vector in enumerate(found):
            view = landmark_view(decode_image(images.path(index)), 48)
            assert max(view.shape) == 48
            with torch.no_grad():
                expected = model(normalise(view[None], model.spec))[0]
            torch.testing.assert_close(vector, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("fit", ["crop", "whole"])
def test_several_scales_by_another_engine_give_the_vectors_of_torch(tmp_path, monkeypatch, fit):
    pytest.importorskip("onnxruntime")
    used = []
    call = OnnxNetwork.__call__
    monkeypatch.setattr(
        OnnxNetwork, "__call__", lambda self, x: (used.append(tuple(x.shape)), call(self, x))[1]
    )
    random, paths = np.random.default_rng(4), []
    for number, shape in enumerate(((90, 120), (120, 90), (77, 120), (90, 120))):
        paths.append(f"{number}.png")
        Image.fromarray(random.integers(0, 255, (*shape, 3), np.uint8)).save(tmp_path / paths[-1])
    images = ImageSet("toy", tmp_path, tuple(paths), np.zeros(4, np.int64), ("a",))
    torch.manual_seed(0)
    model = build_embedder("timm:test_resnet", pretrained=False, dimension=0).eval()
    torch.nn.init.constant_(model.pooling.p, 2.5)
    given = {"size": 96, "scales": (1.0, 0.5**0.5, 0.5), "fit": fit}
    expected = embed_images(model, images, runtime=Runtime(CPU, "fp32"), **given)
    assert not used
    found = embed_images(model, images, runtime=Runtime(CPU, "fp32", "onnxruntime"), **given)
    seen = {(96, 96), (48, 48)} if fit == "crop" else {(72, 96), (36, 48), (96, 72), (48, 36)}
    assert {shape[2:] for shape in used} >= seen
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    runtime = Runtime(CPU, "fp32", "auto")
    few, many = (
        arithmetic(runtime, images=images, size=96, scales=given["scales"])
        for images in (100, 10_000)
    )
    assert (few, many) == ("fp32", "fp32-onnxruntime")


def test_a_short_batch_is_filled_with_its_last_view():
    views = torch.arange(6).view(3, 2)
    assert filled(views, 5).tolist() == [[0, 1], [2, 3], [4, 5], [4, 5], [4, 5]]
    assert filled(views, 3) is views
    assert filled(views, 2) is views
