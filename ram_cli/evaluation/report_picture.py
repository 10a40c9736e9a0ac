"""Pictures of a report: the views that networks see, and one picture of queries and results."""

import base64
import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ram_cli.datasets import ImageSet
from ram_cli.errors import UnreadableImageError
from ram_cli.files import atomic_file
from ram_cli.views import EvaluationViews

WIDTH = 1280
"""Width of the picture in pixels."""

RIGHT, WRONG = (26, 127, 75), (200, 55, 45)
"""Colours of the frames of right and wrong results."""

_MARGIN = 40
_QUERY = 208  # side of the enlarged query
_COLUMN = _QUERY + 36  # from the left side of the query to the first result
_GAP = 12  # between results
_FRAME = 5  # between the edge of a result and its picture
_THIN = 2  # frame of a wrong result; the rest is left white
_CAPTION = 28  # height of the line above a row of results
_ROW_GAP, _BLOCK_GAP = 14, 34
_LARGEST_TILE = 112
_INK, _MUTED, _LINE = (29, 31, 35), (92, 99, 112), (227, 225, 220)
_SPELT = str.maketrans({"−": "-", "–": "-", "×": "x", "→": ">", "’": "'"})


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """What one search found.

    Attributes:
        caption: Line above the results.
        view: The query as this search saw it, square, in its own size.
        results: Square pictures in the order of their rank, and whether they are right.
    """

    caption: str
    view: Image.Image
    results: Sequence[tuple[Image.Image, bool]]


@dataclass(frozen=True, slots=True)
class Block:
    """One query: its class, a line about it, and the rows of its searches."""

    name: str
    remark: str
    rows: Sequence[Row]


class Views:
    """Evaluation views of images, each computed once; grey where a file cannot be read any more.

    Args:
        images: The images.

    Attributes:
        unreadable: Indices of the images that could not be read.
    """

    def __init__(self, images: ImageSet) -> None:
        self.unreadable: set[int] = set()
        self._images = images
        self._views: dict[tuple[int, int], Image.Image] = {}

    def view(self, index: int, size: int) -> Image.Image:
        """View `index` at `size` pixels, as a network sees it."""
        if (index, size) not in self._views:
            self._views[index, size] = self._read(index, size)
        return self._views[index, size]

    def _read(self, index: int, size: int) -> Image.Image:
        try:
            view = EvaluationViews(self._images, size)[index]
        except UnreadableImageError:
            self.unreadable.add(index)
            return placeholder(size)
        return Image.fromarray(view.permute(1, 2, 0).numpy())  # [size, size, 3]


def placeholder(size: int) -> Image.Image:
    """Return a grey square with a diagonal cross, for an image that cannot be read."""
    image = Image.new("RGB", (size, size), (204, 204, 204))
    draw = ImageDraw.Draw(image)
    for line in ((0, 0, size, size), (0, size, size, 0)):
        draw.line(line, fill=(178, 178, 178), width=max(1, size // 48))
    return image


def data_uri(image: Image.Image, *, lossless: bool) -> str:
    """Encode a picture as a WebP data URI."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=lossless, quality=80, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def tile_size(top: int) -> int:
    """Side in pixels of a result, its frame included, where `top` of them share the width."""
    free = WIDTH - 2 * _MARGIN - _COLUMN - (top - 1) * _GAP
    return max(2 * _FRAME + 1, min(_LARGEST_TILE, free // top))


def write_picture(path: Path, title: str, lines: Sequence[str], blocks: Sequence[Block]) -> None:
    """Draw queries and their results on white, and write a PNG atomically.

    Args:
        path: File to write.
        title: Set large at the top.
        lines: Set small under the title.
        blocks: One per query, each with at least one row.

    Raises:
        OutputError: The file cannot be written.
    """
    tile = tile_size(max((len(row.results) for block in blocks for row in block.rows), default=1))
    head = _MARGIN + 48 + 28 * len(lines) + 20
    heights = [_block_height(block, tile) + _BLOCK_GAP for block in blocks]
    image = Image.new("RGB", (WIDTH, head + sum(heights) + _MARGIN // 2), "white")
    draw = ImageDraw.Draw(image)
    _write(draw, (_MARGIN, _MARGIN), title, 32, _INK, WIDTH - 2 * _MARGIN)
    for number, line in enumerate(lines):
        place = (_MARGIN, _MARGIN + 48 + 28 * number)
        _write(draw, place, line, 19, _MUTED if number else _INK, WIDTH - 2 * _MARGIN)
    upper = head
    for block, height in zip(blocks, heights, strict=True):
        line_y = upper - 1
        draw.line((_MARGIN, line_y, WIDTH - _MARGIN, line_y), fill=_LINE, width=1)
        _draw_block(image, upper + _BLOCK_GAP // 2, block, tile)
        upper += height
    with atomic_file(path) as temporary:
        image.save(temporary, "PNG")


def _block_height(block: Block, tile: int) -> int:
    rows = len(block.rows) * (_CAPTION + tile + _ROW_GAP) - _ROW_GAP
    return max(rows, _QUERY + 58)


def _draw_block(image: Image.Image, upper: int, block: Block, tile: int) -> None:
    draw = ImageDraw.Draw(image)
    left = _MARGIN + _COLUMN
    one_view = len({row.view.width for row in block.rows}) == 1
    name_y, remark_y = upper + _QUERY + 8, upper + _QUERY + 35
    if one_view:
        _paste_view(image, block.rows[0].view, (_MARGIN, upper), _QUERY)
    for number, row in enumerate(block.rows):
        y = upper + number * (_CAPTION + tile + _ROW_GAP)
        if not one_view:  # each row has its own, with name and remark over the first two
            _paste_view(image, row.view, (_MARGIN, y + _CAPTION), min(tile, _QUERY))
            name_y, remark_y = (y, remark_y) if number == 0 else (name_y, y)
        _write(draw, (left, y), row.caption, 18, _INK, WIDTH - _MARGIN - left)
        for place, (result, right) in enumerate(row.results):
            _draw_result(image, (left + place * (tile + _GAP), y + _CAPTION), result, right, tile)
    _write(draw, (_MARGIN, name_y), block.name, 18, _INK, _QUERY)
    _write(draw, (_MARGIN, remark_y), block.remark, 16, _MUTED, _QUERY)


def _paste_view(image: Image.Image, view: Image.Image, corner: tuple[int, int], side: int) -> None:
    """Show the pixels of a view that is enlarged; smooth one that is made smaller."""
    enlarged = view.width < side
    resampling = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
    image.paste(view.resize((side, side), resampling), corner)


def _draw_result(
    image: Image.Image, corner: tuple[int, int], result: Image.Image, right: bool, tile: int
) -> None:
    x, y = corner
    inner = tile - 2 * _FRAME
    ImageDraw.Draw(image).rectangle(
        (x, y, x + tile - 1, y + tile - 1),
        outline=RIGHT if right else WRONG,
        width=_FRAME if right else _THIN,
    )
    image.paste(result.resize((inner, inner), Image.Resampling.LANCZOS), (x + _FRAME, y + _FRAME))
    if tile >= 48:
        image.paste(_badge(right), (x, y))


@cache
def _badge(right: bool) -> Image.Image:
    """Check mark or cross, drawn four times as large and then smoothed."""
    badge = Image.new("RGB", (104, 104), RIGHT if right else WRONG)
    draw = ImageDraw.Draw(badge)
    strokes = [(28, 56, 46, 74, 78, 34)] if right else [(32, 32, 74, 74), (32, 74, 74, 32)]
    for stroke in strokes:
        draw.line(stroke, fill="white", width=13, joint="curve")
    return badge.resize((26, 26), Image.Resampling.LANCZOS)


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    size: int,
    colour: tuple[int, int, int],
    width: int,
) -> None:
    """Write one line in at most `width` pixels: first a little smaller, then cut."""
    text = shown = _spelt(text)
    for smaller in range(size, 3 * size // 4 - 1, -1):
        font = ImageFont.load_default(smaller)
        if font.getlength(text) <= width:
            break
    while text and font.getlength(shown) > width:
        text = text[:-1]
        shown = f"{text.rstrip()}…"
    draw.text(place, shown, font=font, fill=colour)


def _spelt(text: str) -> str:
    """Spell a text with the few characters that Pillow's own font has; "?" for foreign scripts."""
    plain = unicodedata.normalize("NFD", text.translate(_SPELT))
    kept = (character for character in plain if not unicodedata.combining(character))
    return "".join(
        character if character.isascii() or character in "…·±“”" else "?" for character in kept
    )
