"""`ram compare` through the command line, on tiny networks."""

import csv
import json
import statistics
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ram_cli.engine.fit import Trainer

METRICS = ("asym_map", "asym_r1", "sym_map", "sym_r1")
COMPARE = [
    "compare", "--epochs", "1", "--images-per-epoch", "16", "--batch-size", "8",
    "--accumulate", "1", "--image-size", "32", "--lr", "1e-3", "--no-val", "--log-with", "none",
    "--checkpoint-minutes", "1e-5", "--workers", "0", "--precision", "fp32", "--device", "cpu",
]  # fmt: skip


class Killed(BaseException):
    """Stands for the end of the process: nothing in the program catches it."""


def table(folder: str) -> list[dict]:
    return json.loads(Path(folder, "table.json").read_text())["rows"]


def in_csv(folder: str) -> list[dict]:
    return list(csv.DictReader(Path(folder, "table.csv").read_text().splitlines()))


def of(rows: list[dict], label: str) -> dict:
    return next(row for row in rows if row["label"] == label)


@pytest.fixture
def words(teacher, images) -> list[str]:
    both = ["--teacher", str(teacher), "--student", str(teacher)]
    return [*COMPARE, *both, "--dataset", str(images)]


def test_landmarks_are_no_rows_of_a_comparison(call, words):
    code, out, err = call(*words, "--methods", "csd", "--test-datasets", "roxford5k,rparis6k")
    assert (code, out) == (2, "")
    assert "test_datasets: roxford5k, rparis6k: the table" in err
    assert "--student ram-compare/runs/METHOD-seedN --asym --dataset roxford5k" in err
    assert not Path("ram-compare").exists()


@pytest.fixture
def order(monkeypatch) -> list[str]:
    """What was done, in order: names of the image sets that were embedded, and trainings."""
    from ram_cli.recipes import compare, comparison, features

    done: list[str] = []

    def watched(module, name, word):
        real = getattr(module, name)

        def call(*args, **more):
            done.append(word(args))
            return real(*args, **more)

        monkeypatch.setattr(module, name, call)

    watched(compare, "run_distill", lambda args: "training")
    watched(features, "embed_images", lambda args: args[1].name)
    watched(comparison, "embed_sections", lambda args: args[1].name)
    watched(features, "embed_sections", lambda args: args[1].name)
    return done


def test_all_tables_say_the_same_of_every_method_and_of_the_teacher(words, call, order):
    code, out, err = call(
        *words, "--methods", "coupled,cosine-regression,contrastive", "--seeds", "1,2",
        "--set", "coupled.views=4", "--output", "there", "--json",
    )  # fmt: skip
    assert code == 0, err
    rows = table("there")
    assert json.loads(out)["rows"] == rows
    assert [row["label"] for row in rows[:2]] == ["teacher, queries of 48 px",
                                                  "teacher, queries of 32 px"]  # fmt: skip
    methods = rows[2:]
    assert {row["label"] for row in methods} == {"coupled", "cosine-regression", "contrastive"}
    found = [row["asym_map"] for row in methods]
    assert found == sorted(found, reverse=True)
    for row in methods:
        assert row["seeds"] == [1, 2]
        assert row["student_images"] == 16
        assert row["query_gmac"] == rows[1]["query_gmac"] < rows[0]["query_gmac"]
        assert row["query_ms"] > 0
        assert row["train_seconds"] > 0
        for name in METRICS:
            assert row[name] == statistics.fmean(row["by_seed"][name])
            assert row[f"{name}_std"] == statistics.stdev(row["by_seed"][name])
    written = in_csv("there")
    lines = Path("there/table.md").read_text().splitlines()
    in_markdown = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")][2:]
    for row, line, cells in zip(rows, written, in_markdown, strict=True):
        assert row["label"] == line["label"] == cells[0]
        for place, name in enumerate(METRICS, start=1):
            spread = row[f"{name}_std"]
            assert line[name] == f"{row[name]:.4f}"
            assert line[f"{name}_std"] == ("" if spread is None else f"{spread:.4f}")
            shown = f"{row[name]:.1f}" + ("" if spread is None else f" ± {spread:.1f}")
            assert cells[place] == shown
    chart = ElementTree.parse("there/chart.svg")
    words_in_chart = {text.text for text in chart.iter("{http://www.w3.org/2000/svg}text")}
    assert {row["label"] for row in methods} <= words_in_chart
    assert "<svg" in Path("there/index.html").read_text()
    # Nobody looks at test classes before the last training has ended.
    last = len(order) - 1 - order[::-1].index("training")
    assert order.count("training") == 6
    assert {name for name in order[:last] if name != "training"} == {"stripes/train_val"}
    assert set(order[last + 1 :]) == {"stripes/test"}


def test_the_tests_find_what_ram_test_finds(words, call):
    code, _, err = call(
        *words, "--methods", "regression", "--seeds", "5", "--output", "there"
    )  # fmt: skip
    assert code == 0, err
    code, out, err = call(
        "test", "--student", "there/runs/regression-seed5", "--asym", "--sym", "--workers", "0",
        "--precision", "fp32", "--json",
    )  # fmt: skip
    assert code == 0, err
    asym, sym = json.loads(out)["rows"][:2]
    row = of(table("there"), "regression")
    assert row["asym_map_std"] is None
    found = [row[name] for name in METRICS]
    assert found == pytest.approx(
        [asym["map"], asym["recall_at_1"], sym["map"], sym["recall_at_1"]], abs=1e-6
    )


def test_a_comparison_that_was_killed_goes_on_and_ends_with_the_same_numbers(
    words, call, monkeypatch, order
):
    words = [*words, "--seeds", "1,2", "--batch-size", "4"]
    methods = ["--methods", "csd,contrastive"]
    code, _, err = call(*words, *methods, "--output", "whole")
    assert code == 0, err
    step, taken = Trainer._optimiser_step, []

    def killing(trainer, *args):
        taken.append(trainer.run.path.name)
        if len(taken) == 7:  # inside the second training
            raise Killed
        return step(trainer, *args)

    monkeypatch.setattr(Trainer, "_optimiser_step", killing)
    with pytest.raises(Killed):
        call(*words, *methods, "--output", "killed")
    assert set(taken) == {"csd-seed1", "contrastive-seed1"}
    assert not Path("killed/table.json").exists()
    taken.clear()
    order.clear()
    monkeypatch.setattr(
        Trainer, "_optimiser_step", lambda *args: (taken.append(args[0].run.path.name), step(*args))
    )
    code, _, err = call(*words, *methods, "--output", "killed")
    assert code == 0, err
    assert order.count("training") == 3
    assert {name: taken.count(name) for name in dict.fromkeys(taken)} == {
        "contrastive-seed1": 2, "csd-seed2": 4, "contrastive-seed2": 4
    }  # fmt: skip
    before, after = table("whole"), table("killed")
    for label in ("csd", "contrastive"):
        for name in METRICS:
            assert of(before, label)["by_seed"][name] == of(after, label)["by_seed"][name]
    for run in Path("whole/runs").iterdir():
        weights = [Path(top, "runs", run.name, "final", "model.safetensors")
                   for top in ("whole", "killed")]  # fmt: skip
        assert weights[0].read_bytes() == weights[1].read_bytes()
    # Once more: nothing is trained, and nothing that was measured is measured again.
    taken.clear()
    order.clear()
    code, _, err = call(*words, *methods, "--output", "killed")
    assert code == 0, err
    assert (taken, order) == ([], [])
    assert table("killed") == after
    # A method more is trained alone.
    code, _, err = call(*words, "--methods", "csd,contrastive,ssp", "--output", "killed")
    assert code == 0, err
    assert set(taken) == {"ssp-seed1", "ssp-seed2"}


def test_a_method_that_fails_is_a_marked_row_and_the_others_go_on(words, call):
    words = [
        *words,
        "--methods",
        "contrastive,d3",
        "--seeds",
        "1,2",
        "--set",
        "contrastive.lr=1e38",
    ]
    code, out, err = call(*words, "--output", "there")
    assert code == 1
    assert "contrastive, seed 2" in err.splitlines()[-1]
    assert "contrastive (failed: seed 1, 2)" in out
    rows = table("there")
    assert rows[-1]["label"] == "contrastive"
    assert set(rows[-1]["failures"]) == {"1", "2"}
    assert rows[-1]["asym_map"] is None
    assert of(rows, "d3")["seeds"] == [1, 2]
    assert of(rows, "d3")["failures"] == {}
    last = in_csv("there")[-1]
    assert (last["label"], last["failed_seeds"]) == ("contrastive", "1 2")
    markdown = Path("there/table.md").read_text()
    assert "| contrastive (failed: seed 1, 2) | – |" in markdown
    assert "* contrastive, seed 1:" in markdown
    ElementTree.parse("there/chart.svg")


def test_equal_budget_is_counted_in_views_or_in_images(words, call):
    words = [
        *words, "--methods", "coupled,wide,regression", "--set", "wide.method=csd,wide.views=2",
        "--set", "coupled.views=4", "--seeds", "3",
    ]  # fmt: skip
    code, _, err = call(*words, "--output", "views")
    assert code == 0, err
    assert [row["student_images"] for row in table("views")[2:]] == [16, 16, 16]
    assert _batches("views") == {"coupled": (2, 4), "wide": (4, 8), "regression": (8, 16)}
    code, _, err = call(*words, "--budget", "steps", "--output", "steps")
    assert code == 0, err
    rows = table("steps")
    seen = {label: of(rows, label)["student_images"] for label in ("coupled", "wide", "regression")}
    assert seen == {"coupled": 64, "wide": 32, "regression": 16}
    assert set(_batches("steps").values()) == {(8, 16)}
    # What was begun under one budget is not mixed with another.
    code, _, err = call(*words, "--budget", "steps", "--output", "views")
    assert code == 2
    assert "error: batch_size: 8 here" in err


def _batches(folder: str) -> dict[str, tuple[int, int]]:
    found = {}
    for path in Path(folder, "runs").glob("*/config.toml"):
        told = tomllib.loads(path.read_text())["distill"]
        found[path.parent.name.partition("-seed")[0]] = (
            told["batch_size"], told["images_per_epoch"]
        )  # fmt: skip
    return found


def test_settings_of_one_method_come_from_a_file_or_from_flags(words, call):
    Path("mine.toml").write_text(
        '[compare]\nmethods = ["csd", "d3"]\n[compare.d3]\nneighbours = 5\n'
        "[compare.csd]\nneighbours = 7\nteacher-temperature = 0.02\n"
    )
    code, _, err = call(
        *words, "--config", "mine.toml", "--seeds", "1", "--output", "there", "--set",
        "csd.neighbours=9",
    )  # fmt: skip
    assert code == 0, err
    told = {
        name: tomllib.loads(Path(f"there/runs/{name}-seed1/config.toml").read_text())["distill"]
        for name in ("csd", "d3")
    }
    assert told["csd"]["neighbours"] == 9
    assert told["csd"]["teacher_temperature"] == 0.02
    assert (told["d3"]["neighbours"], told["d3"]["teacher_temperature"]) == (5, "auto")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--methods", "cupled"], "coupled"),
        (["--methods", "csd,csd"], "csd twice"),
        (["--seeds", "1,1"], "--seeds"),
        (["--methods", "csd", "--set", "d3.neighbours=4"], "d3 is not among --methods"),
        (["--methods", "csd", "--set", "csd.nieghbours=4"], "neighbours"),
        (["--methods", "csd", "--set", "csd.temperature=4"], "student_temperature"),
        (["--methods", "csd", "--set", "csd.epochs=4"], "the same for all methods"),
        (["--methods", "csd", "--set", "csd.neighbours=1"], "neighbours"),
        (["--methods", "csd", "--set", "neighbours"], "METHOD.NAME=VALUE"),
        (["--methods", "coupled", "--batch-size", "12"], "--batch-size 16"),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_is_opened(words, call, more, told):
    code, out, err = call(*words, "--teacher", "nowhere", *more, "--output", "there")
    assert code == 2
    assert told in err
    assert out == ""
    assert not Path("there").exists()
