"""`ram compare`: several distillation methods under one protocol, and the table of them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ram_cli.datasets import Dataset, is_search_set
from ram_cli.engine import Runtime
from ram_cli.errors import ConfigError, DataError, Interrupted, ModelError, OutputError, RamError
from ram_cli.models import Embedder, is_model_folder, model_hash
from ram_cli.progress import SILENT, Reporter, TableData, Task
from ram_cli.recipes.common import (
    chosen_fit,
    open_dataset,
    open_runtime,
    with_pinned,
    worker_count,
)
from ram_cli.recipes.compare_plan import PlannedRun, plan_runs, protocol, summary
from ram_cli.recipes.compare_results import Bench, CompareRow, Measured, gather, row_json
from ram_cli.recipes.compare_table import failure_lines, protocol_line, table_data, write_tables
from ram_cli.recipes.comparison import Comparison, Side
from ram_cli.recipes.distill import check_student, completed, open_teacher, run_distill
from ram_cli.recipes.features import keep_vectors
from ram_cli.recipes.outcome import TrainingResult, finished
from ram_cli.recipes.training import changed_settings
from ram_cli.settings import CompareSettings


@dataclass(frozen=True, slots=True)
class CompareResult:
    """What a comparison found.

    Attributes:
        rows: The teacher's, then the methods', the best first.
        protocol: What was the same for all.
        files: Tables, charts and the page.
    """

    rows: list[CompareRow]
    protocol: dict[str, Any]
    files: list[Path]

    def to_json(self) -> dict[str, Any]:
        """Protocol and rows."""
        return {
            "protocol": self.protocol,
            "rows": [row_json(row) for row in self.rows],
            "files": [str(path) for path in self.files],
        }

    def tables(self) -> list[TableData]:
        """One table."""
        datasets = list(dict.fromkeys(row.dataset for row in self.rows))
        return [table_data(self.rows, f"compare: {', '.join(datasets)}")]

    def notes(self) -> list[str]:
        """The protocol, and where to look."""
        page = next(path for path in self.files if path.name == "index.html")
        return [protocol_line(self.protocol), f"see it: {page}"]

    @property
    def failure(self) -> str:
        """Which trainings failed; empty if none did."""
        lines = failure_lines(self.rows)
        return "\n".join(lines)


def run_compare(settings: CompareSettings, reporter: Reporter = SILENT) -> CompareResult:
    """Train every method from every seed, then test all of them, and write the tables.

    Trainings that have ended are never done again, those that were cut short go on. Nothing is
    measured on test classes before the last training has ended. A training that fails is told in
    its row, and the others go on.

    Raises:
        RamError: Something cannot be used or done; the message says what.
    """
    settings, final = _not_final(settings)
    _refuse_searches(settings)
    _refuse_foreign(settings.output)
    plan_runs(settings, settings.images_per_epoch)  # faults are told before anything is opened
    runtime = open_runtime(settings, reporter)
    settings = with_pinned(settings, "teacher", "student")
    shared = protocol(settings)
    teacher = open_teacher(shared, runtime, reporter)
    shared = completed(shared, teacher, reporter)
    check_student(shared, teacher, reporter)
    from_teacher = {name: getattr(shared, name) for name in ("dataset", "student", "fit")}
    settings = settings.model_copy(update=from_teacher)
    dataset = open_dataset(settings.dataset or "", settings, reporter)
    tested = _tested(settings, dataset, reporter, own=final)
    images = len(dataset.train if settings.val else dataset.train_val)
    runs = plan_runs(settings, images)
    _check_kept(runs, {"teacher": model_hash(teacher), "dataset": dataset.content_hash})
    keep_vectors(
        teacher,
        dataset,
        settings.data_root,
        runtime=runtime,
        fit=chosen_fit(settings.fit, dataset),
        part="training",
        workers=worker_count(settings.workers, runtime),
        reporter=reporter,
    )
    results, failures = _train(runs, reporter)
    bench = _bench(settings, teacher, tested, runtime, reporter)
    rows = bench.baselines(settings.image_size or teacher.spec.size // 2)
    measured = _measure(bench, runs, results, failures, reporter)
    names = [data.test.name for data in tested]
    rows += gather(runs, results, measured, failures, names, images)
    rows.sort(key=lambda row: names.index(row.dataset))
    told = summary(settings, runs, images)
    return CompareResult(rows, told, write_tables(settings.output, rows, told, settings.own))


def _refuse_foreign(output: Path) -> None:
    """Leave a folder that holds something else, such as images or a run, as it is."""
    if output.is_file():
        raise OutputError(f"{output} is a file. Choose another --output.")
    found = [path.name for path in output.iterdir()] if output.is_dir() else []
    if any(not name.startswith(".") for name in found) and not {"runs", "results"} & {*found}:
        raise OutputError(
            f"{output} is not empty, and holds no comparison. Choose another --output."
        )


def _refuse_searches(settings: CompareSettings) -> None:
    """Landmarks give a query several results (easy, medium, hard); the table holds one a row."""
    if searches := [name for name in settings.test_datasets if is_search_set(name)]:
        raise ConfigError(
            f"test_datasets: {', '.join(searches)}: the table of a comparison holds datasets of "
            "classes alone. Leave landmarks out, then search them with each student: ram test "
            f"--student {settings.output}/runs/METHOD-seedN --asym --dataset {searches[0]}"
        )


def _not_final(settings: CompareSettings) -> tuple[CompareSettings, bool]:
    """Settings for trainings without a test of their own, and whether `--final` was said.

    Its test on the dataset's own test classes would come before the next training begins.
    """
    val = settings.val and not settings.final
    return settings.model_copy(update={"val": val, "final": False}), settings.final


def _tested(
    settings: CompareSettings, dataset: Dataset, reporter: Reporter, *, own: bool
) -> list[Dataset]:
    """The datasets to test on: those named, and the one trained on if `own` or none is named."""
    named = settings.test_datasets
    trained_on = (settings.dataset or "",)
    names = dict.fromkeys((*trained_on, *named) if own else named or trained_on)
    tested = [
        dataset if name == settings.dataset else open_dataset(name, settings, reporter)
        for name in names
    ]
    for data in tested:
        if len(data.test) == 0:
            raise DataError(f"{data.name} has no test classes. Name others with --test-datasets.")
    return tested


def _bench(
    settings: CompareSettings,
    teacher: Embedder,
    tested: Sequence[Dataset],
    runtime: Runtime,
    reporter: Reporter,
) -> Bench:
    comparison = Comparison(
        runtime,
        workers=worker_count(settings.workers, runtime),
        fits={data.test.name: chosen_fit(settings.fit, data) for data in tested},
        reporter=reporter,
    )
    gallery = Side("teacher", teacher, teacher.spec.size)
    return Bench(comparison, gallery, tested, settings.output / "results")


def _measure(
    bench: Bench,
    runs: Sequence[PlannedRun],
    results: Mapping[str, TrainingResult],
    failures: dict[str, str],
    reporter: Reporter,
) -> dict[str, Measured]:
    """What the students find, by run; one that cannot embed joins the failures."""
    measured = {}
    for planned in runs:
        if planned.name not in results:
            continue
        try:
            measured[planned.name] = bench.student(planned, results[planned.name])
        except ModelError as failure:  # finite weights may still give vectors that are not
            reporter.warn(f"{planned.label}, seed {planned.seed}: {failure}")
            failures[planned.name] = str(failure)
    return measured


def _check_kept(runs: Sequence[PlannedRun], hashes: dict[str, str]) -> None:
    """Refuse to mix trainings that began with other settings into the table.

    Raises:
        ConfigError: A run that is there began otherwise.
    """
    faults = []
    for planned in runs:
        if not planned.run.config.exists():
            continue
        for name, (began, now) in changed_settings(planned.settings, planned.run).items():
            faults.append(f"{name}: {now} here, but {planned.folder} began with {began}")
        for name, digest in hashes.items():
            if not planned.run.began_with(name, digest):
                faults.append(f"{name}: not as it was when {planned.folder} began")
    if faults:
        raise ConfigError([*faults, "Leave them as they were, or choose another --output."])


def _train(
    runs: Sequence[PlannedRun], reporter: Reporter
) -> tuple[dict[str, TrainingResult], dict[str, str]]:
    """Results of the trainings that ended, and why others did not, both by name."""
    results: dict[str, TrainingResult] = {}
    failures: dict[str, str] = {}
    done = {planned.name for planned in runs if is_model_folder(planned.run.final)}
    with reporter.task("compare", len(runs), "trainings", done=len(done)) as task:
        for planned in runs:
            if planned.name not in done:
                failure = _train_one(planned, reporter)
                task.advance(1)
                if failure:
                    reporter.warn(f"{planned.label}, seed {planned.seed}: {failure}")
                    failures[planned.name] = failure
                    continue
            found = planned.run.checkpoint()
            if found is None:
                raise OutputError(f"{planned.folder} has a model but no checkpoint. Remove it.")
            results[planned.name] = finished(planned.run, found[1])
    return results, failures


def _train_one(planned: PlannedRun, reporter: Reporter) -> str:
    """Train, from where it stands; the reason, if it fails."""
    place = "resume" if planned.run.config.exists() else "output"
    settings = planned.settings.model_copy(update={place: planned.folder})
    try:
        run_distill(settings, _Trainings(reporter, f"{planned.label}, seed {planned.seed}"))
    except Interrupted as stopped:
        raise Interrupted(
            f"in {planned.label}, seed {planned.seed}, {str(stopped).partition(';')[0]}; "
            "the same ram compare goes on from here"
        ) from stopped
    except OutputError:  # a full disk or a folder in use would fail the others too
        raise
    except RamError as failure:
        return str(failure)
    except (MemoryError, RuntimeError) as failure:  # torch tells of a full device in this way
        return f"{type(failure).__name__}: {str(failure).splitlines()[0]}"
    return ""


@dataclass(frozen=True, slots=True)
class _Trainings:
    """Reports trainings by their names, and without the remarks that are the same for all."""

    reporter: Reporter
    name: str

    @contextmanager
    def task(
        self, description: str, total: int | None, unit: str = "images", done: int = 0
    ) -> Iterator[Task]:
        """Open a task, that of training under the name of the method."""
        words = self.name if description == "train" else description
        with self.reporter.task(words, total, unit, done) as task:
            yield task

    def note(self, message: str) -> None:
        """Leave it out."""

    def warn(self, message: str) -> None:
        """Pass it on, with the name."""
        self.reporter.warn(f"{self.name}: {message}")
