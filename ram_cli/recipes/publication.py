"""What is published with a model: its record, its results, its picture and its card."""

import re
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ram_cli.engine import Runtime
from ram_cli.errors import ConfigError
from ram_cli.evaluation.cost import machine_name, query_cost
from ram_cli.export import (
    PICTURE_FILE,
    CardFacts,
    Graphs,
    Reference,
    Results,
    card,
    public_record,
    read_results,
    save_results,
)
from ram_cli.files import write_text
from ram_cli.models import (
    CARD_FILE,
    ZOO,
    Embedder,
    find_in_zoo,
    is_model_folder,
    kept_whitening,
    load_model,
    model_hash,
    published_as,
    read_provenance,
    stored_whitening,
)
from ram_cli.progress import Reporter
from ram_cli.recipes.aligned import (
    BESIDE,
    find_teacher,
    is_teacher_of,
    size_at_distillation,
    teacher_record,
)
from ram_cli.recipes.common import model_folder
from ram_cli.settings import ExportSettings

_PINNED = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Part:
    """One model to export.

    Attributes:
        place: Its folder below the target; empty for the target itself.
        source: Model folder, file or name that it comes from.
        model: The model.
        record: Where it comes from, without paths of this machine.
        name: For people.
        reference: What will load it.
        results: Of tests of it.
        picture: File to show on its card.
        licence: As stated.
        teacher: The teacher that it is aligned with, where a reader can have it.
        student: The student that it is exported with.
        gallery: Name of its teacher, where the folder is to hold the whitening of that.
    """

    place: str
    source: str
    model: Embedder
    record: dict[str, Any]
    name: str
    reference: str
    results: Results = field(default_factory=lambda: Results(""))
    picture: Path | None = None
    licence: str = ""
    teacher: Reference | None = None
    student: Reference | None = None
    gallery: str | None = None


def parts_of(source: str, settings: ExportSettings, reporter: Reporter) -> list[Part]:
    """The model to export, and for a pair its teacher.

    Raises:
        ConfigError: There is no picture to show, or no teacher for a pair.
        RamError: A model cannot be loaded.
    """
    model = load_model(source)
    _set_published_size(source, model, reporter)
    name = settings.hub.rpartition("/")[2] or settings.to.resolve().name
    one = Part(
        place="",
        source=source,
        model=model,
        record=_record(source),
        name=name,
        reference=_on_hub(settings.hub, settings) if settings.hub else name,
        results=_results(source, model),
        picture=_picture(source, model) if settings.picture else None,
        licence=settings.licence,
    )
    recorded = str(teacher_record(source).get("name"))
    if not settings.pair:
        known = published_as(source)
        gallery = (ZOO[known].teacher or None) if known else None
        return [replace(one, teacher=_published(recorded), gallery=gallery)]
    return _pair(one, settings, reporter)


def repositories(settings: ExportSettings) -> dict[str, str]:
    """Where every part goes on the Hub, by its place below the target; nothing where it does not.

    A teacher goes to a name of its own, so that both are found as every other model is.
    """
    if not settings.hub:
        return {}
    if settings.pair:
        return {"student": settings.hub, BESIDE: f"{settings.hub}-{BESIDE}"}
    return {"": settings.hub}


def keep_results_of(part: Part, folder: Path) -> None:
    """Write results and picture of a model beside it, where there are any."""
    if part.results.rows:
        save_results(folder, part.results)
    if part.picture is not None:
        shutil.copyfile(part.picture, folder / PICTURE_FILE)


def text_of_card(
    part: Part, model: Embedder, runtime: Runtime, folder: Path, graphs: Graphs | None
) -> None:
    """Write the card of a model, with the cost of a query measured now."""
    facts = CardFacts(
        name=part.name,
        reference=part.reference,
        config=part.model.config,
        record=part.record,
        cost=query_cost(model, runtime=runtime),
        machine=machine_name(runtime.device),
        results=part.results,
        picture=part.picture is not None,
        licence=part.licence,
        teacher=part.teacher,
        student=part.student,
        graphs=graphs,
        whitening=kept_whitening(folder),
    )
    write_text(folder / CARD_FILE, card(facts))


def _set_published_size(source: str, model: Embedder, reporter: Reporter) -> None:
    """Old files do not say for which size they were made; their publications do."""
    known = published_as(source)
    if known and model.spec.size != ZOO[known].size:
        model.set_input_size(ZOO[known].size)
        reporter.note(f"{Path(source).name} is {known}, published for {model.spec.size} px")


def _pair(student: Part, settings: ExportSettings, reporter: Reporter) -> list[Part]:
    """Student and teacher as parts that name each other."""
    record = teacher_record(student.source)
    if not record:
        raise ConfigError(f"pair: {settings.run} does not say which teacher it is aligned with.")
    found = model_folder(find_teacher(student.source))
    model = load_model(found)
    if not is_teacher_of(model, record):
        raise ConfigError(
            f"pair: {record.get('name')} is no longer the model that {settings.run} was distilled "
            "from."
        )
    if size := size_at_distillation(student.source, model):
        model.set_input_size(size)
    if student.model.config.fit:  # it followed the teacher's vectors of that much of an image
        model.config = replace(model.config, fit=student.model.config.fit)
    whitened = stored_whitening(found) is not None
    reporter.note(f"its teacher is {found}, at {model.spec.size} px")
    own_reference, teacher_reference = _references(student.name, settings)
    own = _results(found, model)
    alone = [
        row for row in student.results.rows if row.get("query") == row.get("gallery") == BESIDE
    ]
    published = teacher_reference.name if settings.hub else BESIDE
    aligned = dict(student.record["teacher"]) | {
        "name": published,
        "hash": model_hash(model),
        "image_size": model.spec.size,
        "whitened": whitened,
    }
    return [
        replace(
            student,
            place="student",
            record=student.record | {"teacher": aligned},
            reference=own_reference.name,
            teacher=teacher_reference,
            gallery=found if whitened else None,
        ),
        Part(
            place=BESIDE,
            source=found,
            model=model,
            record=_record(found),
            name=f"{student.name}-{BESIDE}",
            reference=teacher_reference.name,
            results=own.with_rows(alone, []),
            licence=student.licence,
            student=own_reference,
        ),
    ]


def _references(name: str, settings: ExportSettings) -> tuple[Reference, Reference]:
    """How the cards of a student and its teacher name the two."""
    if settings.hub:
        student, teacher = (_on_hub(hub, settings) for hub in repositories(settings).values())
        return Reference.on_hub(student), Reference.on_hub(teacher)
    return (
        Reference(f"{name}/student", "../student"),
        Reference(f"{name}/{BESIDE}", f"../{BESIDE}"),
    )


def _on_hub(repository: str, settings: ExportSettings) -> str:
    return f"{repository}@{settings.revision}" if settings.revision else repository


def _record(source: str) -> dict[str, Any]:
    """Where a model comes from: as its folder says, else the file or the name itself."""
    if is_model_folder(source):
        return public_record(read_provenance(source))
    path = Path(source).expanduser()
    record: dict[str, Any] = {"converted_from": path.name if path.exists() else source}
    if known := published_as(source):
        record["dataset"] = {"name": ZOO[known].data}
        if teacher := ZOO[known].teacher:
            record["teacher"] = {"name": teacher}
    return record


def _results(source: str, model: Embedder) -> Results:
    """Results kept with a model; one that is nobody's student is not called so."""
    known = model_hash(model)
    if not is_model_folder(source):
        return Results(known)
    results = read_results(Path(source), known)
    if teacher_record(source):
        return results
    rows = [
        row | {"label": str(row.get("label")).replace("student ", "model ")} for row in results.rows
    ]
    return replace(results, rows=rows)


def _picture(source: str, model: Embedder) -> Path:
    path = Path(source) / PICTURE_FILE
    if not path.is_file() or not _results(source, model).rows:
        raise ConfigError(
            f"picture: {source} holds no picture of this model. Make one first: "
            f"ram test --student {source} --save"
        )
    return path


def _published(teacher: str) -> Reference | None:
    """A teacher that everyone can have: one of the Hub, at a commit, or a published file."""
    if known := find_in_zoo(teacher):
        return Reference(known, ZOO[known].urls[0])
    return Reference.on_hub(teacher) if _PINNED.fullmatch(teacher) else None
