"""`embed` takes images of every kind and prepares them as evaluation does."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from ram_cli.datasets import ImageSet
from ram_cli.engine import resolve_runtime
from ram_cli.errors import DataError, UnreadableImageError
from ram_cli.evaluation import embed_images
from ram_cli.models import Embedder, build_embedder


@pytest.fixture(scope="module")
def model() -> Embedder:
    torch.manual_seed(2)
    return build_embedder("timm:test_resnet", pretrained=False, dimension=8, input_size=32).eval()


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(4)
    for number in range(7):
        pixels = random.integers(0, 255, (9, 12, 3), dtype=np.uint8).repeat(10, 0).repeat(10, 1)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def test_equals_what_evaluation_embeds(model: Embedder, paths: list[Path]) -> None:
    names = tuple(path.name for path in paths)
    images = ImageSet("x", paths[0].parent, names, np.zeros(len(names), np.int64), ("a",))
    expected = embed_images(model, images, runtime=resolve_runtime("cpu", "fp32"))
    found = model.embed(paths, batch_size=3)
    assert found.shape == (7, 8)
    assert not found.requires_grad
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(7))


def test_kinds_mean_the_same_and_may_be_mixed(model: Embedder, paths: list[Path]) -> None:
    opened = Image.open(paths[0])
    pixels = np.array(opened)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    kinds = [paths[0], str(paths[0]), opened, pixels, tensor]
    vectors = model.embed(kind for kind in kinds)
    assert len(vectors) == len(kinds)
    torch.testing.assert_close(vectors, vectors[:1].expand_as(vectors), atol=1e-6, rtol=0)
    for one in kinds:
        torch.testing.assert_close(model.embed(one), vectors[:1], atol=1e-6, rtol=0)
    for several in (np.stack([pixels] * 2), torch.stack([tensor] * 2)):
        torch.testing.assert_close(model.embed(several), vectors[:2], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("side", "equal"), [(144, True), (320, False)])
def test_only_a_file_far_larger_than_the_view_is_decoded_at_a_fraction(
    model: Embedder, tmp_path: Path, side: int, equal: bool
) -> None:
    coarse = np.random.default_rng(5).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    path = tmp_path / "a.jpg"
    Image.fromarray(coarse).resize((side + 40, side), Image.Resampling.BICUBIC).save(path)
    found, wanted = model.embed(path), model.embed(Image.open(path))
    assert torch.equal(found, wanted) is equal
    assert float(found @ wanted.T) > 0.999


def test_grey_rotated_and_transparent_images(model: Embedder, paths: list[Path]) -> None:
    image = Image.open(paths[1])
    grey = np.array(image.convert("L"))
    as_rgb = np.repeat(grey[:, :, None], 3, axis=2)
    vectors = model.embed([grey, grey[:, :, None], as_rgb, Image.fromarray(grey)])
    torch.testing.assert_close(vectors, vectors[:1].expand_as(vectors))
    clear = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    white = Image.new("RGB", (40, 40), "white")
    torch.testing.assert_close(*model.embed([clear, white]))
    turned = paths[1].with_suffix(".jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(turned, exif=exif, quality=95)
    upright = ImageOps.exif_transpose(Image.open(turned))
    torch.testing.assert_close(*model.embed([turned, upright]), atol=1e-3, rtol=0)
    turned.unlink()


def test_no_images_and_the_mode_of_training(model: Embedder, paths: list[Path]) -> None:
    assert model.embed([]).shape == (0, 8)
    model.train()
    try:
        torch.testing.assert_close(model.embed(paths[0]), model.eval().embed(paths[0]))
        model.train().embed(paths[0])
        assert model.training
    finally:
        model.eval()


def test_computes_in_the_type_of_the_model(paths: list[Path]) -> None:
    torch.manual_seed(2)
    model = build_embedder("timm:test_resnet", pretrained=False, dimension=8, input_size=32)
    expected = model.eval().embed(paths)
    half = model.to(torch.bfloat16).embed(paths)
    assert half.dtype == torch.float32
    assert bool(((half * expected).sum(dim=1) > 0.95).all())


@pytest.mark.parametrize(
    ("images", "part"),
    [
        ([np.zeros((8, 8, 3), np.float32)], "uint8"),
        ([np.zeros((3, 8, 8), np.uint8)], r"\[3, 8, 8\]"),
        ([torch.zeros(8, 8, 3, dtype=torch.uint8)], "tensor"),
        ([np.zeros((0, 8, 3), np.uint8)], "shape"),
        ([None], "NoneType"),
        ([np.zeros((8, 8, 3), np.uint8), b"x"], "image 1"),
        (3, "int"),
        (b"\xff\xd8", "image 0 is of type bytes"),
        (io.BytesIO(b"\xff\xd8\n"), "image 0 is of type BytesIO"),
        (np.zeros((8, 8), np.uint16), r"image // 257"),
        (np.zeros((8, 8)), r"255 \* image\)"),
        (np.zeros((8, 8), bool), "mask"),
        (np.zeros((8, 8, 4), np.uint8), r"\[8, 8, 4\]"),
    ],
)
def test_what_is_no_image(model: Embedder, images: object, part: str) -> None:
    with pytest.raises(DataError, match=part) as caught:
        model.embed(images)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_named(model: Embedder, tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"none\.jpg"):
        model.embed(tmp_path / "none.jpg")
    with pytest.raises(DataError, match="batch_size"):
        model.embed([tmp_path], batch_size=0)
