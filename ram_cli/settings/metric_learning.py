"""Settings of trainings without a teacher."""

from typing import Annotated, Any

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, field_validator, model_validator

from ram_cli.settings.choices import Loss, Mining
from ram_cli.settings.fields import Flag
from ram_cli.settings.published import PUBLISHED_TRAININGS, folded


class MetricLearningGroup(BaseModel):
    """Metric learning."""

    mode: Annotated[str | None, Flag(metavar="NAME")] = Field(
        None,
        description="Published way to train: sym is --loss triplet --mining pool, std is --loss "
        "contrastive --mining hard.",
    )
    loss: Loss = Field("triplet", description="Metric-learning loss.")
    loss_margin: PositiveFloat = Field(0.7, description="Margin of the loss.")
    images_per_class: Annotated[int, Field(ge=2)] = Field(
        4, description="Images of a class in a batch."
    )
    negatives: Annotated[PositiveInt, Flag(("neg-num",))] = Field(
        4, description="Negatives of an anchor."
    )
    mining: Mining = Field(
        "pool",
        description="Where negatives come from: near and far ones of a pool, once per epoch; the "
        "batch itself; or a pool again, the hardest or random ones, for random pairs of a class.",
    )
    pool_size: Annotated[int, Field(ge=2)] = Field(
        20_000, description="Images that negatives are mined from, at most."
    )

    @model_validator(mode="before")
    @classmethod
    def _published_mode(cls, values: Any) -> Any:
        """Read a published mode as the settings that it stands for, unless they are given."""
        known = PUBLISHED_TRAININGS.get(folded(values.get("mode")), {})
        return {**known, **values, **({"mode": None} if known else {})}

    @field_validator("mode")
    @classmethod
    def _known_mode(cls, mode: str | None) -> str | None:
        if mode is not None:
            raise ValueError(
                f"is not one of {', '.join(PUBLISHED_TRAININGS)}; ram distill has more"
            )
        return mode
