"""Image sets and searches for the tests of the report, and a reader of its pages."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ram_cli.datasets import ImageSet
from ram_cli.evaluation import label_metrics
from ram_cli.evaluation.report import Search
from ram_cli.progress import TableData

TABLE = TableData("Figures", ["search", "mAP"], [["before", "12.3"], ["after", "45.6"]], {1})
VOID = {"meta", "img"}


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


def make_images(folder: Path, labels: list[int], names: list[str] | None = None) -> ImageSet:
    """Write one picture of coloured blocks per label."""
    root = folder / "images"
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
