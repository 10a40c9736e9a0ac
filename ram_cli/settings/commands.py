"""One settings class per command: the groups it is made of, in the order help shows them."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BaseModel, Field

from ram_cli.settings.base import CommandSettings
from ram_cli.settings.choices import Listing
from ram_cli.settings.compare import CompareGroup
from ram_cli.settings.data import DownloadSettings, PrepareSettings
from ram_cli.settings.distillation import CoupledGroup, DistillationGroup, TuplesGroup
from ram_cli.settings.evaluation import (
    EvaluationDataGroup,
    EvaluationNetworksGroup,
    ProtocolGroup,
)
from ram_cli.settings.fields import AutoEpochs, Device, Flag, FolderPath, Sizes
from ram_cli.settings.groups import (
    BackboneGroup,
    DataGroup,
    DistillDataGroup,
    DistillNetworksGroup,
    LogGroup,
    MachineGroup,
    OptimisationGroup,
    RunGroup,
    SeedGroup,
)
from ram_cli.settings.metric_learning import MetricLearningGroup
from ram_cli.settings.onnx import OnnxGroup
from ram_cli.settings.publish import CardGroup, HubGroup
from ram_cli.settings.search import SearchGroup
from ram_cli.settings.spaces import SpacesGroup
from ram_cli.settings.tuning import TuningGroup

_OPTIMISATION_PRESETS = frozenset(
    {
        "optimizer",
        "scheduler",
        "lr",
        "weight_decay",
        "loss_margin",
        "negatives",
        "pool_size",
        "images_per_epoch",
        "batch_size",
        "accumulate",
        "fit",
    }
)
"""Fields of any training that a known dataset may bring a value for."""


class DemoGroup(BaseModel):
    """Demo."""

    output: FolderPath = Field(Path("ram-demo"), description="Folder to write to.")
    teacher_epochs: AutoEpochs = Field(
        None, description="Passes that train the teacher; auto is 1."
    )
    student_epochs: AutoEpochs = Field(
        None, description="Passes that train the student; auto is 1."
    )


class DemoSettings(DemoGroup, SeedGroup, MachineGroup, CommandSettings):
    """Settings of `ram demo`."""

    table: ClassVar[str] = "demo"


class TrainSettings(
    BackboneGroup,
    DataGroup,
    MetricLearningGroup,
    OptimisationGroup,
    RunGroup,
    MachineGroup,
    CommandSettings,
):
    """Settings of `ram train`."""

    table: ClassVar[str] = "train"
    preset_fields: ClassVar[frozenset[str]] = _OPTIMISATION_PRESETS | {
        "image_size",
        "mode",
        "whitening",
    }


class DistillSettings(
    DistillNetworksGroup,
    DistillDataGroup,
    DistillationGroup,
    CoupledGroup,
    TuplesGroup,
    SpacesGroup,
    OptimisationGroup,
    RunGroup,
    MachineGroup,
    CommandSettings,
):
    """Settings of `ram distill`."""

    table: ClassVar[str] = "distill"
    preset_fields: ClassVar[frozenset[str]] = _OPTIMISATION_PRESETS | {
        "lambda_ts",
        "lambda_ss",
        "image_size",
        "teacher_image_size",
        "method",
    }


class TuneSettings(TuningGroup, DistillSettings):
    """Settings of `ram tune`: how to search, and all of `ram distill`."""

    table: ClassVar[str] = "tune"
    below: ClassVar[str] = "distill"


class CompareSettings(
    CompareGroup,
    DistillNetworksGroup,
    DistillDataGroup,
    CoupledGroup,
    TuplesGroup,
    SpacesGroup,
    OptimisationGroup,
    LogGroup,
    MachineGroup,
    CommandSettings,
):
    """Settings of `ram compare`."""

    table: ClassVar[str] = "compare"
    preset_fields: ClassVar[frozenset[str]] = DistillSettings.preset_fields - {"method"}


class TestSettings(
    EvaluationNetworksGroup,
    EvaluationDataGroup,
    ProtocolGroup,
    SearchGroup,
    MachineGroup,
    CommandSettings,
):
    """Settings of `ram test`."""

    __test__: ClassVar[bool] = False  # not a test case, whatever pytest takes it for
    table: ClassVar[str] = "test"

    @property
    def symmetric(self) -> bool:
        """Whether to test with the student on both sides."""
        return self.sym or not self.asym

    @property
    def asymmetric(self) -> bool:
        """Whether to test with a teacher on the side of the gallery."""
        return self.asym or self.teacher is not None


class ExportGroup(BaseModel):
    """Export."""

    run: Annotated[str, Flag(metavar="RUN", positional=True, offers=("runs", "models"))] = Field(
        description="Run folder, or any name of a model."
    )
    to: Annotated[FolderPath, Flag(metavar="FOLDER")] = Field(description="Folder to write.")
    force: bool = Field(False, description="Replace the folder if it exists.")


class ExportSettings(ExportGroup, CardGroup, HubGroup, OnnxGroup, CommandSettings):
    """Settings of `ram export`."""

    table: ClassVar[str] = "export"


class InfoGroup(BaseModel):
    """Model."""

    model: Annotated[
        str, Flag(metavar="MODEL", positional=True, offers=("models", "runs", "backbones"))
    ] = Field(description="A folder, a file, a published or a Hub name, or a backbone.")
    size: Annotated[Sizes, Flag(metavar="LIST", shown="the model's own")] = Field(
        (), description="Sides of the input to measure at, pixels."
    )
    device: Annotated[Device, Flag(("gpu-id",), metavar="NAME", offers=("devices",))] = Field(
        "auto", description="Where to compute: auto, cpu, cuda, cuda:N or mps."
    )


class InfoSettings(InfoGroup, CommandSettings):
    """Settings of `ram info`."""

    table: ClassVar[str] = "info"


class ListGroup(BaseModel):
    """List."""

    what: Annotated[Listing | None, Flag(metavar="WHAT", positional=True)] = Field(
        None, description="What to list; everything, if left out."
    )


class ListSettings(ListGroup, CommandSettings):
    """Settings of `ram list`."""

    table: ClassVar[str] = "list"


SETTINGS: dict[str, type[CommandSettings]] = {
    settings.table: settings
    for settings in (
        DemoSettings,
        DownloadSettings,
        PrepareSettings,
        TrainSettings,
        DistillSettings,
        TuneSettings,
        CompareSettings,
        TestSettings,
        ExportSettings,
        InfoSettings,
        ListSettings,
    )
}
"""Every command and its settings."""
