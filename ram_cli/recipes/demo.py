"""`ram demo`: the whole path on the embedded images, on any machine, in minutes."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ram_cli.engine import RunFolder
from ram_cli.errors import OutputError
from ram_cli.files import write_text
from ram_cli.models import is_model_folder, load_model, read_provenance, save_model
from ram_cli.progress import SILENT, Reporter, TableData
from ram_cli.recipes.common import open_dataset, open_runtime, worker_count
from ram_cli.recipes.comparison import Comparison, Side
from ram_cli.recipes.distill import run_distill
from ram_cli.recipes.pictures import write_pictures
from ram_cli.recipes.rows import ResultRow, rows_table
from ram_cli.recipes.train import run_train
from ram_cli.settings import DemoSettings, DistillSettings, TrainSettings

BACKBONE = "efficientnet-lite0"
DIMENSION = 128
GALLERY_SIZE, QUERY_SIZE = 224, 80
TEACHER_TRAINING_SIZE = 160
"""Random crops show objects larger than centre crops do, so training at a smaller size suits the
gallery's size (Touvron et al., NeurIPS 2019) and costs half as much."""
TEACHER_EPOCHS, TEACHER_LR = 1, 3e-4
STUDENT_EPOCHS, STUDENT_LR, STUDENT_IMAGES, STUDENT_VIEWS = 1, 4e-4, 600, 4
"""Few images with several views each, as published, in as many small steps as the minutes allow."""

Settings = TypeVar("Settings", TrainSettings, DistillSettings)


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo measured on classes that nothing was trained on.

    Attributes:
        rows: ceiling, naive, student_asym and student_sym, in this order.
        seconds: From start to end.
        output: Folder with the models, the page and the picture.
    """

    rows: dict[str, ResultRow]
    seconds: float
    output: Path

    def to_json(self) -> dict[str, Any]:
        """The four rows by name, metrics in percent."""
        return {
            **{
                name: {
                    "map": 100 * row.metrics.map,
                    "recall_at_1": 100 * float(row.metrics.recall_at[0]),
                    "query_gmac": row.cost.gmac,
                    "query_ms": row.cost.milliseconds,
                }
                for name, row in self.rows.items()
            },
            "seconds": round(self.seconds, 1),
            "output": str(self.output),
        }

    def tables(self) -> list[TableData]:
        """The four rows."""
        return [rows_table("demo", list(self.rows.values()))]

    def notes(self) -> list[str]:
        """The gain in words, and where to look."""
        ceiling, naive, student = (self.rows[name] for name in ("ceiling", "naive", "student_asym"))
        lost = ceiling.metrics.map - naive.metrics.map
        won = student.metrics.map - naive.metrics.map
        return [
            f"Small queries cost {ceiling.cost.gmac / student.cost.gmac:.1f} times less and lose "
            f"{100 * lost:.1f} mAP; distillation wins {100 * won:.1f} of them back "
            f"({100 * won / lost:.0f} %)."
            if lost > 0
            else "Small queries lose nothing here.",
            f"see it: {self.output / 'report.html'}",
            f"models: {self.output / 'teacher'}, {self.output / 'student'}",
            f"{self.seconds:.0f} s in all",
        ]


def run_demo(settings: DemoSettings, reporter: Reporter = SILENT) -> DemoResult:
    """Train a teacher, distill a student, and compare them on unseen classes.

    What was done before an interruption is not done again.

    Raises:
        OutputError: The folder holds something else, or a demo with other settings.
        RamError: Something cannot be done; the message says what.
    """
    started = time.monotonic()
    output = settings.output
    _claim(settings)
    runtime = open_runtime(settings, reporter)
    data = output / "data"
    teacher_folder = _train_teacher(settings, data, reporter)
    student_folder = _distill_student(settings, data, teacher_folder, reporter)
    teacher = Side("teacher", load_model(teacher_folder), GALLERY_SIZE)
    student = Side("student", load_model(student_folder), QUERY_SIZE)
    comparison = Comparison(
        runtime, workers=worker_count(settings.workers, runtime), reporter=reporter
    )
    dataset = open_dataset("furniture", _train_settings(settings, data), reporter)
    pairs = {
        "ceiling": (teacher, teacher),
        "naive": (teacher.at(QUERY_SIZE), teacher),
        "student_asym": (student, teacher),
        "student_sym": (student, student),
    }
    rows = {
        name: comparison.row(query, gallery, dataset.test)
        for name, (query, gallery) in pairs.items()
    }
    result = DemoResult(rows, time.monotonic() - started, output)
    shown = [(*pairs[name], dataset.test, rows[name]) for name in ("naive", "student_asym")]
    write_pictures(
        output / "report.html",
        comparison,
        shown,
        result.tables()[0],
        title="Small queries in a large gallery, before and after distillation",
        notes=[
            "Classes that neither network was trained on. The images are renders of 3D models, "
            "not photographs.",
            result.notes()[0],
        ],
        png=output / "report.png",
    )
    return result


def _claim(settings: DemoSettings) -> None:
    """Take the folder, or go on in the one that a demo with the same settings began."""
    marker, told = settings.output / "demo.toml", settings.to_toml()
    if marker.exists():
        if marker.read_text("utf-8") == told:
            return
        raise OutputError(
            f"{settings.output} holds a demo with other settings. Choose another --output."
        )
    if settings.output.is_file() or (settings.output.exists() and any(settings.output.iterdir())):
        raise OutputError(f"{settings.output} is not empty. Choose another --output.")
    write_text(marker, told)


def _train_settings(settings: DemoSettings, data: Path) -> TrainSettings:
    # Constructed rather than loaded: variables and files of other commands have no say here.
    return TrainSettings.model_construct(
        dataset="furniture",
        data_root=data,
        val=False,
        backbone=BACKBONE,
        image_size=TEACHER_TRAINING_SIZE,
        whitening=DIMENSION,
        mining="batch",
        epochs=settings.teacher_epochs or TEACHER_EPOCHS,
        batch_size=32,
        accumulate=1,
        lr=TEACHER_LR,
        seed=settings.seed,
        device=settings.device,
        precision=settings.precision,
        engine=settings.engine,
        workers=settings.workers,
    )


def _train_teacher(settings: DemoSettings, data: Path, reporter: Reporter) -> Path:
    """The teacher's model folder, at the size of the gallery."""
    run = RunFolder(settings.output / "runs" / "teacher")
    if not is_model_folder(run.final):
        run_train(_in_folder(_train_settings(settings, data), run), reporter)
    return _publish(run, settings.output / "teacher", GALLERY_SIZE)


def _distill_student(settings: DemoSettings, data: Path, teacher: Path, reporter: Reporter) -> Path:
    """The student's model folder."""
    run = RunFolder(settings.output / "runs" / "student")
    if not is_model_folder(run.final):
        distillation = DistillSettings.model_construct(
            dataset="furniture",
            data_root=data,
            val=False,
            teacher=str(teacher),
            student=str(teacher),
            image_size=QUERY_SIZE,
            epochs=settings.student_epochs or STUDENT_EPOCHS,
            images_per_epoch=STUDENT_IMAGES,
            batch_size=4,
            accumulate=1,
            lr=STUDENT_LR,
            views=STUDENT_VIEWS,
            seed=settings.seed,
            device=settings.device,
            precision=settings.precision,
            engine=settings.engine,
            workers=settings.workers,
        )
        run_distill(_in_folder(distillation, run), reporter)
    return _publish(run, settings.output / "student", QUERY_SIZE)


def _publish(run: RunFolder, folder: Path, size: int) -> Path:
    """The final model of a run as a folder of its own, for images of `size` pixels."""
    if not is_model_folder(folder):
        model = load_model(run.final)
        model.set_input_size(size)
        save_model(model, folder, provenance=read_provenance(run.final))
    return folder


def _in_folder(settings: Settings, run: RunFolder) -> Settings:
    """The same settings, for a new run in a folder, or for the run that it holds already."""
    place = "resume" if run.config.exists() else "output"
    return settings.model_copy(update={place: run.path})
