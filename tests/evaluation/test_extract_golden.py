"""Whole images, boxes and several scales give the vectors that the published code gave."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ram_cli.datasets import ImageSet
from ram_cli.engine import resolve_runtime
from ram_cli.evaluation import embed_images
from ram_cli.models import l2_normalise
from ram_cli.views import InputSpec

FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN = np.load(FOLDER / "transforms_cirtorch.npz")
SCALES = tuple(GOLDEN["ms_scales"].tolist())


class TinyNet(torch.nn.Module):
    """The network of the golden files: convolution, ReLU, GeM with p = 3, L2."""

    spec = InputSpec(60, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    config = SimpleNamespace(backbone="tiny")
    dimension = channels = 12

    def __init__(self, scale_power: float) -> None:
        super().__init__()
        self.scale_power = scale_power
        self.weight = torch.from_numpy(GOLDEN["ms_conv_w"])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = torch.nn.functional.conv2d(images, self.weight, stride=3).relu()
        return l2_normalise(features.clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3))


@pytest.mark.parametrize(
    ("name", "power", "scales", "boxes"),
    [
        ("ss", 1.0, (1.0,), None),
        ("ms_msp1", 1.0, SCALES, None),
        ("ms_msp3", 3.0, SCALES, None),
        ("bbx_ms_msp3", 3.0, SCALES, GOLDEN["bbx"]),
    ],
)
def test_golden(name: str, power: float, scales: tuple[float, ...], boxes: Any) -> None:
    paths = tuple(f"im{number}.png" for number in range(3))
    boxes = None if boxes is None else boxes.astype(np.float32)
    images = ImageSet("golden", FOLDER / "img", paths, np.zeros(3, np.int64), ("x",), boxes)
    model: Any = TinyNet(power)
    found = embed_images(
        model, images, runtime=resolve_runtime("cpu", "fp32"), scales=scales, fit="whole"
    )
    np.testing.assert_allclose(found.T, GOLDEN[f"extract_vectors_{name}"], atol=2e-6)
