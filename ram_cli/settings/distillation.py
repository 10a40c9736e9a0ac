"""Settings of the distillation methods."""

from typing import Annotated

from pydantic import BaseModel, Field, NonNegativeFloat, PositiveFloat, PositiveInt

from ram_cli.settings.choices import Method
from ram_cli.settings.fields import Flag


class DistillationGroup(BaseModel):
    """Distillation."""

    method: Annotated[Method, Flag(("mode",))] = Field(
        "coupled", description="How the student follows the teacher."
    )
    views: Annotated[PositiveInt, Flag(("pos-num",))] = Field(
        8, description="Coupled views of an image."
    )
    lambda_ts: Annotated[NonNegativeFloat, Flag(("lam-1",))] = Field(
        0.7, description="Weight of the teacher-student relations."
    )
    lambda_ss: Annotated[NonNegativeFloat, Flag(("lam-2",))] = Field(
        0.7, description="Weight of the student-student relations."
    )
    mixup_alpha: NonNegativeFloat = Field(0.2, description="Beta parameter of mixup; 0 = no mixup.")
    temperature: Annotated[PositiveFloat, Flag(("temp",))] = Field(
        0.1, description="Temperature of the methods with a softmax."
    )
