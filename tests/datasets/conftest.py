from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

MakeImage = Callable[..., Path]


def write_image(path: Path, shade: int = 0, side: int = 24) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((side, side), 40 + shade % 50).convert("RGB").save(path)
    return path


@pytest.fixture(scope="session")
def make_image() -> MakeImage:
    return write_image


@pytest.fixture
def class_folders(tmp_path: Path) -> Path:
    """Eight classes of three images."""
    root = tmp_path / "shop"
    for label in range(8):
        for number in range(3):
            write_image(root / f"class {label}" / f"{number}.jpg", label)
    return root
