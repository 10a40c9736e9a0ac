"""The report: what the page says, how queries are chosen, and what strangers' names cannot do."""

import base64
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from ram_cli.datasets import ImageSet
from ram_cli.errors import ConfigError, DataError, OutputError
from ram_cli.evaluation import label_metrics
from ram_cli.evaluation.report import Search, clean, percent, points, write_report
from ram_cli.evaluation.report_picture import RIGHT, WIDTH, WRONG, data_uri, tile_size
from ram_cli.evaluation.report_queries import choose_places, sort_queries
from ram_cli.progress import TableData
from ram_cli.views import EvaluationViews

TABLE = TableData("Figures", ["search", "mAP"], [["before", "12.3"], ["after", "45.6"]], {1})
VOID = {"meta", "img"}
GREY = (204, 204, 204)


@dataclass
class Node:
    """One element of a page."""

    tag: str
    attributes: dict[str, str | None]
    children: list["Node | str"] = field(default_factory=list)

    def all(self, tag: str, name: str | None = None) -> list["Node"]:
        """Every element below with this tag and, if given, this CSS class."""
        return [
            node
            for node in self._below()
            if node.tag == tag
            and (name is None or name in (node.attributes.get("class") or "").split())
        ]

    def text(self) -> str:
        parts = (child if isinstance(child, str) else child.text() for child in self.children)
        return " ".join("".join(parts).split())

    def _below(self) -> Iterator["Node"]:
        for child in self.children:
            if isinstance(child, Node):
                yield child
                yield from child._below()


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Node("", {})]

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(self.open[-1].children[-1])  # type: ignore[arg-type]

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.open[-1].children.append(Node(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(path: Path) -> Node:
    parser = _Parser()
    parser.feed(path.read_text(encoding="utf-8"))
    parser.close()
    assert len(parser.open) == 1, "an element is not closed"
    return parser.open[0]


def picture(image: Node) -> Image.Image:
    head, _, content = (image.attributes["src"] or "").partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")


@pytest.fixture
def make_images(tmp_path: Path) -> Callable[..., ImageSet]:
    def make(labels: list[int], names: list[str] | None = None) -> ImageSet:
        root = tmp_path / "images"
        root.mkdir()
        random = np.random.default_rng(0)
        for index in range(len(labels)):
            blocks = random.integers(0, 256, (5, 6, 3), dtype=np.uint8)
            pixels = blocks.repeat(8, axis=0).repeat(8, axis=1)
            Image.fromarray(pixels).save(root / f"{index:03}.png")
        return ImageSet(
            name="toy/test",
            root=root,
            paths=tuple(f"{index:03}.png" for index in range(len(labels))),
            labels=np.array(labels, dtype=np.int64),
            class_names=tuple(names or (f"class {label}" for label in range(max(labels) + 1))),
        )

    return make


def make_search(
    images: ImageSet,
    title: str = "before",
    seed: int = 0,
    size: int = 16,
    vectors: tuple[Tensor, Tensor] | None = None,
) -> Search:
    generator = torch.Generator().manual_seed(seed)
    query, gallery = vectors or torch.randn(2, len(images), 6, generator=generator)
    metrics = label_metrics(query, gallery, images.labels, images.labels, (1,), same_set=True)
    return Search(title, query, gallery, size, metrics)


def ranking(search: Search, query: int) -> list[int]:
    scores = search.gallery @ search.query[query]
    order = sorted(range(len(scores)), key=lambda index: (-float(scores[index]), index))
    return [index for index in order if index != query]


def shown_ranks(article: Node) -> list[list[tuple[str, str]]]:
    """Per search: class and file of every result, in order."""
    return [
        [(item.attributes["class"] or "", item.attributes["title"] or "") for item in row.all("li")]
        for row in article.all("ol", "results")
    ]


def test_page_shows_queries_with_their_true_rankings(
    make_images: Callable[..., ImageSet], tmp_path: Path
) -> None:
    images = make_images([0, 1, 2, 3, 4] * 4)
    searches = [make_search(images, "before", 0), make_search(images, "after", 1)]
    write_report(
        tmp_path / "r.html", images, searches, title="A title", table=TABLE,
        notes=["first note", "second note"], credits=["a painter"], queries=4, top=7,
    )  # fmt: skip

    page = parse(tmp_path / "r.html")
    assert page.all("title")[0].text() == page.all("h1")[0].text() == "A title"
    assert [cell.text() for cell in page.all("td")] == ["before", "12.3", "after", "45.6"]
    assert [cell.text() for cell in page.all("td", "number")] == ["12.3", "45.6"]
    assert [item.text() for item in page.all("ul", "notes")[0].all("li")] == [
        "first note",
        "second note",
    ]
    assert "a painter" in page.all("footer")[0].text()
    bars = page.all("ul", "bars")[0].all("b")
    assert [bar.text() for bar in bars] == [percent(search.metrics.map) for search in searches]

    order, gains = sort_queries(images.labels, searches)
    places = choose_places(images.labels[order], 4)
    articles = page.all("article")
    assert len(articles) == len(places) == 4
    for article, place in zip(articles, places, strict=True):
        query = int(order[place])
        assert article.all("h2")[0].text() == f"class {images.labels[query]}"
        assert f"place {place + 1} of 20 · 3 other images" in article.text()
        for row, search in zip(article.all("section", "row"), searches, strict=True):
            expected = ranking(search, query)
            correct = [bool(images.labels[index] == images.labels[query]) for index in expected]
            assert shown_ranks(row)[0] == [
                ("correct" if right else "wrong", images.paths[index])
                for index, right in zip(expected[:7], correct[:7], strict=True)
            ]
            assert [mark.text() for mark in row.all("span", "mark")] == [
                "✓" if right else "✗" for right in correct[:7]
            ]
            assert row.all("b")[0].text() == f"AP {percent(search.metrics.ap[query])}"
            assert f"first correct at rank {correct.index(True) + 1}" in row.text()
        assert article.all("b", "gain")[0].text() == points(gains[place])


def test_page_needs_nothing_from_outside(
    make_images: Callable[..., ImageSet], tmp_path: Path
) -> None:
    images = make_images([0, 0, 1, 1])
    write_report(tmp_path / "r.html", images, [make_search(images)], title="T", table=TABLE)

    content = (tmp_path / "r.html").read_text(encoding="utf-8")
    page = parse(tmp_path / "r.html")
    assert "://" not in content
    assert "url(" not in content.replace("url(#sign)", "")
    assert not page.all("script")
    assert not page.all("link")
    assert all((link.attributes["href"] or "").startswith("#query-") for link in page.all("a"))
    identifiers = {node.attributes["id"] for node in page.all("article")}
    assert {(link.attributes["href"] or "")[1:] for link in page.all("a")} == identifiers
    assert all(image.attributes["alt"] for image in page.all("img"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "r.html"]


def test_query_is_what_the_network_saw(
    make_images: Callable[..., ImageSet], tmp_path: Path
) -> None:
    images = make_images([0, 0])
    searches = [make_search(images, size=32), make_search(images, seed=1, size=20)]
    write_report(tmp_path / "r.html", images, searches, title="T", table=TABLE)

    article = parse(tmp_path / "r.html").all("article")[0]
    shown = [figure.all("img")[0] for figure in article.all("figure")]
    query = images.paths.index(shown[0].attributes["title"] or "")
    for image, size in zip(shown, (20, 32), strict=True):
        expected = EvaluationViews(images, size)[query].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(np.asarray(picture(image)), expected)


def test_strangers_names_stay_text(make_images: Callable[..., ImageSet], tmp_path: Path) -> None:
    attack = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'"
    names = [attack, "right\u202eto\u2066left\x07\x1b[31m\udc80\u2028", "long" * 500]
    images = make_images([0, 0, 1, 1, 2, 2], names)
    paths = [f"{attack}\u202e{'z' * 400}{index}\udcff.png" for index in range(5)]
    images = ImageSet(
        attack, images.root, (*paths, images.paths[5]), images.labels, images.class_names
    )
    search, other = make_search(images, attack, 0), make_search(images, "\u202e\x00", 1)
    table = TableData(attack, [attack, "\x07"], [[attack, "\u202e"]])
    write_report(
        tmp_path / "r.html", images, [search, other], title=attack, table=table,
        notes=[attack, "two\nlines"], credits=["\u202e"], png=tmp_path / "r.png",
    )  # fmt: skip

    content = (tmp_path / "r.html").read_text(encoding="utf-8")
    page = parse(tmp_path / "r.html")
    assert not page.all("script")
    assert all((image.attributes["src"] or "").startswith("data:") for image in page.all("img"))
    assert not any(name.startswith("on") for node in page._below() for name in node.attributes)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2066-\u2069]", content)
    assert page.all("h1")[0].text() == attack
    headings = {heading.text() for article in page.all("article") for heading in article.all("h2")}
    assert r"right\u202eto\u2066left\x07\x1b[31m\udc80" in headings
    assert all(len(heading) <= 48 for heading in headings)
    assert all(len(item.attributes["title"] or "") <= 120 for item in page.all("li", "wrong"))
    assert "two lines" in [note.text() for note in page.all("ul", "notes")[0].all("li")]
    with Image.open(tmp_path / "r.png") as image:
        assert image.width == WIDTH


def test_clean_keeps_ordinary_text_and_cuts_long_text() -> None:
    assert clean("Möbel 家具 – ½ × 2") == "Möbel 家具 – ½ × 2"
    assert clean("a \n b\tc") == "a b c"
    assert clean("x" * 10, 10) == "x" * 10
    assert clean("x" * 11, 10) == "x" * 9 + "…"


def test_numbers_are_written_for_readers() -> None:
    assert [percent(value) for value in (0.4321, 1.0, float("nan"))] == ["43.2 %", "100.0 %", "–"]
    assert [points(value) for value in (0.1234, -0.04, -0.0001, 0.0)] == [
        "+12.3",
        "−4.0",
        "±0.0",
        "±0.0",
    ]


def test_places_are_evenly_spaced_with_one_per_class() -> None:
    assert choose_places(np.arange(101), 5) == [0, 25, 50, 75, 100]
    assert choose_places(np.arange(9), 1) == [4]
    assert choose_places(np.arange(3), 12) == [0, 1, 2]
    assert choose_places(np.zeros(0, np.int64), 4) == []
    # the middle place 3 is of class 0, as is the first; of 2 and 4 the earlier one is taken
    assert choose_places(np.array([0, 5, 1, 0, 2, 6, 3]), 3) == [0, 2, 6]
    # both ends are of class 0: the last place moves to the nearest query of another class
    assert choose_places(np.array([0, 1, 1, 1, 2, 0]), 2) == [0, 4]


@settings(deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=60), st.integers(1, 12))
def test_places_are_distinct_and_keep_the_ends(labels: list[int], count: int) -> None:
    array = np.array(labels)
    places = choose_places(array, count)
    classes = array[places].tolist()
    assert places == sorted(set(places))
    assert len(classes) == len(set(classes)) == min(count, len(set(labels)))
    if len(places) > 1:
        assert places[0] == 0
        assert places[-1] == max(np.flatnonzero(array != labels[0]), default=0) or (
            array[places[-1]] == labels[-1] != labels[0]
        )


def test_queries_go_from_the_largest_gain_to_the_largest_loss(
    make_images: Callable[..., ImageSet], tmp_path: Path
) -> None:
    images = make_images([0, 1, 2, 3, 4, 5, 6, 7] * 3)
    searches = [make_search(images, seed=2), make_search(images, seed=3)]
    write_report(tmp_path / "r.html", images, searches, title="T", table=TABLE, queries=5)

    page = parse(tmp_path / "r.html")
    gains = searches[1].metrics.ap - searches[0].metrics.ap
    shown = [article.all("b", "gain")[0].text() for article in page.all("article")]
    assert shown[0] == points(gains.max())
    assert shown[-1] == points(gains.min())
    numbers = [float(text.replace("−", "-").replace("±", "")) for text in shown]
    assert numbers == sorted(numbers, reverse=True)
    rule = page.all("section", "rule")[0].text()
    for word, count in (
        ("rises for", (gains > 0).sum()),
        ("stays for", (gains == 0).sum()),
        ("falls for", (gains < 0).sum()),
    ):
        assert f"{word} {count}" in rule
    assert len(page.all("circle")) == 5


def test_queries_without_positives_are_left_out(
    make_images: Callable[..., ImageSet], tmp_path: Path
) -> None:
    images = make_images([0, 1, 0, 2, 1])
    write_report(tmp_path / "r.html", images, [make_search(images)], title="T", table=TABLE)
    headings = [a.all("h2")[0].text() for a in parse(tmp_path / "r.html").all("article")]
    assert sorted(headings) == ["class 0", "class 1"]


def test_no_query_at_all_is_said(make_images: Callable[..., ImageSet], tmp_path: Path) -> None:
    images = make_images([0, 1, 2])
    write_report(
        tmp_path / "r.html", images, [make_search(images)] * 2, title="T", table=TABLE,
        png=tmp_path / "r.png",
    )  # fmt: skip
    page = parse(tmp_path / "r.html")
    assert not page.all("article")
    assert not page.all("svg")
    with Image.open(tmp_path / "r.png") as image:
        assert image.width == WIDTH


def test_ties_keep_the_order_of_the_images(
    make_images: Callable[..., ImageSet], tmp_path: Path
) -> None:
    images = make_images([0, 1] * 6)
    same = torch.randn(1, 37, generator=torch.Generator().manual_seed(4)).expand(12, -1)
    search = make_search(images, vectors=(same, same))
    write_report(tmp_path / "r.html", images, [search], title="T", table=TABLE, top=11)
    for article in parse(tmp_path / "r.html").all("article"):
        query = article.all("figure")[0].all("img")[0].attributes["title"]
        shown = [path for _, path in shown_ranks(article)[0]]
        assert shown == [path for path in images.paths if path != query]


def test_single_search_goes_from_best_to_worst_with_all_images_shown(
    make_images: Callable[..., ImageSet], tmp_path: Path
) -> None:
    images = make_images([0, 0, 1, 1, 2, 2])
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


def test_unreadable_images_are_grey(make_images: Callable[..., ImageSet], tmp_path: Path) -> None:
    images = make_images([0, 0, 1, 1])
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


def test_picture_frames_the_results_of_first_and_last_search(
    make_images: Callable[..., ImageSet], tmp_path: Path
) -> None:
    images = make_images([0, 1, 2, 3, 4, 5, 6] * 3)
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


def test_wrong_calls_are_refused(make_images: Callable[..., ImageSet], tmp_path: Path) -> None:
    images = make_images([0, 0, 1, 1])
    search = make_search(images)
    target = tmp_path / "r.html"
    with pytest.raises(ConfigError):
        write_report(target, images, [search], title="T", table=TABLE, top=0)
    with pytest.raises(ConfigError):
        write_report(target, images, [search], title="T", table=TABLE, queries=0)
    with pytest.raises(DataError):
        write_report(target, images, [], title="T", table=TABLE)
    with pytest.raises(DataError):
        write_report(target, images.subset([0, 1, 2]), [search], title="T", table=TABLE)
    with pytest.raises(OutputError):
        write_report(images.path(0) / "r.html", images, [search], title="T", table=TABLE)
    assert not target.exists()


def test_colours_have_contrast() -> None:
    template = (files("ram_cli.evaluation") / "templates" / "report.html.j2").read_text("utf-8")
    palettes = re.findall(r":root \{\s*(--page[^}]+--bar-last[^}]+)\}", template)
    assert len(palettes) == 2
    for palette in palettes:
        colours = dict(re.findall(r"--([\w-]+): #(\w{6});", palette))
        for ground in ("page", "card"):
            for ink in ("ink", "soft", "good", "bad"):
                assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
        for ground in ("good", "bad"):
            assert contrast(colours["on-mark"], colours[ground]) >= 4.5, ground


def contrast(first: str, second: str) -> float:
    """Contrast ratio of WCAG 2."""

    def luminance(colour: str) -> float:
        channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)])
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)
