"""Read one image file into upright 8-bit RGB pixels, whatever the file holds.

Pillow does the decoding. Nothing but `UnreadableImageError` and no warning leaves this module, and
only still-image formats are tried: a document format would start an interpreter.
"""

import struct
import warnings
import zlib
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from ram_cli.errors import IS_A_FOLDER, NO_FILE, UnreadableImageError

FORMATS: Final = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
"""Formats that are tried, most frequent first; some builds of Pillow lack the later ones."""

# What Pillow's plugins are known to raise on damaged files, besides their own exceptions.
_DAMAGE: Final = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    EOFError,
    RuntimeError,  # also NotImplementedError
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_TURNS: Final = {  # EXIF orientation: (transpose first, flip rows, flip columns)
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
_WHITE: Final = (255, 255, 255, 255)


def decode_image(
    path: Path | str, box: ArrayLike | None = None, min_side: int | None = None
) -> NDArray[np.uint8]:
    """Decode an image file to upright RGB pixels, uint8 `[H, W, 3]`.

    Greyscale is repeated, 16-bit greyscale is scaled to 8 bits, transparency is put on white, the
    EXIF orientation is applied, and of an animation the first frame is taken.

    Args:
        path: The file.
        box: Region to keep, `x1, y1, x2, y2` in pixels of the upright image. Rounded to whole
            pixels (halves to even) and clipped to the image.
        min_side: Shorter side, in pixels, that is enough. A JPEG of which even 1/2, 1/4 or 1/8 of
            the resolution leaves the region at least that large is decoded at that fraction,
            which is much faster. None decodes every pixel.

    Raises:
        UnreadableImageError: The file is missing, not an image, damaged, or far too large.
    """
    return decode_with_size(path, box, min_side)[0]


def decode_with_size(
    path: Path | str, box: ArrayLike | None = None, min_side: int | None = None
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """`decode_image`, and the full (height, width) of the upright image in pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path, formats=_formats()) as image:
                return _read(image, box, min_side)
        except _DAMAGE as error:
            raise UnreadableImageError(path, _reason(Path(path), error)) from error


def image_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Upright RGB pixels of an image that Pillow has opened or made, uint8 `[H, W, 3]`.

    Grey, 16-bit, transparent and rotated images are treated as `decode_image` treats files.

    Raises:
        UnreadableImageError: Its file is damaged, or its values have no known range.
    """
    name = getattr(image, "filename", "") or "(an image in memory)"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _read(image, None, None)[0]
        except _DAMAGE as error:
            raise UnreadableImageError(name, _reason(Path(name), error)) from error


def stored_size(path: Path | str) -> tuple[int, int]:
    """(height, width) in pixels of an upright image, told by the head of its file.

    Of a turned PNG, whose turn stands at the end of the file, height and width are exchanged.

    Raises:
        UnreadableImageError: The file is missing, or not an image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path, formats=_formats()) as image:
                width, height = image.size
                turn = _TURNS.get(_orientation(image))
        except _DAMAGE as error:
            raise UnreadableImageError(path, _reason(Path(path), error)) from error
    return (width, height) if turn is not None and turn[0] else (height, width)


def _read(
    image: Image.Image, box: ArrayLike | None, min_side: int | None
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    stored_width, stored_height = image.size
    corners = None if box is None else np.asarray(box, dtype=np.float64)
    divisor = _draft(image, corners, min_side)
    image.load()  # turns a TIFF upright, and only then is the orientation of a PNG known
    orientation = _orientation(image)
    pixels = _upright(_rgb(image), orientation)
    full = (pixels.shape[0], pixels.shape[1])
    if divisor > 1:
        turned = orientation in _TURNS and _TURNS[orientation][0]
        full = (stored_width, stored_height) if turned else (stored_height, stored_width)
    if corners is not None:
        pixels = _crop(pixels, corners / divisor)
    return np.ascontiguousarray(pixels), full


def _draft(image: Image.Image, corners: NDArray[np.float64] | None, min_side: int | None) -> int:
    """Ask a JPEG decoder for a fraction of the resolution; return its divisor, 1 for all."""
    if min_side is None or image.format not in ("JPEG", "MPO"):
        return 1
    # The shorter side is the same before and after a quarter turn.
    side = min(image.size)
    if corners is not None:
        side = int(min(corners[2] - corners[0], corners[3] - corners[1]))
    divisor = next((d for d in (8, 4, 2) if side // d >= max(1, min_side)), 1)
    size = (image.width // divisor, image.height // divisor)
    return divisor if divisor > 1 and image.draft(None, size) else 1


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; damaged EXIF data count as upright."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _DAMAGE:
        return 1


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    if orientation not in _TURNS:
        return pixels
    transpose, flip_rows, flip_columns = _TURNS[orientation]
    if transpose:
        pixels = pixels.transpose(1, 0, 2)
    return pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Pixels of a loaded image of any mode, uint8 `[H, W, 3]`."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode == "I" or image.mode.startswith("I;16"):
        grey = _eight_bits(np.array(image))
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _eight_bits(grey: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale 16-bit grey values 0..65535 to 0..255, rounded."""
    if grey.min() < 0 or grey.max() > 65535:
        raise ValueError("32-bit pixels have no known range")
    return ((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _crop(pixels: NDArray[np.uint8], corners: NDArray[np.float64]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = (round(corner) for corner in corners.tolist())
    region = pixels[max(0, y1) : max(0, min(height, y2)), max(0, x1) : max(0, min(width, x2))]
    if region.size == 0:
        raise ValueError(f"the box {corners.tolist()} holds no pixel of {width} x {height}")
    return region


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _reason(path: Path, error: BaseException) -> str:
    """Why a file cannot be decoded, in a few words on one line."""
    match error:
        case FileNotFoundError():
            return NO_FILE
        case IsADirectoryError():
            return IS_A_FOLDER
        case PermissionError():
            return "permission denied"
        case Image.DecompressionBombError():
            return "it has far more pixels than any photograph"
        case UnidentifiedImageError():
            return _unidentified(path)
        case MemoryError():
            return "it does not fit in memory"
    message = " ".join(str(error).split())
    return f"damaged or unsupported ({message or type(error).__name__})"


def _unidentified(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(1024)
    if not start:
        return "the file is empty"
    if b"<svg" in start.lower():
        return "vector graphics (SVG) are not supported"
    return "not an image in a known format"
