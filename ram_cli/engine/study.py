"""A study: trials of settings that several processes share, none made twice, none lost."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial, TrialState

from ram_cli.datasets.locking import held, try_hold
from ram_cli.engine.study_draws import Draws, Span
from ram_cli.engine.study_storage import heartbeat, open_storage, reaching
from ram_cli.files import write_text

JOURNAL = "study.journal"
TRIALS = "trials"
_PLACE_FILE = "place"
_PLACE, _REASON = "place", "reason"

State = Literal["running", "complete", "pruned", "failed", "waiting"]
_STATES: dict[TrialState, State] = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.WAITING: "waiting",
}


@dataclass(frozen=True, slots=True)
class Pruning:
    """When a trial ends early.

    Attributes:
        percent: Share of the trials that go on, by their best score up to the same epoch.
        after: Trials that must be complete before.
        warmup: Epochs that no trial ends in early.
    """

    percent: float = 50.0
    after: int = 3
    warmup: int = 5


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """What is known of a trial.

    Attributes:
        number: Counted from 0 over the whole study.
        state: How far it has come.
        values: Its settings; fewer than all where it was killed before it had begun.
        score: Of its last epoch, if complete, else of the last epoch it reported; None before.
        epochs: Epochs that reported a score, the last one's number.
        reason: Why it failed.
    """

    number: int
    state: State
    values: Mapping[str, float]
    score: float | None
    epochs: int
    reason: str = ""


class Study:
    """Trials in a folder, one run folder each, and the record of them.

    Args:
        folder: Of the study.
        spans: What to search, by setting.
        given: Values of the first trial, inside the spans.
        seed: Start of the draws.
        pruning: When a trial ends early; None never.
        storage: Address of a database; None keeps a journal in the folder.
        name: Of the study in the database.

    Raises:
        OutputError: The storage cannot be used, or the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        spans: Mapping[str, Span],
        given: Mapping[str, float],
        *,
        seed: int,
        pruning: Pruning | None = None,
        storage: str | None = None,
        name: str = "ram-tune",
    ) -> None:
        self.folder, self.spans, self._name = folder, spans, storage or str(folder / JOURNAL)
        self._place = _place_of(folder)
        self._storage = open_storage(folder / JOURNAL, storage)
        pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
        if pruning is not None:
            pruner = optuna.pruners.PercentilePruner(
                pruning.percent, n_startup_trials=pruning.after, n_warmup_steps=pruning.warmup
            )
        with reaching(self._name):
            self._study = optuna.create_study(
                storage=self._storage,
                sampler=Draws(seed, given),
                pruner=pruner,
                study_name=name,
                direction="maximize",
                load_if_exists=True,
            )

    def facts(self, new: Mapping[str, Any]) -> dict[str, Any]:
        """What the study was begun with; `new`, if nothing was."""
        with held(self.folder / ".lock", lambda: None), reaching(self._name):
            found = self._study.user_attrs.get("facts")
            if found is None:
                self._study.set_user_attr("facts", dict(new))
                found = dict(new)
        return dict(found)

    def records(self) -> list[TrialRecord]:
        """All trials, in the order of their numbers."""
        with reaching(self._name):
            return [_record(trial) for trial in self._study.get_trials(deepcopy=False)]

    def run_folder(self, number: int) -> Path:
        """Where a trial is trained."""
        return self.folder / TRIALS / f"{number:03d}"

    @contextmanager
    def next_trial(self, most: int) -> Iterator["Trial | None"]:
        """Hold the next trial: one whose process has died, else a new one; None if all are taken.

        A trial belongs to who holds its lock file, and the hold ends with the process, however it
        ends: a trial that is recorded as running, and whose lock is free, was left behind. Where
        processes share a database but no folder, the database's heartbeats tell instead, and a
        new trial with the same values takes the place of the one that fell silent.

        Args:
            most: Trials of the whole study.
        """
        with ExitStack() as hold:
            with held(self.folder / ".lock", lambda: None), reaching(self._name):
                frozen = self._left_behind(hold) or self._new(most, hold)
            if frozen is None:
                yield None
                return
            with reaching(self._name):
                trial = Trial(self, self._study, frozen, resumed=bool(frozen.params))
            with heartbeat(self._storage, frozen):
                yield trial

    def running_here(self) -> list[int]:
        """Numbers of the trials of this folder that are not done."""
        with reaching(self._name):
            states = (TrialState.RUNNING,)
            trials = self._study.get_trials(deepcopy=False, states=states)
        return [t.number for t in trials if t.user_attrs.get(_PLACE) == self._place]

    def _left_behind(self, hold: ExitStack) -> FrozenTrial | None:
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.user_attrs.get(_PLACE) == self._place and self._hold(trial.number, hold):
                return trial
        optuna.storages.fail_stale_trials(self._study)
        return None

    def _new(self, most: int, hold: ExitStack) -> FrozenTrial | None:
        trials = self._study.get_trials(deepcopy=False)
        if not any(trial.state == TrialState.WAITING for trial in trials):
            if len(trials) >= most:
                return None
            # Queued before it is asked for: so it says where it belongs from its first instant,
            # and one that is killed in between is waiting for the next process.
            self._study.enqueue_trial({}, user_attrs={_PLACE: self._place})
        trial = self._study.ask()
        trial.set_user_attr(_PLACE, self._place)
        held_now = self._hold(trial.number, hold)
        assert held_now, "the lock of a trial that nobody knew was taken"
        return self._study.get_trials(deepcopy=False)[trial.number]

    def _hold(self, number: int, hold: ExitStack) -> bool:
        handle = try_hold(self.folder / TRIALS / f".{number:03d}.lock")
        if handle is not None:
            hold.callback(handle.release)
        return handle is not None


class Trial:
    """A trial that this process holds.

    Attributes:
        number: Counted from 0 over the whole study.
        values: Its settings.
        resumed: Whether another process had begun it.
        folder: Its run folder.
    """

    def __init__(
        self, of: Study, study: optuna.Study, frozen: FrozenTrial, *, resumed: bool
    ) -> None:
        self._study, self._name = study, of._name
        self._trial = optuna.Trial(study, frozen._trial_id)
        self.number, self.resumed, self.folder = (
            frozen.number,
            resumed,
            of.run_folder(frozen.number),
        )
        self._known = set(frozen.intermediate_values)
        self.values = {
            name: self._trial.suggest_float(name, span.low, span.high, log=span.log)
            for name, span in of.spans.items()
        }

    def report(self, epoch: int, score: float) -> bool:
        """Record a score after so many epochs; tell whether the trial should end here."""
        with reaching(self._name):
            if epoch not in self._known:  # else known from before a kill, and the same
                self._trial.report(score, epoch)
            return self._trial.should_prune()

    def complete(self, score: float) -> None:
        """End with the score of the last epoch."""
        self._tell(score, TrialState.COMPLETE)

    def prune(self) -> None:
        """End early."""
        self._tell(None, TrialState.PRUNED)

    def fail(self, reason: str) -> None:
        """End without a score."""
        with reaching(self._name):
            self._trial.set_user_attr(_REASON, reason)
        self._tell(None, TrialState.FAIL)

    def _tell(self, score: float | None, state: TrialState) -> None:
        with reaching(self._name):
            self._study.tell(self.number, score, state=state, skip_if_finished=True)


def _record(trial: FrozenTrial) -> TrialRecord:
    reported = {step: value for step, value in trial.intermediate_values.items() if value == value}
    last = max(trial.intermediate_values, default=0)
    done = trial.state == TrialState.COMPLETE
    return TrialRecord(
        number=trial.number,
        state=_STATES[trial.state],
        values=dict(trial.params),
        score=trial.value if done else reported.get(last),
        epochs=last,
        reason=str(trial.user_attrs.get(_REASON, "")),
    )


def _place_of(folder: Path) -> str:
    """Name of the folder that is the same in every process, wherever the folder is seen at."""
    path = folder / _PLACE_FILE
    with held(folder / ".lock", lambda: None):
        if not path.is_file():
            write_text(path, uuid.uuid4().hex + "\n")
        return path.read_text("utf-8").strip()
