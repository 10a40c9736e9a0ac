"""Settings of the methods that compare with neighbours or anchors in the teacher's space."""

from typing import Annotated

from pydantic import BaseModel, Field, NonNegativeFloat, PositiveFloat, PositiveInt

from ram_cli.settings.fields import Auto

AutoTemperature = Annotated[PositiveFloat | None, Auto]
AutoWeight = Annotated[NonNegativeFloat | None, Auto]


class SpacesGroup(BaseModel):
    """Neighbours and anchors."""

    neighbours: Annotated[Annotated[int, Field(ge=2)] | None, Auto] = Field(
        None,
        description="Teacher's nearest training images that an image is compared with, itself "
        "included; auto is 4096 for csd and 10 for d3.",
    )
    student_temperature: AutoTemperature = Field(
        None,
        description="Temperature of the student's similarities; auto is 1 for csd, 0.1 for ssp.",
    )
    teacher_temperature: AutoTemperature = Field(
        None,
        description="Temperature of the teacher's similarities; auto is 0.01 for csd, 0.1 for ssp.",
    )
    feature_weight: AutoWeight = Field(
        None, description="Weight in d3 of the teacher's vector itself; auto is 3.125."
    )
    inverted_weight: AutoWeight = Field(
        None, description="Weight in d3 of pairs that the student ranks otherwise; auto is 2."
    )
    consistent_weight: AutoWeight = Field(
        None, description="Weight in d3 of pairs that both rank the same way; auto is 1."
    )
    anchors: PositiveInt = Field(
        256, description="Anchors of ssp in each subspace, at most as many as there are images."
    )
    subspaces: Annotated[PositiveInt | None, Auto] = Field(
        None, description="Parts that ssp cuts a vector into; auto is one per 64 dimensions."
    )
