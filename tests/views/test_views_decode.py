import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ram_cli.errors import UnreadableImageError
from ram_cli.views import decode_image, decode_with_size

ORIENTATION = 0x0112


def picture(height=20, width=30):
    """A gradient that tells every corner apart."""
    rows, columns = np.mgrid[0:height, 0:width]
    blue = np.full_like(rows, 60)
    return np.stack((rows * 200 // height, columns * 200 // width, blue), axis=2).astype(np.uint8)


def save(path, image, **options):
    image.save(path, **options)
    return path


def test_rgb_is_exact_writable_and_contiguous(tmp_path):
    pixels = picture()
    decoded = decode_image(save(tmp_path / "a.png", Image.fromarray(pixels)))
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    assert decoded.flags.writeable
    np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize("mode", ["L", "1", "P", "YCbCr", "RGBA", "LA"])
def test_opaque_modes_equal_pillow(tmp_path, mode):
    image = Image.fromarray(picture()).convert("L" if mode == "LA" else "RGB").convert(mode)
    suffix = "jpg" if mode == "YCbCr" else "png"
    path = save(tmp_path / f"a.{suffix}", image)
    expected = np.asarray(Image.open(path).convert("RGB"))
    np.testing.assert_array_equal(decode_image(path), expected)


def test_cmyk_jpeg(tmp_path):
    path = save(tmp_path / "a.jpg", Image.fromarray(picture()).convert("CMYK"), quality=95)
    assert np.abs(decode_image(path).astype(int) - picture()).mean() < 6


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_put_on_white(tmp_path, mode):
    path = tmp_path / "a.png"
    if mode == "P":
        image = Image.new("P", (4, 4), 0)
        image.putpalette([10, 20, 30, 200, 0, 0])
        image.putpixel((0, 0), 1)
        save(path, image, transparency=0)
        clear, opaque = (255, 255, 255), (200, 0, 0)
    else:
        pixel, half = ((50, 50, 50, 0), (0, 0, 0, 128)) if mode == "RGBA" else ((50, 0), (0, 128))
        image = Image.new(mode, (4, 4), pixel)
        image.putpixel((0, 0), half)
        save(path, image)
        clear, opaque = (255, 255, 255), (127, 127, 127)
    decoded = decode_image(path)
    assert tuple(decoded[2, 2]) == clear
    assert tuple(decoded[0, 0]) == opaque


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, suffix):
    values = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    decoded = decode_image(save(tmp_path / f"a.{suffix}", Image.fromarray(values)))
    assert decoded.shape == (1, 6, 3)
    np.testing.assert_array_equal(decoded[0, :, 0], [0, 0, 1, 1, 128, 255])
    np.testing.assert_array_equal(decoded[..., 0], decoded[..., 2])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_exif_orientation_is_applied(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = tmp_path / f"a.{suffix}"
    options = {"quality": 100} if suffix != "png" else {}
    Image.fromarray(picture()).save(path, exif=exif, **options)
    # Where the stored pixel (row r, column c) goes, from the EXIF standard.
    upright = {
        1: lambda p: p,
        2: np.fliplr,
        3: lambda p: np.rot90(p, 2),
        4: np.flipud,
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, -1),
        7: lambda p: np.rot90(p, 2).transpose(1, 0, 2),
        8: lambda p: np.rot90(p, 1),
    }[orientation](picture())
    decoded, full_size = decode_with_size(path)
    assert full_size == upright.shape[:2] == decoded.shape[:2]
    assert np.abs(decoded.astype(int) - upright).mean() < 4


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for suffix in ("gif", "png", "webp"):
        path = tmp_path / f"a.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
        assert tuple(decode_image(path)[0, 0]) == (255, 0, 0)


class TestBox:
    def test_crops_rounding_halves_to_even(self, tmp_path):
        path = save(tmp_path / "a.png", Image.fromarray(picture()))
        box = (10.5, 5.2, 20.6, 15.5)
        np.testing.assert_array_equal(decode_image(path, box), picture()[5:16, 10:21])

    def test_is_clipped_to_the_image(self, tmp_path):
        path = save(tmp_path / "a.png", Image.fromarray(picture()))
        np.testing.assert_array_equal(decode_image(path, (-4, -4, 99, 7)), picture()[:7])

    @pytest.mark.parametrize("box", [(5, 5, 5, 9), (40, 0, 50, 9), (9, 9, 3, 3), (-9, 0, -2, 5)])
    def test_without_a_pixel_is_an_error(self, tmp_path, box):
        path = save(tmp_path / "a.png", Image.fromarray(picture()))
        with pytest.raises(UnreadableImageError):
            decode_image(path, box)

    def test_is_in_pixels_of_the_upright_image(self, tmp_path):
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        path = save(tmp_path / "a.png", Image.fromarray(picture()), exif=exif)
        expected = np.rot90(picture(), -1)[12:25, 2:11]
        np.testing.assert_array_equal(decode_image(path, (2, 12, 11, 25)), expected)


class TestDraft:
    @pytest.fixture
    def large(self, tmp_path):
        return save(tmp_path / "a.jpg", Image.fromarray(picture(401, 600)), quality=95)

    @pytest.mark.parametrize(
        ("min_side", "shape"),
        [(None, (401, 600)), (201, (401, 600)), (200, (201, 300)), (100, (101, 150)),
         (51, (101, 150)), (50, (51, 75)), (1, (51, 75))],
    )  # fmt: skip
    def test_keeps_the_resolution_asked_for(self, large, min_side, shape):
        decoded, full_size = decode_with_size(large, min_side=min_side)
        assert decoded.shape[:2] == shape
        assert full_size == (401, 600)

    def test_shows_the_same_picture(self, large):
        whole, half = decode_image(large), decode_image(large, min_side=200)
        averaged = whole[:400, :600].reshape(200, 2, 300, 2, 3).mean(axis=(1, 3))
        assert np.abs(averaged - half[:200]).mean() < 1

    def test_counts_the_box_not_the_image(self, large):
        box = (100, 40, 300, 240)
        assert decode_image(large, box, min_side=101).shape[:2] == (200, 200)
        decoded = decode_image(large, box, min_side=100)
        assert decoded.shape[:2] == (100, 100)
        whole = decode_image(large, box).reshape(100, 2, 100, 2, 3).mean(axis=(1, 3))
        assert np.abs(whole - decoded).mean() < 1

    @pytest.mark.parametrize("orientation", [3, 6, 8])
    def test_with_orientation_and_box(self, tmp_path, orientation):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        path = tmp_path / "b.jpg"
        Image.fromarray(picture(400, 640)).save(path, exif=exif, quality=95)
        box = (40, 80, 240, 320)
        whole, full_size = decode_with_size(path, box)
        half, half_full_size = decode_with_size(path, box, min_side=100)
        assert full_size == half_full_size
        assert half.shape[:2] == (120, 100)
        assert np.abs(whole.reshape(120, 2, 100, 2, 3).mean(axis=(1, 3)) - half).mean() < 1

    def test_leaves_other_formats_alone(self, tmp_path):
        path = save(tmp_path / "a.png", Image.fromarray(picture(80, 80)))
        assert decode_image(path, min_side=10).shape == (80, 80, 3)


def png_header(width, height):
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk


BROKEN = {
    "empty.jpg": b"",
    "text.jpg": b"hello, this is no image at all\n" * 9,
    "drawing.svg": b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'></svg>",
    "script.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "header.png": png_header(9, 9),
    "bomb.png": png_header(60_000, 60_000),
    "start.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    "start.tif": b"II*\x00\x08\x00\x00\x00\xff\xff",
    "start.gif": b"GIF89a\x08\x00",
    "start.webp": b"RIFF\x24\x00\x00\x00WEBPVP8 ",
}


class TestUnreadable:
    @pytest.mark.parametrize("name", BROKEN)
    def test_contents(self, tmp_path, name, capfd):
        path = tmp_path / name
        path.write_bytes(BROKEN[name])
        with pytest.raises(UnreadableImageError) as caught:
            decode_image(path)
        assert caught.value.path == path
        assert caught.value.reason
        assert "\n" not in str(caught.value)
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "tif", "bmp"])
    def test_truncated_at_any_place(self, tmp_path, suffix, capfd):
        path = save(tmp_path / f"a.{suffix}", Image.fromarray(picture(64, 64)))
        content = path.read_bytes()
        for part in (0.02, 0.1, 0.3, 0.5, 0.8):
            path.write_bytes(content[: int(len(content) * part)])
            with pytest.raises(UnreadableImageError):
                decode_image(path)
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "tif", "bmp"])
    def test_damaged_files_give_pixels_or_one_clear_error(self, tmp_path, suffix, capfd):
        path = save(tmp_path / f"a.{suffix}", Image.fromarray(picture(40, 40)))
        content = np.frombuffer(path.read_bytes(), np.uint8)
        random = np.random.default_rng(0)
        failures = []
        for _ in range(60):
            damaged = content.copy()
            # Headers break in more ways than pixel data.
            places = random.integers(0, min(len(content), random.choice((60, len(content)))), 4)
            damaged[places] = random.integers(0, 256, 4)
            path.write_bytes(damaged.tobytes())
            try:
                assert decode_image(path, min_side=8).shape[2] == 3
            except UnreadableImageError as error:
                failures.append(str(error))
        assert failures
        assert not any("\n" in failure for failure in failures)
        assert capfd.readouterr() == ("", "")

    def test_missing_and_folder(self, tmp_path):
        for path in (tmp_path / "none.jpg", tmp_path):
            with pytest.raises(UnreadableImageError) as caught:
                decode_image(path)
            assert caught.value.path == path

    @pytest.mark.skipif(sys.platform == "win32", reason="permissions differ")
    def test_permission(self, tmp_path, monkeypatch):
        path = save(tmp_path / "a.png", Image.fromarray(picture()))

        def refuse(*_args, **_options):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Image, "open", refuse)
        with pytest.raises(UnreadableImageError) as caught:
            decode_image(path)
        assert "permission" in caught.value.reason

    def test_unknown_range(self, tmp_path):
        for name, values in {
            "f.tif": np.zeros((3, 3), np.float32),
            "i.tif": np.full((3, 3), 100_000, np.int32),
        }.items():
            with pytest.raises(UnreadableImageError):
                decode_image(save(tmp_path / name, Image.fromarray(values)))

    def test_damaged_exif_counts_as_upright(self, tmp_path):
        path = Path(tmp_path / "a.jpg")
        Image.fromarray(picture()).save(path, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7f")
        assert decode_image(path).shape == (20, 30, 3)


@pytest.mark.parametrize(("name", "reason"), [("none.jpg", "no such file"), ("", "it is a folder")])
def test_a_wrong_path_is_to_be_corrected_not_skipped(tmp_path, name, reason):
    with pytest.raises(UnreadableImageError, match=f"{reason}. Correct its path.$"):
        decode_image(tmp_path / name)
