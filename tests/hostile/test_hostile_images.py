"""Image files that strangers made: pixels, or one line; never a hang, never a gigabyte."""

import io
import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from guard import fuzz, mutated, refused_or_fine
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ram_cli.errors import UnreadableImageError
from ram_cli.views.decode import decode_image, stored_size

DAMAGE = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 4), st.integers(0, 255)),
    max_size=4,
)
KINDS = [
    ("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"),
    ("PNG", "LA"), ("PNG", "1"), ("PNG", "I;16"), ("WEBP", "RGB"), ("WEBP", "RGBA"), ("GIF", "P"),
    ("BMP", "RGB"), ("TIFF", "RGB"), ("TIFF", "CMYK"), ("TIFF", "I;16"), ("TIFF", "F"),
    ("PPM", "RGB"), ("AVIF", "RGB"), ("JPEG2000", "RGB"), ("ICO", "RGB"), ("PDF", "RGB"),
    ("EPS", "RGB"),
]  # fmt: skip
SUFFIXES = st.sampled_from([".jpg", ".png", ".gif", ".webp", ".tif", ".bmp", ".ppm", ".svg", ".x"])


def saved(form: str, mode: str, *, frames: int = 1) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 255, (18, 22, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray(pixels[..., 0].astype(np.float32))
    else:
        image = image.convert(mode)
    more = {"save_all": True, "append_images": [image] * (frames - 1)} if frames > 1 else {}
    if mode == "P":
        more["transparency"] = 3
    file = io.BytesIO()
    image.save(file, form, **more)
    return file.getvalue()


@pytest.fixture(scope="module")
def contents() -> list[bytes]:
    found = [saved(form, mode) for form, mode in KINDS if form in Image.SAVE]
    found += [saved(form, "RGB", frames=3) for form in ("GIF", "WEBP", "PNG", "TIFF")]
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("images")


@fuzz(6)
@given(
    st.integers(0, 40),
    SUFFIXES,
    DAMAGE,
    st.sampled_from([None, 4, 64]),
    st.sampled_from([None, (0, 0, 9, 9), (-5, -5, 1e9, 1e9), (9, 9, 9, 9), (1e30, 0, 2e30, 5)]),
)
def test_any_image(contents, place, number, suffix, damage, min_side, box):
    path = place / f"x{suffix}"
    path.write_bytes(mutated(contents[number % len(contents)], damage))
    with refused_or_fine(place / "nowhere") as said:
        pixels = decode_image(path, box, min_side)
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
        assert pixels.size
    assert all(len(line) < 1000 for line in said)
    with refused_or_fine(place / "nowhere"):
        stored_size(path)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, more: bytes = b"") -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes(1 << 20), 9))
    return b"\x89PNG\r\n\x1a\n" + head + more + rows + chunk(b"IEND", b"")


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + bytes.fromhex(
        "800000000000ffffff2c00000000"
    ) + struct.pack("<HH", width, height) + bytes.fromhex("0002024401003b")  # fmt: skip


TEXT = zlib.compress(bytes(100 << 20), 9)
BOMBS = {
    "png": png(100_000, 100_000),
    "wide png": png(2**31 - 1, 1),
    "text": png(8, 8, chunk(b"zTXt", b"a\0\0" + TEXT)),
    "profile": png(8, 8, chunk(b"iCCP", b"a\0\0" + TEXT)),
    "gif": gif(65_535, 65_535),
    "bmp": b"BM" + struct.pack("<IHHIIiiHH6I", 60, 0, 0, 54, 40, 10**6, 10**6, 1, 24, *[0] * 6),
    "ppm": b"P6\n1000000 1000000\n255\n",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "script": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(x) run\n",
}  # fmt: skip


@pytest.mark.parametrize("name", list(BOMBS))
def test_bombs(place, name):
    path = place / "bomb.png"
    path.write_bytes(BOMBS[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with refused_or_fine(place / "nowhere"), pytest.raises(UnreadableImageError):
        decode_image(path)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 90 << 10  # KiB
