"""Settings of the search for a learning rate and loss weights."""

from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from ram_cli.settings.fields import Flag, as_items


def _pair(value: object) -> object:
    items = as_items(value)
    if not isinstance(items, list | tuple) or len(items) != 2:
        raise ValueError("is not two numbers, such as 0.6,0.8")
    return items


def _ascending(pair: tuple[float, float]) -> tuple[float, float]:
    low, high = pair
    if low > high:
        raise ValueError(f"is reversed; write {high:g},{low:g}")
    return pair


PositiveRange = Annotated[
    tuple[PositiveFloat, PositiveFloat], BeforeValidator(_pair), AfterValidator(_ascending)
]
WeightRange = Annotated[
    tuple[NonNegativeFloat, NonNegativeFloat], BeforeValidator(_pair), AfterValidator(_ascending)
]


class TuningGroup(BaseModel):
    """Tuning."""

    trials: PositiveInt = Field(
        6, description="Trainings to compare, those that are there already included."
    )
    lr_range: Annotated[PositiveRange, Flag(metavar="LOW,HIGH")] = Field(
        (1e-4, 2e-4), description="Learning rates to search, evenly in their logarithm."
    )
    lambda_ts_range: Annotated[WeightRange, Flag(metavar="LOW,HIGH")] = Field(
        (0.6, 0.8), description="Weights of the teacher-student relations to search."
    )
    lambda_ss_range: Annotated[WeightRange, Flag(metavar="LOW,HIGH")] = Field(
        (0.6, 0.8), description="Weights of the student-student relations to search."
    )
    prune: Annotated[bool, Flag(denial="Train every trial to its end.")] = Field(
        True, description="End a trial early that others have left behind."
    )
    prune_percent: Annotated[float, Field(gt=0, lt=100), Flag(metavar="PERCENT")] = Field(
        50.0,
        description="Share of the trials that go on: a trial ends early if it is not among them; "
        "50 compares with the median.",
    )
    prune_after: PositiveInt = Field(3, description="Trials that must be complete before that.")
    prune_warmup: NonNegativeInt = Field(5, description="Epochs that no trial ends in early.")
    storage: Annotated[str | None, Flag(metavar="URL", shown="study.journal in the folder")] = (
        Field(
            None,
            description="Database that keeps the study, as sqlite:///FILE or "
            "postgresql://USER@HOST/NAME.",
        )
    )
    study: str = Field("ram-tune", min_length=1, description="Name of the study in the database.")
