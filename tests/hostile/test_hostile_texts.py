"""Names that strangers gave, wherever `ram` shows or writes them: thousands, as no command is run.

A page, table or card with such a name has the very structure of one with a plain name.
"""

import csv
import io
import json
import re
from contextlib import redirect_stdout
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from guard import fuzz, refused_or_fine
from hypothesis import given
from names import CONTROL, EVERY_NAME, NAME
from PIL import Image

from ram_cli.cli.console import ConsoleReporter, show
from ram_cli.datasets import Dataset, ImageSet, read_manifest, write_manifest
from ram_cli.errors import UnreadableImageError
from ram_cli.evaluation import label_metrics
from ram_cli.evaluation.cost import QueryCost
from ram_cli.evaluation.report import Search, clean, write_report
from ram_cli.export import CardFacts, Reference, Results, card
from ram_cli.files import write_text
from ram_cli.models import EmbedderConfig
from ram_cli.progress import TableData
from ram_cli.recipes.common import choose_run_folder
from ram_cli.recipes.compare_results import CompareRow
from ram_cli.recipes.compare_table import write_tables
from ram_cli.recipes.prepared import prepared_folder
from ram_cli.settings import DistillSettings
from ram_cli.settings.sources import RUNS, read_document

PLAIN = "plain"
MARKUP = [
    *(re.compile(rf"(?<!\\)(?:\\\\)*{mark}") for mark in (r"\]\(", r"!\[", r"\|", "`")),
    *(re.compile(mark, re.MULTILINE) for mark in ("<", "^#", "^```", "^- ")),
]
"""What Markdown obeys unless a backslash stands before it, and what it always obeys."""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("texts")


class Structure(HTMLParser):
    """Tags of a page with the names of their attributes, and nothing of their values."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[object] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs) -> None:
        self.found.append((tag, [name for name, _ in attrs]))

    def handle_endtag(self, tag) -> None:
        self.found.append(tag)

    def handle_comment(self, data) -> None:
        self.found.append("comment")


@dataclass
class Named:
    """A report in which everything has the name."""

    name: str

    def to_json(self):
        return {self.name: self.name, "list": [self.name]}

    def tables(self):
        return [TableData(self.name, [self.name, "n"], [[self.name, self.name]], numeric={1})]

    def notes(self):
        return [f"model: {self.name}"]


def printed(name: str, *, as_json: bool) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    reporter = ConsoleReporter(err)
    with redirect_stdout(out):
        show(Named(name), as_json=as_json, reporter=reporter)
    reporter.warn(str(UnreadableImageError(f"a/{name}", name)))
    with reporter.task(name, 2) as task:
        task.advance(2, **{name: 1.0, "other": name})
    return out.getvalue(), err.getvalue()


@fuzz(6)
@given(EVERY_NAME)
def test_on_a_terminal(name):
    out, err = printed(name, as_json=False)
    assert not CONTROL.search(out + err)
    assert len(out.splitlines()) == 4
    warnings = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    out, err = printed(name, as_json=True)
    assert not CONTROL.search(out + err)
    assert json.loads(out) == Named(name).to_json()


@pytest.fixture(scope="module")
def files(place) -> tuple[Path, ...]:
    pixels = np.random.default_rng(0)
    for number in range(4):
        picture = Image.fromarray(pixels.integers(0, 255, (24, 20, 3), dtype=np.uint8))
        picture.save(place / f"{number}.png")
    return tuple(place / f"{number}.png" for number in range(4))


def report(place: Path, files: tuple[Path, ...], name: str) -> str:
    images = ImageSet(
        name, place, tuple(f"{name}/{n}" for n in range(4)), np.array([0, 0, 1, 1]),
        (name, f"{name}2"), files=files,
    )  # fmt: skip
    vectors = torch.eye(4)[:, :3] + 0.1
    metrics = label_metrics(vectors, vectors, images.labels, images.labels, (1,), same_set=True)
    search = Search(name, vectors, vectors, 16, metrics)
    table = TableData(name, [name], [[name]])
    page = place / "page.html"
    write_report(page, images, [search], title=name, table=table, notes=[name], credits=[name])
    return page.read_text("utf-8")


@fuzz(2)
@given(EVERY_NAME)
def test_in_a_report(place, files, name):
    page = report(place, files, name)
    assert not CONTROL.search(page)
    assert Structure(page).found == Structure(report(place, files, PLAIN)).found


@fuzz(6)
@given(EVERY_NAME)
def test_in_a_settings_file(place, name):
    settings = DistillSettings.settled({"teacher": "t", "dataset": "d"})
    settings = settings.model_copy(update={"dataset": name, "comment": name, "teacher": name})
    path = place / "config.toml"
    path.unlink(missing_ok=True)
    with refused_or_fine(place) as said:
        write_text(path, settings.to_toml())
    assert bool(said) == any("\ud800" <= letter <= "\udfff" for letter in name)
    if not said:
        table = read_document(path)[settings.table]
        assert {table[key] for key in ("dataset", "comment", "teacher")} == {name}
    run = choose_run_folder(settings, None, name, name).path
    assert (run.parent, run.name[:8]) == (RUNS, "distill-")
    assert len(run.name.encode("utf-8", "surrogateescape")) < 250


@fuzz(4)
@given(NAME, EVERY_NAME)
def test_in_a_manifest(place, folder, name):
    def part(split: str, label: int) -> ImageSet:
        return ImageSet(
            f"{folder}/{split}", place, (f"{name}/{split}",), np.array([label]), (name, "b", "c")
        )

    train, val, test = (part(split, at) for at, split in enumerate(("train", "val", "test")))
    dataset = Dataset(folder, place, train, val, test, "0" * 64, skipped=(name,))
    with refused_or_fine(place):
        write_manifest(dataset, place / "manifest.json")
    found = read_manifest(place / "manifest.json")
    assert (found.name, found.skipped) == (folder, (name,))
    assert [images.paths for images in found.splits.values()] == [
        (f"{name}/{split}",) for split in found.splits
    ]
    assert found.train.class_names[0] == name
    kept = prepared_folder(place, dataset)
    kept.mkdir(parents=True, exist_ok=True)
    assert kept.resolve().parent == place.resolve() / "prepared"


def model_card(name: str) -> tuple[object, str]:
    row = {"dataset": name, "label": name, "query": "student", "map": 50.0, "whitening": name}
    facts = CardFacts(
        name=name,
        reference=name,
        config=EmbedderConfig(
            "timm:test_resnet", "gem", 8, True, 32, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2), 32
        ),
        record={
            "command": "distill",
            "dataset": {"name": name},
            "settings": {"method": "coupled", "fit": name, "seed": name},
            "teacher": {"name": name},
        },
        cost=QueryCost(32, 1000, 0.1, 1.0),
        machine=name,
        results=Results("", [row], [name]),
        picture=True,
        licence=name,
        teacher=Reference(name, "https://example.org"),
    )
    _, metadata, body = re.split(r"^---\n", card(facts), maxsplit=2, flags=re.MULTILINE)
    return yaml.safe_load(metadata), body


def shape(value: object) -> object:
    """Keys and lengths of nested values."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value)


@fuzz(4)
@given(EVERY_NAME.filter(lambda name: clean(name)))
def test_on_a_model_card(name):
    metadata, body = model_card(name)
    plain, page = model_card(PLAIN)
    assert shape(metadata) == shape(plain)
    assert metadata["model-index"][0]["name"] == clean(name)
    assert not CONTROL.search(body)
    assert len(body.splitlines()) == len(page.splitlines())
    for markup in MARKUP:
        found, wanted = (len(markup.findall(text)) for text in (body, page))
        assert found == wanted, markup


def comparison(place: Path, name: str) -> dict[str, str]:
    values = {"asym_map": [50.0, 51.0], "sym_map": [40.0, 41.0]}
    rows = [
        CompareRow(name, "teacher", values),
        CompareRow(name, name, values, (1, 2)),
        CompareRow(name, "coupled", values, (1,), failures={2: name}),
    ]
    summary = {
        "budget": "images", "seeds": [1, 2], "epochs": 1, "student": name, "teacher": name,
        "trained on": name, "per epoch": 5, "batch": 4, "lr": 0.1,
    }  # fmt: skip
    names = ("table.csv", "table.md", "index.html", "chart.svg", "table.json")
    write_tables(place, rows, summary, {})
    return {name: (place / name).read_text("utf-8") for name in names}


@fuzz(4)
@given(EVERY_NAME)
def test_in_a_comparison(place, name):
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        return  # no settings file names it, so nothing was trained
    texts, plain = comparison(place, name), comparison(place, PLAIN)
    for file in ("table.csv", "table.md", "index.html", "chart.svg"):
        assert not CONTROL.search(texts[file]), file
    for file in ("index.html", "chart.svg"):
        assert Structure(texts[file]).found == Structure(plain[file]).found
    assert len(texts["table.md"].splitlines()) == len(plain["table.md"].splitlines())
    assert "<" not in texts["table.md"]
    rows = list(csv.reader(io.StringIO(texts["table.csv"])))
    assert [len(row) for row in rows] == [len(rows[0])] * 4
    assert json.loads(texts["table.json"])["rows"][0]["dataset"] == name
