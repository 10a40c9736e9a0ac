"""Cards: what they say, only what is known, and names that try to be more than text."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from ram_cli.errors import CheckpointError
from ram_cli.evaluation.cost import QueryCost
from ram_cli.export import (
    CardFacts,
    Graphs,
    Reference,
    Results,
    card,
    read_results,
    save_results,
)
from ram_cli.export.markdown import inline
from ram_cli.models import EmbedderConfig

CONFIG = EmbedderConfig(
    backbone="timm:test_resnet",
    pooling="gem",
    dimension=8,
    projection=True,
    input_size=32,
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.2, 0.2),
    network_size=32,
)
ROW = {
    "dataset": "birds/test", "label": "student 32 → teacher 64", "query": "student",
    "gallery": "teacher", "map": 58.123, "recall_at_1": 71.4, "recall_at_8": 93.1,
    "map_at_1": 12.0, "queries": 800, "query_gmac": 0.0561, "query_size": 32, "gallery_size": 64,
}  # fmt: skip
LANDMARKS = {
    "dataset": "roxford5k", "label": "a", "query": "student",
    "map": None, "precision_at_1": 50.0, "recall_at_1": 49.0, "protocol": "Hard",
    "queries": 70, "scales": [1.0, 0.7],
}  # fmt: skip
RECORD = {
    "command": "distill",
    "dataset": {"name": "birds"},
    "settings": {
        "method": "coupled",
        "lambda_ts": 0.7,
        "lr": 1e-4,
        "negatives": 5,
        "comment": "c",
        "precision": "auto",
    },
    "metrics": {"mAP": 41.23, "score": 0.4},
    "teacher": {"name": "someone/t@" + 40 * "a"},
}


def facts(**changes: Any) -> CardFacts:
    known: dict[str, Any] = {
        "name": "my-student",
        "reference": "someone/my-student",
        "config": CONFIG,
        "record": RECORD,
        "cost": QueryCost(size=32, parameters=1_234_567, gmac=0.0561, milliseconds=4.5),
        "machine": "Some CPU, 2 threads",
    }
    return CardFacts(**known | changes)


def parsed(text: str) -> tuple[dict[str, Any], str]:
    _, metadata, body = text.split("---\n", 2)
    return yaml.safe_load(metadata), body


def test_a_card_says_what_is_known() -> None:
    ceiling = ROW | {"query": "teacher", "label": "ceiling", "map": 80.0, "query_gmac": 0.3366}
    results = Results("h", [ceiling, ROW, LANDMARKS], ["by A & B"])
    teacher = Reference.on_hub("someone/t@v1")
    text = card(facts(results=results, teacher=teacher, picture=True, licence="apache-2.0"))
    metadata, body = parsed(text)
    assert metadata["license"] == "apache-2.0"
    assert metadata["base_model"] == "someone/t"
    assert metadata["library_name"] == "ram-cli"
    values = {
        (result["dataset"]["type"], metric["type"]): metric["value"]
        for result in metadata["model-index"][0]["results"]
        for metric in result["metrics"]
    }
    assert values == {
        ("birds/test", "map"): 58.12,
        ("birds/test", "recall_at_1"): 71.4,
        ("birds/test", "recall_at_8"): 93.1,
        ("roxford5k", "precision_at_1"): 50.0,
    }
    for part in (
        "| birds/test | ceiling | 80.0 |",
        "| birds/test | student 32 → teacher 64 | 58.1 | 71.4 | 93.1 | 0.056 |",
        "| roxford5k | a, Hard, 2 scales | 50.0 | – |",
        "800 queries.", "1.23 M", "0.056 GMAC, 4.5 ms", "Some CPU, 2 threads", "mAP | 41.2",
        "lambda ts | 0.7", "(retrievals.png)", "by A &amp; B", "/someone/t/tree/v1)",
        'load_model("someone/my-student")', "[1, 2]", "costs 6.0 times less than by the teacher",
        "student 32 → teacher 64: the student embeds the queries at 32 pixels, the teacher the",
    ):  # fmt: skip
        assert part in body, part
    assert "negatives" not in body
    assert "precision |" not in body
    assert metadata["tags"] == [
        "image-retrieval", "asymmetric-retrieval", "knowledge-distillation", "ram",
    ]  # fmt: skip
    assert "validation score" not in body
    assert ModelCard(text).data.eval_results


def test_a_teacher_is_shown_at_work_with_its_student() -> None:
    student = Reference.on_hub("someone/s")
    _, body = parsed(card(facts(record={}, student=student, whitening="its own")))
    for part in (
        'teacher = ram_cli.load_model("someone/my-student")',
        'student = ram_cli.load_model("someone/s")',
        "--student someone/s --teacher someone/my-student --asym",
        "| whitening | its own, applied by `embed(…, whitening=True)` and",
    ):
        assert part in body, part
    assert "| whitening" not in parsed(card(facts()))[1]


def test_an_input_is_described_in_full() -> None:
    _, body = parsed(card(facts(config=replace(CONFIG, fit="crop"))))
    assert "| input | RGB, 32 px, centre crops |" in body
    assert "| normalisation | mean 0.5, 0.4, 0.3; std 0.2 |" in body
    _, body = parsed(card(facts(config=replace(CONFIG, fit="whole"), whitening="its own")))
    assert "| input | RGB, whole images of at most 32 px on the longer side |" in body
    assert "its own, applied by `embed` and `ram test --whiten`" in body


def test_nothing_is_claimed_that_is_not_known() -> None:
    metadata, body = parsed(card(facts(record={})))
    assert metadata.keys() == {"library_name", "pipeline_tag", "tags"}
    assert metadata["tags"] == ["image-retrieval", "ram"]
    assert "None is stated." in body
    for heading in ("## Results", "## Training", "teacher"):
        assert heading not in body
    metadata, body = parsed(card(facts()))
    assert "base_model" not in metadata
    assert "times less" not in body
    assert "someone/t@aaaa" in body


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        "a\n---\nlicense: mit\n# b",
        "x | y | z",
        "[click](javascript:alert(1))",
        "**bold** `code` ~~gone~~ ![i](u)",
        "# heading",
        '": {"',
        "‮evil​\x00",
        "- item",
        "7. item",
    ],
)
def test_names_stay_text(name: str) -> None:
    row = ROW | {"dataset": name, "label": name}
    record = RECORD | {"dataset": {"name": name}, "teacher": {"name": name}}
    plain, _ = parsed(card(facts(results=Results("h", [ROW]))))
    text = card(
        facts(
            name=name, reference=name, record=record, results=Results("h", [row]), machine=name
        )
    )  # fmt: skip
    metadata, body = parsed(text)
    assert metadata.keys() == plain.keys()
    assert len(metadata["model-index"]) == 1
    assert "<" not in body.replace("<br>", "")
    assert not re.search(r"(?<!\\)\[[^\]]*\]\((?!retrievals)", body)
    assert [line.count(" | ") for line in body.splitlines() if line.startswith("| ")] == [
        line.count(" | ")
        for line in parsed(card(facts(results=Results("h", [ROW]))))[1].splitlines()
        if line.startswith("| ")
    ]
    assert not any(ord(character) < 32 and character != "\n" for character in text)


def test_numbers_are_not_escaped() -> None:
    assert [inline(text) for text in ("0.7", "1e-06", "-3", "-", "7.", "12. a")] == [
        "0.7", "1e-06", "-3", "\\-", "7\\.", "12\\. a",
    ]  # fmt: skip


def test_results_are_of_one_model_and_the_newest(tmp_path: Path) -> None:
    first = read_results(tmp_path, "h")
    assert first.rows == []
    save_results(tmp_path, first.with_rows([ROW, LANDMARKS], ["a"]))
    again = read_results(tmp_path, "h").with_rows([ROW | {"map": 1.0}], [])
    assert [row["map"] for row in again.rows] == [None, 1.0]
    assert again.credits == ["a"]
    assert read_results(tmp_path, "other").rows == []


@pytest.mark.parametrize("content", ["{", "[]", '{"format": "x"}', "[" * 100_000])
def test_damaged_results_are_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"results\.json"):
        read_results(tmp_path, "h")
    known = {"format": "ram-results", "model": "h", "rows": [1], "credits": []}
    (tmp_path / "results.json").write_text(json.dumps(known))
    with pytest.raises(CheckpointError, match="rows"):
        read_results(tmp_path, "h")


def test_graphs_are_described() -> None:
    graph = Graphs(("model.onnx",), False, 32, True, 8, 3.7e-07)
    _, body = parsed(card(facts(graphs=graph)))
    for part in (
        "## ONNX\n\n`model.onnx`:", "float32 `[B, 3, H, W]`", "float32 `[B, 8]`",
        "made for 32 × 32", "by 3.7e-07 at most",
    ):  # fmt: skip
        assert part in body, part
    assert "int8" not in body
    files, small = ("model.onnx", "model.onnx.data"), ("model.int8.onnx",)
    losses = (("symmetric", 57.31, 56.9), ("asymmetric", 58.9, 58.55))
    graph = Graphs(files, True, 32, False, 8, 1e-6, small, "800 images of a|b", losses)
    _, body = parsed(card(facts(graphs=graph)))
    for part in (
        "`model.onnx` and `model.onnx.data`:", "uint8 `[B, 32, 32, 3]`", "`model.int8.onnx`:",
        "| mAP on 800 images of a\\|b | float | int8 |", "| symmetric | 57.3 | 56.9 |",
    ):  # fmt: skip
        assert part in body, part
    assert "made for" not in body
