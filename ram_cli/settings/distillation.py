"""Settings of the distillation methods."""

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from ram_cli.settings.choices import Method, Negatives
from ram_cli.settings.fields import Auto, Flag
from ram_cli.settings.published import PUBLISHED_PAIRS, PUBLISHED_TRAININGS, folded


class DistillationGroup(BaseModel):
    """Distillation."""

    method: Annotated[Method, Flag(("mode",))] = Field(
        "coupled", description="How the student follows the teacher; ram list methods says more."
    )
    symmetric: Annotated[bool, Flag(("sym",))] = Field(
        False, description="Embed positives and negatives by the student, not by the teacher."
    )
    published_loss: Annotated[str | None, Flag(("loss",), metavar="NAME")] = Field(
        None, description="Published name of a loss, beside that of a mode."
    )

    @model_validator(mode="before")
    @classmethod
    def _published_pair(cls, values: Any) -> Any:
        """Read a published mode and loss as the method that they name together."""
        pair = folded(values.get("method")), folded(values.get("published_loss"))
        known = PUBLISHED_PAIRS.get(pair, {})
        told = bool(known) or pair[0] in PUBLISHED_TRAININGS  # the mode alone is the fault then
        return {**values, **known, **({"published_loss": None} if told else {})}

    @field_validator("published_loss")
    @classmethod
    def _no_pair(cls, loss: str | None) -> str | None:
        if loss is not None:
            modes = sorted(mode for mode, known in PUBLISHED_PAIRS if known == folded(loss))
            which = f"with --mode {', '.join(modes)}" if modes else "never"
            raise ValueError(f"was published {which}; a --method has its own loss")
        return loss


class CoupledGroup(BaseModel):
    """Coupled views."""

    views: Annotated[PositiveInt | None, Auto, Flag(("pos-num",))] = Field(
        None,
        description="Coupled views of an image; auto is 8 for coupled, and one plain view, with "
        "the teacher's vectors computed once, for csd, d3 and ssp.",
    )
    lambda_ts: Annotated[NonNegativeFloat, Flag(("lam-1",))] = Field(
        0.7, description="Weight of the teacher-student relations."
    )
    lambda_ss: Annotated[NonNegativeFloat, Flag(("lam-2",))] = Field(
        0.7, description="Weight of the student-student relations."
    )
    mixup_alpha: NonNegativeFloat = Field(0.2, description="Beta parameter of mixup; 0 = no mixup.")


class TuplesGroup(BaseModel):
    """Tuples."""

    negatives: Annotated[PositiveInt, Flag(("neg-num",))] = Field(
        5, description="Negatives of an anchor."
    )
    negatives_from: Annotated[Negatives | None, Auto] = Field(
        None, description="Where negatives come from; auto is what the method says."
    )
    pool_size: Annotated[int, Field(ge=2)] = Field(
        20_000, description="Images that negatives are chosen from in an epoch, at most."
    )
    loss_margin: PositiveFloat = Field(0.7, description="Margin of the loss.")
    temperature: Annotated[PositiveFloat, Flag(("temp",))] = Field(
        0.1, description="Temperature of a softmax."
    )
    ranked_examples: Annotated[int, Field(ge=2), Flag(("nexamples",))] = Field(
        300, description="Images near an anchor that ranked-triplet draws from."
    )
