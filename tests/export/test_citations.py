"""Whom a card cites."""

import re

import pytest

from ram_cli.export.citations import CITATIONS, citations
from ram_cli.losses import LOSSES, METHODS


def keys(record) -> list[str]:
    return [re.match(r"@\w+\{(\w+),", entry).group(1) for entry in citations(record)]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({}, []),
        ({"command": "export"}, []),
        ({"command": "distill", "settings": {"method": "coupled"}}, ["suma2023large"]),
        (
            {"command": "distill", "settings": {"method": "rkd"}},
            ["budnik2021asymmetric", "park2019relational"],
        ),
        ({"command": "distill", "settings": {"method": "contrastive+"}}, ["budnik2021asymmetric"]),
        ({"command": "distill", "settings": {"method": "d3"}}, ["xie2024d3still"]),
        ({"command": "train", "settings": {"loss": "contrastive"}}, ["radenovic2018finetuning"]),
        ({"converted_from": "mobilenet-v2-gem-contr-vgg16"}, ["budnik2021asymmetric"]),
        ({"converted_from": "cub-448r-resnet50-512-gem-w.pth"}, ["suma2023large"]),
        ({"converted_from": "mine.pth"}, []),
    ],
)
def test_a_card_cites_the_method(record, expected):
    assert keys(record) == expected


def test_every_method_and_loss_has_a_citation():
    for name in METHODS:
        assert citations({"command": "distill", "settings": {"method": name}}), name
    for name in LOSSES:
        assert citations({"command": "train", "settings": {"loss": name}}), name


def test_entries_are_whole():
    for key, entry in CITATIONS.items():
        assert f"{{{key}," in entry
        assert entry.count("{") == entry.count("}")
        for field in ("title", "author", "year"):
            assert re.search(rf"^  {field} +=", entry, re.MULTILINE), (key, field)
