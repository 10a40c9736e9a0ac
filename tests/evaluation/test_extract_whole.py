"""Whole images are embedded in batches of their exact shapes, with the vectors of one at a time."""

import numpy as np
import torch
from PIL import Image

from ram_cli.datasets import ImageSet
from ram_cli.engine import resolve_runtime
from ram_cli.evaluation import embed_images
from ram_cli.models import build_embedder
from ram_cli.views import decode_image, landmark_view, normalise


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
