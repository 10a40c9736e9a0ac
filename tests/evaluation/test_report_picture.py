"""The pictures of the report: frames, views and placeholders."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_pages import TABLE, make_images, make_search, parse, picture, shown_ranks

from ram_cli.evaluation.report import percent, write_report
from ram_cli.evaluation.report_picture import RIGHT, WIDTH, WRONG, data_uri, tile_size

GREY = (204, 204, 204)


def test_single_search_goes_from_best_to_worst_with_all_images_shown(tmp_path: Path) -> None:
    images = make_images(tmp_path, [0, 0, 1, 1, 2, 2])
    search = make_search(images, seed=5)
    write_report(
        tmp_path / "r.html", images, [search], title="T", table=TABLE, top=50,
        png=tmp_path / "r.png",
    )  # fmt: skip
    page = parse(tmp_path / "r.html")
    aps = [article.all("b")[0].text() for article in page.all("article")]
    assert aps[0] == f"AP {percent(search.metrics.ap.max())}"
    assert len(aps) == 3
    assert not page.all("b", "gain")
    assert all(len(shown_ranks(article)[0]) == 5 for article in page.all("article"))
    assert len(frames(tmp_path / "r.png", tile_size(5))) == 3


def test_unreadable_images_are_grey(tmp_path: Path) -> None:
    images = make_images(tmp_path, [0, 0, 1, 1])
    images.path(0).unlink()
    images.path(3).write_bytes(b"no image")
    write_report(
        tmp_path / "r.html", images, [make_search(images)], title="T", table=TABLE,
        png=tmp_path / "r.png",
    )  # fmt: skip
    page = parse(tmp_path / "r.html")
    for item in page.all("li", "correct") + page.all("li", "wrong"):
        grey = item.attributes["title"] in (images.paths[0], images.paths[3])
        found = np.asarray(picture(item.all("img")[0])).astype(int)
        side = found[40:100, :30]  # away from the cross
        assert (np.abs(side - GREY).max() <= 3) == grey
    assert "cross: 2." in page.all("footer")[0].text()


def frames(path: Path, tile: int) -> list[list[tuple[int, bool]]]:
    """Left edge and colour of every frame, one list per row of results."""
    with Image.open(path) as image:
        assert image.mode == "RGB"
        assert image.getpixel((0, 0)) == image.getpixel((WIDTH - 1, image.height - 1)) == (255,) * 3
        pixels = np.asarray(image)
    kinds = np.zeros(pixels.shape[:2], np.uint8)
    kinds[(pixels == RIGHT).all(axis=2)] = 1
    kinds[(pixels == WRONG).all(axis=2)] = 2
    # the lower edge of a frame is a run of `tile` pixels; its last line has none below
    rows = []
    for y in range(len(kinds) - 1):
        edges = np.flatnonzero(np.diff(kinds[y], prepend=0, append=0))
        runs = [
            (int(a), bool(kinds[y, a] == 1))
            for a, b in pairwise(edges)
            if kinds[y, a] and b - a == tile
        ]
        if runs and not kinds[y + 1, runs[0][0]]:
            rows.append(runs)
    return rows


def test_picture_frames_the_results_of_first_and_last_search(tmp_path: Path) -> None:
    images = make_images(tmp_path, [0, 1, 2, 3, 4, 5, 6] * 3)
    searches = [make_search(images, name, seed) for seed, name in enumerate("abc")]
    write_report(
        tmp_path / "r.html", images, searches, title="T", table=TABLE, top=6,
        png=tmp_path / "r.png",
    )  # fmt: skip
    with Image.open(tmp_path / "r.png") as image:
        assert image.width == WIDTH
        assert 1200 < image.height < 2000
    articles = parse(tmp_path / "r.html").all("article")
    expected = []
    for number in np.linspace(0, len(articles) - 1, 5).round().astype(int):
        first, _, last = shown_ranks(articles[number])
        expected += [[kind == "correct" for kind, _ in row] for row in (first, last)]
    tile = tile_size(6)
    found = frames(tmp_path / "r.png", tile)
    assert [[right for _, right in row] for row in found] == expected
    lefts = {tuple(left for left, _ in row) for row in found}
    assert len(lefts) == 1
    assert len(set(np.diff(next(iter(lefts))))) == 1
    assert max(next(iter(lefts))) + tile <= WIDTH


@pytest.mark.parametrize("top", [1, 4, 8, 10, 20])
def test_results_fit_into_the_picture(top: int) -> None:
    assert 320 + top * tile_size(top) + (top - 1) * 12 <= WIDTH


def test_large_views_are_embedded_small(tmp_path: Path) -> None:
    view = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    assert len(data_uri(view, lossless=False)) < len(data_uri(view, lossless=True))
