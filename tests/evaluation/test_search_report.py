"""The page of landmark searches: queries, boxes, marks, and files that are gone."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ram_cli.datasets import ImageSet, SearchSet
from ram_cli.evaluation import revisited_metrics
from ram_cli.evaluation.search_report import (
    LandmarkSearch,
    SearchPage,
    shown_places,
    sorted_queries,
    write_search_report,
)
from ram_cli.progress import TableData


def grey(folder: Path, name: str, value: int) -> str:
    Image.new("RGB", (100, 80), (value,) * 3).save(folder / name)
    return name


def the_set(folder: Path) -> SearchSet:
    """Three queries, of which the second has nothing to find, and five gallery images."""
    gallery = [grey(folder, f"<b>{number}.png", 40 * number) for number in range(5)]
    queries = [grey(folder, f"q{number}.png", 250) for number in range(3)]
    boxes = np.array([[30, 20, 70, 60]] * 3, np.float32)
    none = np.zeros(5, np.int64)
    truth = (
        {"easy": [0], "hard": [1], "junk": [2]},
        {"easy": [], "hard": [], "junk": [0]},
        {"easy": [4], "hard": [], "junk": []},
    )
    return SearchSet(
        "toy",
        folder,
        ImageSet("toy/gallery", folder, tuple(gallery), none, ("",)),
        ImageSet("toy/queries", folder, tuple(queries), none[:3], ("",), boxes=boxes),
        truth,
        "revisited",
        "",
    )


def page_of(folder: Path, search: SearchSet, found: list[list[int]]) -> SearchPage:
    scores = torch.eye(3, 5)
    result = revisited_metrics(scores, torch.eye(5), search.ground_truth)
    metrics = {"easy": result.easy, "medium": result.medium, "hard": result.hard}
    order = sorted_queries([metrics])
    assert order[0].tolist() == [0, 2]
    one = LandmarkSearch("alone", 48, metrics, np.array(found))
    return SearchPage(search, [one], order, shown_places(2), TableData("numbers", ["a"], [["1"]]))


def test_marks_boxes_and_names(tmp_path: Path) -> None:
    search = the_set(tmp_path)
    page = page_of(tmp_path, search, [[0, 1, 2, 3], [4, 0, 1, 2]])
    write_search_report(tmp_path / "page.html", [page], title="Toys")
    text = (tmp_path / "page.html").read_text("utf-8")
    kinds = re.findall(r"Rank \d, (\w+)", text)
    assert kinds == ["easy", "hard", "junk", "wrong", "easy", "wrong", "wrong", "wrong"]
    assert "&lt;b&gt;0.png" in text
    assert "<b>0.png" not in text
    assert "20 × 16 pixels" not in text  # the crop is square
    assert "19 × 19 pixels" in text  # 40 of 100 pixels, of a whole image shrunk to 48
    whole = re.search(r'src="data:image/webp;base64,([^"]+)" alt="Query image', text)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(whole[1]))).convert("RGB"))
    assert pixels.shape == (80, 100, 3)
    assert pixels[30, 31, 0] - pixels[30, 31, 1].astype(int) > 60  # the frame
    assert pixels[40, 50].min() > 230  # within it
    assert pixels[10, 10].min() > 230  # outside


def test_files_that_are_gone_are_grey_and_said(tmp_path: Path) -> None:
    search = the_set(tmp_path)
    (tmp_path / search.gallery.paths[3]).unlink()
    page = page_of(tmp_path, search, [[0, 1, 2, 3], [4, 0, 1, 2]])
    write_search_report(tmp_path / "page.html", [page], title="Toys")
    assert "grey square with a cross: 1" in (tmp_path / "page.html").read_text("utf-8")


def test_places_hold_both_ends() -> None:
    assert shown_places(0) == []
    assert shown_places(1) == [0]
    assert shown_places(12) == list(range(12))
    many = shown_places(70)
    assert (len(many), many[0], many[-1]) == (12, 0, 69)
