"""Settings of what goes with a published model, and of where it is published."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from ram_cli.settings.fields import Device, Flag


def _licence(value: str) -> str:
    if value and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", value):
        raise ValueError("is no licence identifier in lower case, such as apache-2.0")
    return value


class CardGroup(BaseModel):
    """Card."""

    pair: bool = Field(
        False, description="Export a student with its teacher, into FOLDER/student and /teacher."
    )
    picture: bool = Field(
        False, description="Show queries and what they found, from the last ram test --save."
    )
    licence: Annotated[
        str, AfterValidator(_licence), Flag(("license",), metavar="ID", shown="none is stated")
    ] = Field("", description="Licence of the model, such as apache-2.0 or cc-by-nc-4.0.")
    device: Annotated[Device, Flag(("gpu-id",), metavar="NAME")] = Field(
        "auto", description="Where the time of a query is measured."
    )
