"""`ram tune`: the learning rate and loss weights that suit a dataset, a teacher and a student."""

import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ram_cli.datasets import Dataset
from ram_cli.datasets.locking import held
from ram_cli.engine import RunFolder
from ram_cli.engine.study import JOURNAL, TRIALS, Pruning, Study, Trial
from ram_cli.engine.study_draws import Span
from ram_cli.engine.study_storage import has_password
from ram_cli.errors import ConfigError, Interrupted, OutputError, TrainingError
from ram_cli.files import write_text
from ram_cli.models import model_hash
from ram_cli.progress import SILENT, Reporter, Task
from ram_cli.recipes.common import choose_run_folder, open_dataset, open_runtime, with_pinned
from ram_cli.recipes.distill import check_student, completed, open_teacher, run_distill
from ram_cli.recipes.training import MAY_CHANGE
from ram_cli.recipes.trials import TrialReporter, TuneResult, best_of
from ram_cli.settings import DistillSettings, TuneSettings

BEST_FILE = "best.toml"
_SEARCH_MAY_CHANGE = {"trials", "prune", "prune_percent", "prune_after", "prune_warmup"}
_OF_STUDY = MAY_CHANGE | _SEARCH_MAY_CHANGE | {"storage", "study"}
"""Settings that a process may join a study with other values of."""
_WAIT_SECONDS = 1.0


class _Pruned(Exception):  # noqa: N818 - a decision, not an error
    """The trial is not worth going on with."""


def run_tune(settings: TuneSettings, reporter: Reporter = SILENT) -> TuneResult:
    """Train students with different settings, and compare them on validation classes.

    Raises:
        RamError: Something cannot be used or done; the message says what.
    """
    _check(settings)
    runtime = open_runtime(settings, reporter)
    settings = with_pinned(settings, "teacher", "student")
    teacher = open_teacher(settings, runtime, reporter)
    settings = completed(settings, teacher, reporter)
    if settings.resume is None:
        check_student(settings, teacher, reporter)
    dataset = open_dataset(settings.dataset or "", settings, reporter)
    if dataset.val.class_count == len(dataset.val):
        raise ConfigError(
            f"dataset: {dataset.name} has no validation classes of two images to compare trials "
            "on. Give it some, or a larger --val-ratio."
        )
    hashes = {"dataset": dataset.content_hash, "teacher": model_hash(teacher)}
    del teacher  # every trial loads its own
    study = _open_study(settings, dataset, hashes)
    reporter.note(f"study: {study.folder}")
    _work(study, settings, reporter)
    return _result(study, settings)


def _check(settings: TuneSettings) -> None:
    """Refuse what no trial could be made with; all faults at once.

    Raises:
        ConfigError: A setting belongs to another command, or a given value is not searched.
    """
    faults = []
    if settings.resume is not None and settings.output not in (None, settings.resume):
        faults.append(f"output: {settings.resume} goes on in its own folder. Leave --output out.")
    if settings.final:
        faults.append(f"final: tune first, then run ram distill --config {BEST_FILE} --final.")
    elif not settings.val:
        faults.append("val: trials are compared on validation classes. Leave --no-val out.")
    for name, span in _spans(settings).items():
        given = getattr(settings, name)
        if not span.low <= given <= span.high:
            flag = name.replace("_", "-")
            faults.append(
                f"{name}: the first trial takes {given:g}, which is outside --{flag}-range "
                f"{span.low:g},{span.high:g}. Give another --{flag}, or a range that holds it."
            )
    if faults:
        raise ConfigError(faults)


def _spans(settings: TuneSettings) -> dict[str, Span]:
    """What to search: only coupled views have relations to weigh."""
    spans = {"lr": Span(*settings.lr_range, log=True)}
    if settings.method == "coupled":
        spans["lambda_ts"] = Span(*settings.lambda_ts_range)
        spans["lambda_ss"] = Span(*settings.lambda_ss_range)
    return spans


def _open_study(settings: TuneSettings, dataset: Dataset, hashes: Mapping[str, str]) -> Study:
    """The study of a folder: a new one, or the one to join or go on with.

    Raises:
        ConfigError: It was begun with other settings, another dataset or another teacher.
        OutputError: The folder holds something else, or cannot be written.
    """
    folder = (
        settings.resume
        or choose_run_folder(
            settings, settings.output, dataset.name, settings.student or "student"
        ).path
    )
    _refuse_foreign(RunFolder(folder))
    with held(folder / ".lock", lambda: None):
        _claim(folder, settings)
    spans = _spans(settings)
    pruning = Pruning(settings.prune_percent, settings.prune_after, settings.prune_warmup)
    study = Study(
        folder,
        spans,
        {name: getattr(settings, name) for name in spans},
        seed=settings.seed,
        pruning=pruning if settings.prune else None,
        storage=settings.storage,
        name=settings.study,
    )
    told = tomllib.loads(settings.to_toml())[settings.table]
    now = {name: value for name, value in told.items() if name not in _OF_STUDY} | {
        f"content of the {name}": digest for name, digest in hashes.items()
    }
    began = study.facts(now)
    faults = [
        f"{name}: {now.get(name)} here, but the study in {settings.storage or folder} began with "
        f"{began.get(name)}. Leave it as it was, or choose another --output"
        f"{' and --study' if settings.storage else ''}."
        for name in sorted({*began, *now})
        if began.get(name) != now.get(name)
    ]
    if faults:
        raise ConfigError(faults)
    if not study.records():  # a start that failed may have left other settings behind
        write_text(RunFolder(folder).config, _shown(settings))
    return study


def _refuse_foreign(run: RunFolder) -> None:
    """Leave a folder that holds something else as it is, without even a lock file in it."""
    try:
        run.check_free()
    except OutputError:
        if not run.config.exists():
            raise


def _claim(folder: Path, settings: TuneSettings) -> None:
    """Begin a study in the folder, or find out that one is there; the folder's lock is held."""
    run = RunFolder(folder)
    if not run.config.exists():
        run.check_free()
        write_text(run.config, _shown(settings))
    elif settings.table not in tomllib.loads(run.config.read_text("utf-8")):
        raise OutputError(f"{folder} holds a run that is no study. Choose another --output.")
    elif settings.storage is None and (folder / TRIALS).is_dir() and not _has_journal(folder):
        raise OutputError(f"the study in {folder} is kept in a database. Name it with --storage.")


def _shown(settings: TuneSettings) -> str:
    """The settings as TOML; who may read the folder should not learn a database's password."""
    secret = settings.storage is not None and has_password(settings.storage)
    return (settings.model_copy(update={"storage": None}) if secret else settings).to_toml()


def _has_journal(folder: Path) -> bool:
    return (folder / JOURNAL).is_file()


def _work(study: Study, settings: TuneSettings, reporter: Reporter) -> None:
    """Make trials until enough are done, here or by others."""
    told = False
    with reporter.task("tune", settings.trials, "trials", done=_done(study)) as task:
        shown = _done(study)
        while True:
            with study.next_trial(settings.trials) as trial:
                if trial is not None:
                    _make(trial, study, settings, reporter)
            _write_best(study, settings)
            shown = _show(task, study, shown)
            if trial is None:
                others = study.running_here()
                if not others:
                    return
                if not told:
                    numbers = ", ".join(map(str, others))
                    reporter.note(f"waiting for other processes to end trials {numbers}")
                told = True
                time.sleep(_WAIT_SECONDS)


def _done(study: Study) -> int:
    return sum(record.state not in ("running", "waiting") for record in study.records())


def _show(task: Task, study: Study, shown: int) -> int:
    """Bring the bar up to date, with what other processes did too; return what it shows."""
    best, done = best_of(study.records()), _done(study)
    values = {} if best is None or best.score is None else {"best mAP": best.score, **best.values}
    task.advance(done - shown, **values)
    return done


def _make(trial: Trial, study: Study, settings: TuneSettings, reporter: Reporter) -> None:
    """Train one trial to its end, or until it is clear that it will not be the best.

    Raises:
        RamError: Something that no other trial would be spared.
    """
    given = ", ".join(f"{name} {value:.4g}" for name, value in trial.values.items())
    reporter.note(f"trial {trial.number}: {given}" + (", goes on" if trial.resumed else ""))

    def watch(epoch: int, metrics: Mapping[str, float]) -> None:
        if trial.report(epoch, 100 * metrics["score"]) and epoch < settings.epochs:
            raise _Pruned

    try:
        result = run_distill(
            _trial_settings(settings, trial),
            TrialReporter(reporter, trial.number),
            watch=watch,
        )
    except _Pruned:
        trial.prune()
        reporter.note(f"trial {trial.number}: ended early, others have left it behind")
    except TrainingError as error:
        trial.fail(str(error))
        reporter.warn(f"trial {trial.number} failed: {error}")
    except Interrupted as error:
        raise Interrupted(
            f"in trial {trial.number}, {str(error).partition(';')[0]}; go on with "
            f"ram tune --resume {study.folder}"
        ) from error
    else:
        # Of the last epoch, not the best: the final run has no validation to stop it earlier.
        trial.complete(result.last_validation["mAP"])


def _trial_settings(settings: TuneSettings, trial: Trial) -> DistillSettings:
    """A distillation in the trial's own run folder, from where that stands."""
    begun = RunFolder(trial.folder).config.exists()
    place = {"resume" if begun else "output": trial.folder}
    return _distillation(settings, trial.values, test_datasets=(), **place)


def _distillation(
    settings: TuneSettings, values: Mapping[str, float], **more: Any
) -> DistillSettings:
    # Constructed rather than loaded: every source has had its say already.
    plain = {name: getattr(settings, name) for name in DistillSettings.model_fields}
    elsewhere = {"output": None, "resume": None, "config": None}
    return DistillSettings.model_construct(**{**plain, **elsewhere, **values, **more})


def _write_best(study: Study, settings: TuneSettings) -> None:
    """Write the settings of the best trial so far as a file that `ram distill` takes."""
    with held(study.folder / ".lock", lambda: None):
        best = best_of(study.records())
        if best is None:
            return
        text = (
            f"# Trial {best.number}: {best.score:.2f} mAP on validation classes, queries by the "
            "student, gallery by the teacher.\n\n"
        )
        text += _distillation(settings, best.values).to_toml()
        path = study.folder / BEST_FILE
        if not path.exists() or path.read_text("utf-8") != text:
            write_text(path, text)


def _result(study: Study, settings: TuneSettings) -> TuneResult:
    """All trials.

    Raises:
        TrainingError: Every one of them failed.
    """
    records = study.records()
    if records and all(record.state == "failed" for record in records):
        raise TrainingError(
            f"all {len(records)} trials failed, the first one because {records[0].reason} "
            "Tune again in another --output, with a lower --lr and --lr-range or --precision fp32."
        )
    best = best_of(records)
    return TuneResult(study.folder, records, best, study.folder / BEST_FILE if best else None)
