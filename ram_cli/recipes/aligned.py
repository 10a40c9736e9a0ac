"""A student and the teacher that it is aligned with: what its folder records, and where that is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ram_cli.errors import ConfigError, ModelError
from ram_cli.models import (
    AML_TEACHERS,
    ZOO,
    Embedder,
    find_in_zoo,
    is_model_folder,
    model_hash,
    published_as,
    read_provenance,
)
from ram_cli.models.off_the_shelf import off_the_shelf
from ram_cli.progress import Reporter
from ram_cli.recipes.common import model_folder

BESIDE = "teacher"
"""Folder beside the student's in which an exported pair keeps the teacher."""


def teacher_record(student: str | Path) -> Mapping[str, Any]:
    """What the folder of a student says of its teacher; nothing where it has none.

    Of a published student the name of the teacher is known, and no more.
    """
    if not is_model_folder(student):
        published = _published(str(student))
        return {"name": published} if published else {}
    record = read_provenance(student).get("teacher")
    return record if isinstance(record, dict) else {}


def is_teacher_of(teacher: Embedder | str | Path, record: Mapping[str, Any]) -> bool:
    """Whether a model is the one that a record names; one without a hash is taken at its name."""
    return record.get("hash") in (None, model_hash(teacher))


def find_teacher(student: str) -> str:
    """Name of the teacher that a student is aligned with: the one beside it, else as recorded.

    Args:
        student: Model folder of the student, or its name or file in the zoo.

    Raises:
        ConfigError: It does not say, or that teacher is not where it was.
    """
    record = teacher_record(student)
    found = record.get("name")
    if found is None:
        raise ConfigError("teacher: an asymmetric test needs a gallery network: add --teacher.")
    beside = Path(student).parent / BESIDE
    for known in [str(beside), *_where_it_was_trained(student, str(found))]:
        if is_model_folder(known) and model_hash(known) == record.get("hash"):
            return known
    folder = _folder_of(str(found), student, beside)
    if is_model_folder(folder) and not is_teacher_of(folder, record):
        raise ConfigError(
            f"teacher: {found} is no longer the model that {student} was distilled from. "
            "Name that one with --teacher."
        )
    return str(found)


def _where_it_was_trained(student: str, teacher: str) -> list[str]:
    """Folders that a relative path may have meant, where commands now run in another folder."""
    if Path(teacher).is_absolute() or Path(teacher).exists():
        return []
    above = Path(student).resolve().parents
    return [model_folder(str(folder / teacher)) for folder in above if (folder / teacher).is_dir()]


def _folder_of(teacher: str, student: str, beside: Path) -> str:
    """What a recorded name means here, see `model_folder`.

    Raises:
        ConfigError: It means nothing here.
    """
    try:
        folder = model_folder(teacher)
        if not Path(folder).expanduser().exists() and not find_in_zoo(teacher):
            off_the_shelf(teacher)
    except ModelError as error:
        raise ConfigError(
            f"teacher: {student} is aligned with {teacher}, which cannot be had from here. Run "
            f"where it is, bring its folder to {beside}, or name it to ram test with --teacher. "
            f"({error})"
        ) from error
    return folder


def size_at_distillation(student: str | Path, teacher: Embedder) -> int | None:
    """Size that this teacher had when the student was distilled from it."""
    record = teacher_record(student)
    known = record.get("hash") == model_hash(teacher)
    return int(record["image_size"]) if known and record.get("image_size") else None


def teacher_named(teacher: str, student: str, reporter: Reporter) -> str:
    """The gallery network that a person means by `--teacher`.

    The published test command of AML takes `vgg16` or `resnet101`, which are ImageNet's networks
    everywhere else.

    Args:
        teacher: As it was named.
        student: Name of the query network.
        reporter: Told where the name is read otherwise.
    """
    meant = AML_TEACHERS.get(teacher.strip().lower())
    if meant is None or meant != _published(student):
        return teacher
    reporter.note(f"teacher: {teacher} is {meant}, from which {student} was distilled")
    return meant


def _published(student: str) -> str:
    """The published teacher of a student of the zoo, by name or file; empty for any other model."""
    known = published_as(student)
    return ZOO[known].teacher if known else ""
