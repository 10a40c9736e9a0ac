"""Which queries the report shows, and in which order what they found."""

from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from report_pages import TABLE, make_images, make_search, parse, shown_ranks

from ram_cli.evaluation.report import points, write_report
from ram_cli.evaluation.report_queries import choose_places


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


def test_queries_go_from_the_largest_gain_to_the_largest_loss(tmp_path: Path) -> None:
    images = make_images(tmp_path, [0, 1, 2, 3, 4, 5, 6, 7] * 3)
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


def test_queries_without_positives_are_left_out(tmp_path: Path) -> None:
    images = make_images(tmp_path, [0, 1, 0, 2, 1])
    write_report(tmp_path / "r.html", images, [make_search(images)], title="T", table=TABLE)
    headings = [a.all("h2")[0].text() for a in parse(tmp_path / "r.html").all("article")]
    assert sorted(headings) == ["class 0", "class 1"]


def test_ties_keep_the_order_of_the_images(tmp_path: Path) -> None:
    images = make_images(tmp_path, [0, 1] * 6)
    same = torch.randn(1, 37, generator=torch.Generator().manual_seed(4)).expand(12, -1)
    search = make_search(images, vectors=(same, same))
    write_report(tmp_path / "r.html", images, [search], title="T", table=TABLE, top=11)
    for article in parse(tmp_path / "r.html").all("article"):
        query = article.all("figure")[0].all("img")[0].attributes["title"]
        shown = [path for _, path in shown_ranks(article)[0]]
        assert shown == [path for path in images.paths if path != query]
