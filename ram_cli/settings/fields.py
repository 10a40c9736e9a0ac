"""What a field can say about itself beyond pydantic, and the kinds of value that fields share."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt
from pydantic.fields import FieldInfo

from ram_cli.settings.choices import DatasetName, Known
from ram_cli.settings.expressions import parse_numbers

AUTO = "auto"

OfferName = Literal["datasets", "models", "backbones", "runs", "methods", "devices"]
"""Kinds of names that completion proposes where other values are admitted too."""


@dataclass(frozen=True, slots=True)
class Flag:
    """How a field is met outside the program.

    Attributes:
        aliases: Further names that mean the same, without dashes, as flags and as keys of a file.
        negatives: Names of flags that set a boolean field to false, besides `--no-<name>`.
        denial: What `--no-<name>` does, for a field that is on unless denied.
        metavar: What stands for the value in help.
        shown: The default as help words it, where the value itself says little.
        positional: Whether the value is given by place instead of by flag.
        bare: What a flag with nothing after it means; empty where a value is needed.
        offers: Kinds of names that completion proposes.
    """

    aliases: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    denial: str = ""
    metavar: str = ""
    shown: str = ""
    positional: bool = False
    bare: str = ""
    offers: tuple[OfferName, ...] = ()


def flag_of(field: FieldInfo) -> Flag:
    """Return what `field` says about its flag."""
    return next((extra for extra in field.metadata if isinstance(extra, Flag)), Flag())


def kinds_of(annotation: object) -> tuple[object, ...]:
    """Return the plain types inside an annotation such as `Annotated[int, …] | None`."""
    arguments = get_args(annotation)
    if get_origin(annotation) is Literal or not arguments:
        return (annotation,)
    if get_origin(annotation) is Annotated:
        return kinds_of(arguments[0])
    return tuple(kind for argument in arguments for kind in kinds_of(argument))


def choices_of(field: FieldInfo) -> tuple[str, ...]:
    """Return the names a field admits; empty where its values are not a list of names."""
    kinds = kinds_of(field.annotation)
    return next((get_args(kind) for kind in kinds if get_origin(kind) is Literal), ())


def _auto(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() == AUTO else value


class Repeated(list[str]):
    """What a flag given several times holds; each item may itself be a comma list."""


def as_items(value: object) -> object:
    """Split what a flag or a variable gives for a list; a list from a file stays as it is."""
    if isinstance(value, Repeated):
        return [part for text in value for part in _split(text)]
    return _split(value) if isinstance(value, str) else value


def _split(text: str) -> list[Any]:
    if not text.lstrip().startswith("["):
        return [item for part in text.split(",") if (item := part.strip())]
    try:
        items: list[Any] = json.loads(text)
    except json.JSONDecodeError:
        raise ValueError('is not a JSON list, such as ["a", "b"]') from None
    return items


def _scales(value: object) -> object:
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        return value
    numbers = [parse_numbers(part) if isinstance(part, str) else (part,) for part in parts]
    return [number for group in numbers for number in group]


def _device(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return value
    folded = value.strip().lower()
    return f"cuda:{folded}" if folded.isdecimal() else folded


def _known_device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
        raise ValueError("is not one of auto, cpu, cuda, cuda:N, mps")
    return value


def _dataset(value: str) -> str:
    """Read the published `cub-test` as `cub`; the split is a setting of its own."""
    name = value.strip()
    if not name:
        raise ValueError("is empty")
    known = name.lower().removesuffix("-test")
    return known if known in get_args(DatasetName) else name


def _expanded(path: Path) -> Path:
    return path.expanduser()


ImageSize = Annotated[int, Field(ge=16, le=8192)]
"""Side of a square input, pixels."""

Auto = BeforeValidator(_auto)
"""Reads `auto` as None, for a field whose annotation admits None."""

AutoSize = Annotated[ImageSize | None, Auto]
"""Side of a square input, pixels; `auto` is None."""

AutoCount = Annotated[Annotated[int, Field(ge=0)] | None, Auto]
AutoEpochs = Annotated[PositiveInt | None, Auto]
FolderPath = Annotated[Path, AfterValidator(_expanded)]
Device = Annotated[str, BeforeValidator(_device), AfterValidator(_known_device)]
Dataset = Annotated[str, AfterValidator(_dataset)]
Datasets = Annotated[tuple[Dataset, ...], BeforeValidator(as_items)]
KnownDatasets = Annotated[tuple[Known, ...], BeforeValidator(as_items)]
Files = Annotated[tuple[FolderPath, ...], BeforeValidator(as_items)]
Counts = Annotated[tuple[PositiveInt, ...], BeforeValidator(as_items)]
Sizes = Annotated[tuple[ImageSize, ...], BeforeValidator(as_items)]
Scales = Annotated[
    tuple[Annotated[float, Field(gt=0, le=8)], ...], BeforeValidator(_scales), Field(min_length=1)
]


def takes_many(field: FieldInfo) -> bool:
    """Whether the field holds any number of values."""
    return get_origin(field.annotation) is tuple


def takes_auto(field: FieldInfo) -> bool:
    """Whether the field reads `auto` and keeps it as None."""
    return any(isinstance(m, BeforeValidator) and m.func is _auto for m in field.metadata)
