"""Settings of the commands that bring and check datasets."""

from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, Field, model_validator

from ram_cli.settings.base import CommandSettings
from ram_cli.settings.fields import AutoSize, Dataset, Files, Flag, FolderPath, KnownDatasets
from ram_cli.settings.groups import MachineGroup, SplitGroup


class DownloadGroup(BaseModel):
    """Download."""

    datasets: Annotated[KnownDatasets, Flag(metavar="NAME", positional=True)] = Field(
        (), description="Datasets to bring, one or more; without one, what there is."
    )
    list: bool = Field(False, description="Only show what there is, its size and licence.")
    data_root: FolderPath = Field(Path("data"), description="Folder that holds the datasets.")
    mirror: Annotated[str | None, Flag(metavar="URL")] = Field(
        None,
        description="What to try first: the address of a folder with the files, or of the file, or "
        "owner/name of the Hub.",
    )
    from_file: Annotated[Files, Flag(metavar="FILE")] = Field(
        (), description="Archive that is here already, instead of a download; may be repeated."
    )
    keep_archive: Annotated[bool, Flag(denial="Delete the archive once it is unpacked.")] = Field(
        True, description="Keep the archive."
    )


class DownloadSettings(DownloadGroup, CommandSettings):
    """Settings of `ram download`."""

    table: ClassVar[str] = "download"

    @model_validator(mode="after")
    def _files_of_one_dataset(self) -> Self:
        if self.from_file and len(self.datasets) != 1:
            raise ValueError("--from-file: name the one dataset that the file holds")
        return self


class PreparedGroup(SplitGroup):
    """Data."""

    dataset: Annotated[Dataset, Flag(metavar="DATASET", positional=True, offers=("datasets",))] = (
        Field(
            description="Dataset to prepare: furniture, cub, cars, sop, inshop, landmarks such as "
            "roxford5k, or a folder of class folders."
        )
    )


class CopiesGroup(BaseModel):
    """Copies."""

    cache_size: Annotated[AutoSize, Flag(shown="no copies")] = Field(
        None,
        description="Shorter side, pixels, of copies to make of larger images, for trainings to "
        "read: no less than the largest --image-size they will use.",
    )


class PreparedFeaturesGroup(BaseModel):
    """Teacher."""

    teacher: Annotated[
        str | None, Flag(("teacher-path",), metavar="NAME", offers=("models", "runs"))
    ] = Field(None, description="Gallery network whose vectors to keep, for ram distill to use.")
    teacher_image_size: AutoSize = Field(
        None, description="Side of its input, pixels; auto is the teacher's own."
    )


class PrepareSettings(
    PreparedGroup, CopiesGroup, PreparedFeaturesGroup, MachineGroup, CommandSettings
):
    """Settings of `ram prepare`."""

    table: ClassVar[str] = "prepare"
    preset_fields: ClassVar[frozenset[str]] = frozenset({"teacher_image_size"})
