"""Small image sets written to a temporary folder."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ram_cli.datasets import ImageSet

GOLDEN = Path(__file__).parents[1] / "golden"


def make_photograph(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth colourful structure with some noise, uint8 `[H, W, 3]`."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    noise = random.normal(0, 6, smooth.shape)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The images are too small to share out among threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def photograph() -> Callable[..., NDArray[np.uint8]]:
    return make_photograph


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    return GOLDEN


@pytest.fixture(scope="session")
def image_set(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """Ten lossless images of five sizes, two per class."""
    root = tmp_path_factory.mktemp("images")
    sizes = [(90, 120), (101, 75), (64, 64), (60, 150), (130, 80)]
    paths = []
    for index in range(10):
        paths.append(f"im{index}.png")
        Image.fromarray(make_photograph(*sizes[index % 5], seed=index)).save(root / paths[-1])
    labels = np.arange(10, dtype=np.int64) // 2
    return ImageSet("toy/train", root, tuple(paths), labels, tuple("abcde"))
