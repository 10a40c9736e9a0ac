"""Command lines and images of tiny runs."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES, IMAGES = 12, 4
TINY = "timm:test_resnet"
TRAIN = [
    "train", "--backbone", TINY, "--no-pretrained", "--image-size", "48", "--whitening", "16",
    "--epochs", "2", "--batch-size", "8", "--accumulate", "1", "--negatives", "2", "--workers", "0",
    "--lr", "1e-3", "--precision", "fp32", "--device", "cpu",
]  # fmt: skip
DISTILL = [
    "distill", "--epochs", "2", "--batch-size", "4", "--accumulate", "2", "--views", "2",
    "--workers", "0", "--lr", "1e-3", "--precision", "fp32", "--device", "cpu",
]  # fmt: skip


def write_images(folder: Path, classes: int = CLASSES, images: int = IMAGES) -> Path:
    """Classes of stripes, each of its own colour and direction."""
    random = np.random.default_rng(5)
    for label in range(classes):
        colour = random.integers(40, 255, 3)
        waves = random.uniform(0.1, 0.6, 2)
        for number in range(images):
            grid = np.indices((64, 72)).astype(float)
            phase = random.uniform(0, 6)
            stripes = np.sin(waves[0] * grid[0] + waves[1] * grid[1] + phase)
            pixels = (stripes[..., None] * 0.4 + 0.5) * colour + random.normal(0, 6, (64, 72, 3))
            path = folder / f"class {label:02d}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=92)
    return folder


def refused(call, *words, code: int = 1) -> str:
    """Error text of a call that must fail with one or more plain lines."""
    found, out, err = call(*words)
    assert found == code, err
    assert out == ""
    assert "Traceback" not in err
    assert "internal error" not in err
    lines = [line for line in err.splitlines() if line.startswith("error")]
    assert lines, err
    return err
