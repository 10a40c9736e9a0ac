"""Settings of what goes with a published model, and of where it is published."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, model_validator

from ram_cli.settings.fields import Device, Flag


def _licence(value: str) -> str:
    if value and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", value):
        raise ValueError("is no licence identifier in lower case, such as apache-2.0")
    return value


def _repository(value: str) -> str:
    if value and not re.fullmatch(r"[\w.-]+/[\w.-]+", value):
        raise ValueError("is not of the form owner/name")
    return value


def _branch(value: str) -> str:
    if value and not re.fullmatch(r"\w[\w./-]*", value):
        raise ValueError("is no name of a branch")
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
    device: Annotated[Device, Flag(("gpu-id",), metavar="NAME", offers=("devices",))] = Field(
        "auto", description="Where the time of a query is measured."
    )


class HubGroup(BaseModel):
    """Hub."""

    hub: Annotated[
        str, AfterValidator(_repository), Flag(metavar="OWNER/NAME", shown="the folder alone")
    ] = Field("", description="Repository to publish to; a pair's teacher goes to NAME-teacher.")
    private: bool = Field(False, description="Create the repository as a private one.")
    revision: Annotated[
        str, AfterValidator(_branch), Flag(metavar="BRANCH", shown="the main branch")
    ] = Field("", description="Branch to publish to; it is created if it is missing.")
    dry_run: bool = Field(False, description="List what would be published, and send nothing.")

    @model_validator(mode="after")
    def _only_with_a_repository(self) -> "HubGroup":
        asked = [name for name in ("private", "revision", "dry_run") if getattr(self, name)]
        if asked and not self.hub:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in asked)
            raise ValueError(f"{flags}: nothing is published without --hub OWNER/NAME")
        return self
