"""`ram test`: exact retrieval metrics of one model, or of a student and a teacher."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ram_cli.errors import ConfigError
from ram_cli.files import check_writable
from ram_cli.models import load_model
from ram_cli.processes import is_first
from ram_cli.progress import SILENT, Reporter, TableData
from ram_cli.recipes.aligned import find_teacher, size_at_distillation, teacher_named
from ram_cli.recipes.as_trained import datasets_to_test
from ram_cli.recipes.common import (
    chosen_fit,
    fit_of,
    model_folder,
    open_runtime,
    worker_count,
)
from ram_cli.recipes.comparison import Comparison, Side
from ram_cli.recipes.landmarks import Searched, search_landmarks
from ram_cli.recipes.pictures import Shown, write_pictures
from ram_cli.recipes.results import check_savable, keep_results
from ram_cli.recipes.rows import ResultRow, rows_table, test_tables
from ram_cli.recipes.search_pictures import write_search_pictures
from ram_cli.recipes.store import VectorStore
from ram_cli.settings import TestSettings, newest_run


@dataclass(frozen=True, slots=True)
class TestResult:
    """Rows of a test.

    Attributes:
        rows: One per pair and dataset.
        reports: The pages that were written.
        remarks: For people.
    """

    rows: list[ResultRow]
    reports: Sequence[Path] = ()
    remarks: list[str] = field(default_factory=list)

    __test__ = False  # not a test case, whatever pytest takes it for

    def to_json(self) -> dict[str, Any]:
        """The result as one JSON document."""
        return {
            "rows": [row.to_json() for row in self.rows],
            "report": str(self.reports[0]) if self.reports else None,
            "reports": [str(path) for path in self.reports],
        }

    def tables(self) -> list[TableData]:
        """One table of images found by their class, one of landmarks."""
        return test_tables(self.rows)

    def notes(self) -> list[str]:
        """What a query of the student costs beside one of the teacher, and where the page is."""
        return [*self.remarks, *(f"page: {path}" for path in self.reports)]


def run_test(settings: TestSettings, reporter: Reporter = SILENT) -> TestResult:
    """Measure how well queries find images of their class.

    Raises:
        RamError: Something cannot be used or done; the message says what.
    """
    runtime = open_runtime(settings, reporter)
    name = model_folder(settings.student or _newest_student(reporter))
    if settings.report is not None:
        check_writable(settings.report)
    if settings.save:
        check_savable(settings.student, name)
    student_model = load_model(name)
    if settings.image_size is not None:
        student_model.set_input_size(settings.image_size)
    student = Side("student", student_model, student_model.spec.size)
    teacher = None
    if (gallery_name := _gallery_name(settings, name, reporter)) is not None:
        teacher_model = load_model(model_folder(gallery_name))
        size = settings.teacher_image_size or size_at_distillation(name, teacher_model)
        if size is not None:
            teacher_model.set_input_size(size)
        teacher = Side("teacher", teacher_model, teacher_model.spec.size)
    comparison = Comparison(
        runtime,
        ks=settings.ks,
        scales=settings.scales,
        batch_size=settings.batch_size,
        workers=worker_count(settings.workers, runtime),
        store=VectorStore(settings.data_root, settings.keep_vectors, reporter),
        reporter=reporter,
    )
    names = {"student": name, "teacher": model_folder(gallery_name or name)}
    pairs = _pairs(settings, student, teacher)
    landmarks = search_landmarks(settings, comparison, names, pairs)
    rows = [row for found in landmarks for row in found.rows]
    shown: list[Shown] = []
    for dataset in datasets_to_test(settings, name, reporter):
        images = dataset.splits[settings.split]
        fit = chosen_fit(settings.fit or fit_of(student_model), dataset)
        comparison.fits[images.name] = fit
        if fit == "whole" and settings.fit is None:
            reporter.note(f"{images.name}: whole images, not centre crops (--fit)")
        for query, gallery in pairs:
            row = comparison.row(query, gallery, images)
            rows.append(row)
            shown.append((query, gallery, images, row))
    reports = _write_pages(settings.report, comparison, shown, landmarks)
    if settings.save and is_first():
        keep_results(Path(name), comparison, rows, shown)
        reporter.note(f"results kept in {name}; ram export puts them on the card")
    return TestResult(rows, reports, _cost_remark(comparison, student, teacher))


def _write_pages(
    path: Path | None,
    comparison: Comparison,
    shown: Sequence[Shown],
    landmarks: Sequence[Searched],
) -> list[Path]:
    """Write the page asked for; of landmarks beside images found by their class, a second one."""
    if path is None:
        return []
    written = []
    if shown:
        if is_first():
            table = rows_table("test", [row for *_, row in shown])
            write_pictures(path, comparison, shown, table)
        written.append(path)
    if landmarks:
        page = path.with_stem(f"{path.stem}-landmarks") if shown else path
        write_search_pictures(page, landmarks)
        written.append(page)
    return written


def _pairs(settings: TestSettings, student: Side, teacher: Side | None) -> list[tuple[Side, Side]]:
    """Query and gallery side of every search, the ceiling first."""
    pairs: list[tuple[Side, Side]] = []
    if teacher is not None and settings.baselines:
        pairs.append((teacher, teacher))
        if student.size != teacher.size and teacher.model.backbone.takes_size(student.size):
            pairs.append((teacher.at(student.size), teacher))
    if teacher is not None and settings.asymmetric:
        pairs.append((student, teacher))
    if settings.symmetric:
        pairs.append((student, student))
    return pairs


def _gallery_name(settings: TestSettings, student: str, reporter: Reporter) -> str | None:
    """The teacher that is named, else that of the student, where an asymmetric test asks for it.

    Raises:
        ConfigError: It does not say, or that teacher is not where it was.
    """
    if settings.teacher is not None:
        return teacher_named(settings.teacher, student, reporter)
    if not settings.asymmetric:
        return None
    found = find_teacher(student)
    reporter.note(f"teacher: {found}")
    return found


def _newest_student(reporter: Reporter) -> str:
    found = newest_run("distill") or newest_run("train")
    if found is None:
        raise ConfigError("student: no model is named and there is no run under runs/.")
    reporter.note(f"testing the newest run, {found}")
    return str(found)


def _cost_remark(comparison: Comparison, student: Side, teacher: Side | None) -> list[str]:
    if teacher is None:
        return []
    ours, theirs = comparison.cost(student), comparison.cost(teacher)
    if ours.gmac >= theirs.gmac:
        return []
    return [
        f"a query costs {ours.gmac:.2f} GMAC instead of {theirs.gmac:.2f} "
        f"({theirs.gmac / ours.gmac:.1f} times less), "
        f"{ours.milliseconds:.1f} ms instead of {theirs.milliseconds:.1f}"
    ]
