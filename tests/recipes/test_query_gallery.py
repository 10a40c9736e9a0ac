"""A test in which query images search the images of the gallery, and nothing else."""

import json
import re
from dataclasses import replace

import pytest
import torch
from inshop_maker import write_inshop

from ram_cli.datasets import DATASETS, Counts, load_dataset
from ram_cli.evaluation.extract import embed_images
from ram_cli.models import load_model
from ram_cli.progress import SILENT
from ram_cli.recipes.common import open_runtime
from ram_cli.settings import TestSettings


@pytest.fixture
def inshop(monkeypatch, empty_folder):
    made = replace(DATASETS["inshop"], train_val=Counts(4, 12), test=Counts(3, 9), queries=3)
    monkeypatch.setitem(DATASETS, "inshop", made)
    return write_inshop(empty_folder / "data" / "inshop")


def test_queries_search_the_gallery_only(call, inshop, teacher, empty_folder):
    words = ["--device", "cpu", "--precision", "fp32", "--workers", "0", "--ks", "1"]
    code, out, err = call(
        "test", "--student", teacher, "--dataset", "inshop-test", *words, "--json",
        "--report", "page.html",
    )  # fmt: skip
    assert code == 0, err
    (row,) = json.loads(out)["rows"]
    assert (row["dataset"], row["queries"]) == ("inshop/test", 3)
    page = (empty_folder / "page.html").read_text()
    assert "3 queries in a gallery of 6 images, 3 classes" in page
    assert page.count("2 images of this class in the gallery") == 3
    # Of 6 images each query finds, none is a query.
    assert page.count('<li class="correct"') == 6
    assert page.count('<li class="wrong"') == 12
    assert not re.search(r'<li class="\w+" title="[^"]*_query', page)
    (ap,) = re.findall(r'<b class="numbers">([\d.]+) %', page)
    assert float(ap) == pytest.approx(row["map"], abs=0.06)

    images = load_dataset("inshop", empty_folder / "data").test
    settings = TestSettings.load(student=str(teacher), device="cpu", precision="fp32")
    vectors = embed_images(
        load_model(teacher / "best"), images, runtime=open_runtime(settings, SILENT)
    )
    found = []
    for query in range(9):
        if not images.queries[query]:
            continue
        gallery = [index for index in range(9) if not images.queries[index]]
        scores = torch.stack([vectors[query] @ vectors[index] for index in gallery])
        best = gallery[int(scores.argmax())]
        found.append(images.labels[best] == images.labels[query])
    assert row["recall_at_1"] == pytest.approx(100 * sum(found) / 3)


def test_validation_has_no_queries_apart(call, inshop, teacher):
    code, out, err = call(
        "test", "--student", teacher, "--dataset", "inshop", "--split", "val", "--json",
        "--device", "cpu", "--workers", "0",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["rows"][0]["queries"] == 6
