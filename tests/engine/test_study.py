"""Trials are shared, never made twice, and never lost."""

import multiprocessing
import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from ram_cli.engine import study_storage
from ram_cli.engine.study import Pruning, Study
from ram_cli.engine.study_draws import Span
from ram_cli.errors import OutputError

SPANS = {"lr": Span(1e-4, 2e-4, log=True), "lambda_ts": Span(0.6, 0.8)}
GIVEN = {"lr": 1.4e-4, "lambda_ts": 0.7}


def opened(folder: Path, **more) -> Study:
    return Study(folder, SPANS, GIVEN, **{"seed": 7, **more})


def drawn(study: Study, most: int) -> list[dict[str, float]]:
    """Make trials that score by their learning rate until there are `most`."""
    values = []
    while True:
        with study.next_trial(most) as trial:
            if trial is None:
                return values
            values.append(trial.values)
            trial.complete(1e4 * trial.values["lr"])


def test_the_first_trial_is_the_given_one_and_draws_repeat_by_seed(tmp_path):
    first = drawn(opened(tmp_path / "a"), 14)
    assert first[0] == GIVEN
    assert len({values["lr"] for values in first}) == 14
    for values in first:
        assert 1e-4 <= values["lr"] <= 2e-4
        assert 0.6 <= values["lambda_ts"] <= 0.8
    places = [(v["lambda_ts"] - 0.6) / 0.2 for v in first[1:9]]
    lrs = [(v["lr"] - 1e-4) / 1e-4 for v in first[1:9]]
    assert max(abs(a - b) for a, b in zip(places, lrs, strict=True)) > 0.2, "one draw for all"
    again = opened(tmp_path / "b")
    assert drawn(again, 5) + drawn(opened(tmp_path / "b"), 14) == first
    assert drawn(opened(tmp_path / "c", seed=8), 3)[1:] != first[1:3]


def test_a_trial_that_is_held_is_not_given_to_another(tmp_path):
    one, two = opened(tmp_path), opened(tmp_path)
    with one.next_trial(2) as first, two.next_trial(2) as second, one.next_trial(2) as third:
        assert (first.number, second.number, third) == (0, 1, None)
        assert two.running_here() == [0, 1]


def _report_and_hang(folder: Path) -> None:
    with opened(folder).next_trial(3) as trial:
        trial.report(1, 40.0)
        (folder / "reported").touch()
        time.sleep(600)


def _wait(file: Path) -> None:
    while not file.exists():
        time.sleep(0.01)


def test_a_trial_whose_process_was_killed_goes_on(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=_report_and_hang, args=(tmp_path,))
    process.start()
    _wait(tmp_path / "reported")
    study = opened(tmp_path)
    with study.next_trial(3) as trial:
        assert trial.number == 1
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    for number in (0, 1):  # the second one was left by this very process, without a result
        with study.next_trial(3) as trial:
            assert (trial.number, trial.resumed) == (number, True)
            trial.report(1, 40.0)
            trial.complete(50.0)
    records = study.records()
    assert [(r.state, r.score, r.epochs) for r in records] == [("complete", 50.0, 1)] * 2
    assert records[0].values == GIVEN


def _lock_and_hang(folder: Path) -> None:
    backend = study_storage._backend(folder / "study.journal")
    backend._lock.acquire()
    (folder / "locked").touch()
    time.sleep(600)


def test_a_killed_writer_neither_blocks_nor_spoils_the_journal(tmp_path):
    drawn(opened(tmp_path), 1)
    process = multiprocessing.get_context("fork").Process(target=_lock_and_hang, args=(tmp_path,))
    process.start()
    _wait(tmp_path / "locked")
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with (tmp_path / "study.journal").open("ab") as journal:
        journal.write(b'{"op_code":6,"trial_')
    started = time.monotonic()
    assert len(drawn(opened(tmp_path), 2)) == 1
    assert time.monotonic() - started < 20
    assert [r.state for r in opened(tmp_path).records()] == ["complete"] * 2


def test_a_hopeless_trial_ends_early_only_where_pruning_says(tmp_path):
    def verdicts(folder: Path, pruning: Pruning | None) -> list[bool]:
        study = opened(folder, pruning=pruning)
        for score in (50.0, 40.0):
            with study.next_trial(9) as trial:
                trial.report(1, score)
                trial.report(2, score)
                trial.complete(score)
        with study.next_trial(9) as trial:
            told = [trial.report(1, 10.0), trial.report(2, 10.0)]
            trial.prune()
        assert study.records()[2].state == "pruned"
        return told

    assert verdicts(tmp_path / "a", Pruning(50, after=2, warmup=0)) == [True, True]
    assert verdicts(tmp_path / "b", Pruning(50, after=2, warmup=2)) == [False, True]
    assert verdicts(tmp_path / "c", Pruning(50, after=3, warmup=0)) == [False, False]
    assert verdicts(tmp_path / "d", None) == [False, False]


def test_two_folders_share_a_database_and_a_silent_trial_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(study_storage, "GRACE_SECONDS", 2)
    url = f"sqlite:///{tmp_path / 'study.db'}"
    here, there = opened(tmp_path / "a", storage=url), opened(tmp_path / "b", storage=url)
    with here.next_trial(2) as first:
        pass  # left without a result, as by a kill
    with there.next_trial(2) as second:
        assert second.number == 1, "it may still be at work in its own folder"
        second.complete(1.0)
    assert first.number == 0
    deadline = time.monotonic() + 30
    retried = None
    while retried is None and time.monotonic() < deadline:
        time.sleep(0.5)
        with there.next_trial(2) as retried:
            if retried is not None:
                assert retried.values == GIVEN
                retried.complete(2.0)
    assert [record.state for record in there.records()] == ["failed", "complete", "complete"]


def test_a_storage_that_cannot_be_used_is_one_line_without_its_password(tmp_path):
    (tmp_path / "text").write_text("no database\n" * 100)
    for url in (
        f"sqlite:///{tmp_path / 'nowhere' / 'study.db'}",
        f"sqlite:///{tmp_path / 'text'}",
        "postgresql://me:secret@127.0.0.1:1/study",
        "nonsense",
        "nosuch://me:secret@host/x",
    ):
        with pytest.raises(OutputError) as refused:
            opened(tmp_path / "study", storage=url)
        assert "secret" not in str(refused.value)
        assert "\n" not in str(refused.value)


def test_a_journal_that_is_none_is_refused(tmp_path):
    (tmp_path / "study.journal").write_text("hello\nworld\n")
    with pytest.raises(OutputError, match="study"):
        opened(tmp_path)


def test_a_foreign_database_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "other.db") as database:
        database.execute("create table studies (name text)")
    database.close()
    with pytest.raises(OutputError, match=r"other\.db"):
        opened(tmp_path / "study", storage=f"sqlite:///{tmp_path / 'other.db'}")
