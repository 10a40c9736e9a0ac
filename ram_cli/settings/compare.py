"""What `ram compare` asks for beyond the settings of a distillation."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, Field, field_validator, model_validator

from ram_cli.settings.choices import Budget, MethodName
from ram_cli.settings.faults import did_you_mean
from ram_cli.settings.fields import Flag, FolderPath, as_items
from ram_cli.settings.published import PUBLISHED_NAMES, PUBLISHED_TRAININGS, folded

Names = Annotated[tuple[str, ...], BeforeValidator(as_items), Field(min_length=1)]
Seeds = Annotated[
    tuple[Annotated[int, Field(ge=0, lt=2**32)], ...],
    BeforeValidator(as_items),
    Field(min_length=1),
]

_OWN = re.compile(r"(?P<label>[\w.+-]+)\.(?P<field>\w[\w-]*)\s*=\s*(?P<value>.*)")
_LABEL = re.compile(r"[\w+-][\w.+-]*")


class CompareGroup(BaseModel):
    """Comparison."""

    methods: Annotated[Names, Flag(metavar="NAMES", offers=("methods",))] = Field(
        ("coupled", "cosine-regression", "csd", "d3", "ssp"),
        description="Methods to compare; another word is a variant, whose method --set names.",
    )
    seeds: Annotated[Seeds, Flag(metavar="LIST")] = Field(
        (1, 2, 3), description="Each method is trained once from each."
    )
    budget: Budget = Field(
        "images",
        description="What an epoch and a batch are counted in, the same for every method: views "
        "that the student sees (images), or images, however many views each has (steps).",
    )
    set: Annotated[
        tuple[str, ...], BeforeValidator(as_items), Flag(metavar="METHOD.NAME=VALUE")
    ] = Field((), description="Setting of one method alone, such as csd.neighbours=512.")
    output: Annotated[FolderPath, Flag(("directory",))] = Field(
        Path("ram-compare"), description="Folder of the runs and the tables.", exclude=True
    )

    @model_validator(mode="before")
    @classmethod
    def _tables_of_methods(cls, values: Any) -> Any:
        """Read a table such as `[compare.csd]` of a file as settings of that method."""
        tables = {
            label: table
            for label, table in values.items()
            if isinstance(table, Mapping) and label not in cls.model_fields
        }
        if not tables:
            return values
        told = [f"{label}.{k}={v}" for label, table in tables.items() for k, v in table.items()]
        rest = {name: value for name, value in values.items() if name not in tables}
        said: Any = as_items(values.get("set", ()))
        return {**rest, "set": [*told, *said]}

    @field_validator("methods")
    @classmethod
    def _told_apart(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if alone := [name for name in map(folded, names) if name in PUBLISHED_TRAININGS]:
            raise ValueError(
                f"names {alone[0]}, which trains without a teacher: ram train --mode {alone[0]}"
            )
        labels = tuple(PUBLISHED_NAMES.get(folded(name), folded(name)) for name in names)
        for label in labels:
            if not _LABEL.fullmatch(label):
                raise ValueError(f"'{label}' cannot be the name of a folder")
            if labels.count(label) > 1:
                raise ValueError(f"names {label} twice")
        return labels

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("names a seed twice")
        return seeds

    @field_validator("set")
    @classmethod
    def _readable(cls, told: tuple[str, ...]) -> tuple[str, ...]:
        for item in told:
            if not _OWN.fullmatch(item):
                which = f"'{item}' " if len(told) > 1 else ""  # the only one is shown already
                raise ValueError(f"{which}does not read METHOD.NAME=VALUE")
        return told

    @model_validator(mode="after")
    def _known_methods(self) -> "CompareGroup":
        known = get_args(MethodName)
        for label, own in self.own.items():
            if label not in self.methods:
                raise ValueError(
                    f"--set {label}.{next(iter(own))}: {label} is not among --methods "
                    f"{','.join(self.methods)}{did_you_mean(label, self.methods)}"
                )
        for label in self.methods:
            if label not in known and "method" not in self.own.get(label, {}):
                close = did_you_mean(label, known) or f"; choose from {', '.join(known)}."
                raise ValueError(
                    f"--methods: '{label}' is no method{close} A variant of a method needs "
                    f"--set {label}.method=NAME"
                )
        return self

    @property
    def own(self) -> dict[str, dict[str, str]]:
        """What --set says, by method and setting; of two values of one setting the last counts."""
        said: dict[str, dict[str, str]] = {}
        for item in self.set:
            if found := _OWN.fullmatch(item):
                label = PUBLISHED_NAMES.get(folded(found["label"]), folded(found["label"]))
                said.setdefault(label, {})[found["field"].replace("-", "_")] = found["value"]
        return said
