"""The page of the report: what it says, and what strangers' names cannot do to it."""

import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_pages import TABLE, make_images, make_search, parse, picture, ranking, shown_ranks

from ram_cli.datasets import ImageSet
from ram_cli.errors import ConfigError, DataError, OutputError
from ram_cli.evaluation.report import clean, percent, points, write_report
from ram_cli.evaluation.report_picture import WIDTH
from ram_cli.evaluation.report_queries import choose_places, sort_queries
from ram_cli.progress import TableData
from ram_cli.views import EvaluationViews


def test_page_shows_queries_with_their_true_rankings(tmp_path: Path) -> None:
    images = make_images(tmp_path, [0, 1, 2, 3, 4] * 4)
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


def test_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    images = make_images(tmp_path, [0, 0, 1, 1])
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


def test_query_is_what_the_network_saw(tmp_path: Path) -> None:
    images = make_images(tmp_path, [0, 0])
    searches = [make_search(images, size=32), make_search(images, seed=1, size=20)]
    write_report(tmp_path / "r.html", images, searches, title="T", table=TABLE)

    article = parse(tmp_path / "r.html").all("article")[0]
    shown = [figure.all("img")[0] for figure in article.all("figure")]
    query = images.paths.index(shown[0].attributes["title"] or "")
    for image, size in zip(shown, (20, 32), strict=True):
        expected = EvaluationViews(images, size)[query].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(np.asarray(picture(image)), expected)


def test_strangers_names_stay_text(tmp_path: Path) -> None:
    attack = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'"
    names = [attack, "right\u202eto\u2066left\x07\x1b[31m\udc80\u2028", "long" * 500]
    images = make_images(tmp_path, [0, 0, 1, 1, 2, 2], names)
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


def test_no_query_at_all_is_said(tmp_path: Path) -> None:
    images = make_images(tmp_path, [0, 1, 2])
    write_report(
        tmp_path / "r.html", images, [make_search(images)] * 2, title="T", table=TABLE,
        png=tmp_path / "r.png",
    )  # fmt: skip
    page = parse(tmp_path / "r.html")
    assert not page.all("article")
    assert not page.all("svg")
    with Image.open(tmp_path / "r.png") as image:
        assert image.width == WIDTH


def test_wrong_calls_are_refused(tmp_path: Path) -> None:
    images = make_images(tmp_path, [0, 0, 1, 1])
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
    template = (files("ram_cli.evaluation") / "templates" / "style.css.j2").read_text("utf-8")
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
