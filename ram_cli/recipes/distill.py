"""`ram distill`: a cheap student in the embedding space of a teacher."""

from collections.abc import Mapping
from typing import TypeVar, cast

from torch import nn

from ram_cli.engine import Runtime
from ram_cli.engine.fit import Validate, Watch
from ram_cli.errors import ConfigError
from ram_cli.evaluation import label_metrics
from ram_cli.evaluation.extract import embed_images, place
from ram_cli.models import (
    AML_TEACHERS,
    Embedder,
    is_model_folder,
    load_model,
    model_hash,
    read_provenance,
)
from ram_cli.progress import SILENT, Reporter
from ram_cli.recipes.common import (
    can_validate,
    fit_with,
    model_folder,
    open_dataset,
    open_runtime,
    validation_values,
    with_pinned,
    worker_count,
)
from ram_cli.recipes.comparison import Side, dimension_error
from ram_cli.recipes.copies import training_images
from ram_cli.recipes.networks import build_network, is_new
from ram_cli.recipes.objectives import Distillation, build_objective, largest_view
from ram_cli.recipes.outcome import TrainingResult, finished, open_tests, test_afterwards
from ram_cli.recipes.training import (
    as_final,
    open_run,
    seed_everything,
    train_network,
    wants_copies,
)
from ram_cli.settings import DistillSettings, dataset_of_network

Distilling = TypeVar("Distilling", bound=DistillSettings)


def run_distill(
    settings: DistillSettings, reporter: Reporter = SILENT, *, watch: Watch | None = None
) -> TrainingResult:
    """Train a student whose vectors can be searched in the teacher's gallery.

    Args:
        settings: Of the command.
        reporter: Told of the progress.
        watch: Told of every validation; what it raises ends the training.

    Raises:
        RamError: Something cannot be used or done; the message says what.
    """
    runtime = open_runtime(settings, reporter)
    settings = with_pinned(settings, "teacher", "student")
    teacher = open_teacher(settings, runtime, reporter)
    settings = as_final(completed(settings, teacher, reporter))
    with open_run(settings, settings.student or "student") as run:
        # Seeded here: the student's first weights do not depend on which teacher was built.
        seed_everything(settings.seed)
        student = build_student(settings, teacher, reporter)
        dataset = open_dataset(settings.dataset or "", settings, reporter)
        tests = open_tests(settings, dataset, reporter)
        workers = worker_count(settings.workers, runtime)
        reporter.note(
            f"student {student.config.backbone} at {student.spec.size} px, "
            f"teacher {teacher.config.backbone} at {teacher.spec.size} px"
        )
        shown, copies = training_images(
            dataset.train if settings.val else dataset.train_val,
            dataset,
            settings.data_root,
            largest_view(settings, student, teacher),
            wanted=wants_copies(settings, run),
            reporter=reporter,
        )
        distillation = Distillation(
            settings, student, teacher, dataset, runtime, workers, reporter, shown
        )
        position = train_network(
            settings,
            run,
            student,
            build_objective(distillation),
            dataset,
            runtime,
            reporter,
            validate=_validation(distillation)
            if settings.val and can_validate(dataset.val, reporter)
            else None,
            record={"teacher": _teacher_record(settings, teacher)},
            copies=copies,
            watch=watch,
        )
        result = finished(run, position)

        def pairs(trained: Embedder) -> list[tuple[Side, Side]]:
            query = Side("student", trained, trained.spec.size)
            return [(query, Side("teacher", teacher, teacher.spec.size)), (query, query)]

        return test_afterwards(result, tests, settings, runtime, reporter, pairs)


def completed(settings: Distilling, teacher: Embedder, reporter: Reporter) -> Distilling:
    """The settings with what the teacher tells: dataset, architecture, and what it sees.

    Raises:
        ConfigError: Nothing says what to train on.
    """
    found: dict[str, str] = {}
    if settings.fit is None and settings.resume is None and fit_with(teacher, None):
        reporter.note("whole images, not centre crops, as the teacher was made for (--fit)")
        found["fit"] = "whole"
    if settings.dataset is None:
        folder = model_folder(settings.teacher)
        record = read_provenance(folder) if is_model_folder(folder) else {}
        dataset = record.get("dataset", {}).get("source") or dataset_of_network(settings.teacher)
        if dataset is None:
            raise ConfigError("dataset: the teacher does not say what it was trained on. Name one.")
        reporter.note(f"training on {dataset}, as the teacher was")
        found["dataset"] = dataset
    if settings.student is None:
        reporter.note(f"the student is a new {teacher.config.backbone}, like the teacher")
        found["student"] = teacher.config.backbone
    return settings.model_copy(update=found) if found else settings


def check_student(settings: DistillSettings, teacher: Embedder, reporter: Reporter) -> None:
    """Refuse a student that no training can begin with, before the first of several begins.

    A new student is built from random weights for that, so that nothing is fetched.

    Raises:
        RamError: The student cannot be had, or does not fit the teacher or the settings.
    """
    if settings.weights is None and is_new(settings.student or teacher.config.backbone):
        settings = settings.model_copy(update={"pretrained": False})
    build_student(settings, teacher, reporter)


def open_teacher(settings: DistillSettings, runtime: Runtime, reporter: Reporter) -> Embedder:
    """The gallery network, in the size it will be seen at, never to be trained."""
    if meant := AML_TEACHERS.get(settings.teacher):
        reporter.warn(
            f"teacher: {settings.teacher} knows only ImageNet; AML means {meant} by that name"
        )
    teacher = load_model(model_folder(settings.teacher))
    own, wanted = teacher.spec.size, settings.teacher_image_size
    if wanted is not None and wanted != own:
        reporter.note(f"the teacher was made for {own} px and sees {wanted}")
        teacher.set_input_size(wanted)
    teacher.requires_grad_(False)
    return place(teacher, runtime).eval()


def build_student(
    settings: DistillSettings, teacher: Embedder, reporter: Reporter = SILENT
) -> Embedder:
    """A student that embeds in as many dimensions as the teacher.

    Like the teacher, it has a projection or none. Without one, a new student whose features are
    not as wide as the teacher's gets a 1 x 1 convolution to that width (Budnik & Avrithis, CVPR
    2021).

    Args:
        settings: Of the command.
        teacher: Gallery network, whose head a new student starts from.
        reporter: Told where a student that exists keeps its own head.

    Raises:
        ConfigError: It has another width, or is asked for another head than it has.
    """
    width, dimension = settings.adapter, settings.whitening
    if dimension is None:
        dimension = 0 if teacher.projection is None else teacher.dimension
    name = settings.student or teacher.config.backbone
    student = build_network(
        name, settings, reporter, dimension=dimension, adapter=width or 0, head_from=teacher
    )
    fits = student.dimension == teacher.dimension
    if is_new(name) and width is None and dimension == 0 and not fits:
        student = build_network(
            name, settings, reporter, dimension=0, adapter=teacher.dimension, head_from=teacher
        )
    if student.dimension != teacher.dimension:
        if is_new(name):
            raise dimension_error(student.dimension, teacher.dimension)
        raise ConfigError(
            f"student: {name} embeds in {student.dimension} dimensions, the teacher in "
            f"{teacher.dimension}. Name a backbone, which gets a new head, or choose a teacher of "
            f"{student.dimension}."
        )
    student.set_input_size(settings.image_size or teacher.spec.size // 2)
    return student


def _validation(distillation: Distillation) -> Validate:
    """Asymmetric retrieval on classes that are not trained on; the gallery is embedded once."""
    images = distillation.dataset.val
    gallery = distillation.teacher_vectors(images)
    runtime, workers = distillation.runtime, distillation.workers

    def validate(network: nn.Module) -> Mapping[str, float]:
        query = embed_images(
            cast(Embedder, network), images, runtime=runtime, workers=workers, fit=distillation.fit
        )
        return validation_values(
            label_metrics(query, gallery, images.labels, images.labels, (1,), same_set=True)
        )

    return validate


def _teacher_record(settings: DistillSettings, teacher: Embedder) -> dict[str, object]:
    return {
        "name": settings.teacher,
        "hash": model_hash(teacher),
        "backbone": teacher.config.backbone,
        "dimension": teacher.dimension,
        "image_size": teacher.spec.size,
    }
