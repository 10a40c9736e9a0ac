"""Groups of settings that commands share; the docstring of a group is its panel in help."""

from pathlib import Path
from typing import Annotated

from pydantic import (
    BaseModel,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
)

from ram_cli.settings.choices import (
    Engine,
    Fit,
    Logger,
    Optimizer,
    Pooling,
    Precision,
    ProjectionStart,
    Scheduler,
)
from ram_cli.settings.fields import (
    Auto,
    AutoCount,
    AutoSize,
    Dataset,
    Datasets,
    Device,
    Flag,
    FolderPath,
)

Ratio = Annotated[float, Field(gt=0, lt=1)]


class MachineGroup(BaseModel):
    """Machine."""

    device: Annotated[Device, Flag(("gpu-id",), metavar="NAME", offers=("devices",))] = Field(
        "auto", description="Where to compute: auto, cpu, cuda, cuda:N or mps."
    )
    precision: Precision = Field(
        "auto",
        description="Arithmetic of the networks; auto is bf16 on CUDA (fp16 on GPUs without it), "
        "else fp32.",
    )
    engine: Engine = Field(
        "auto",
        description="What runs networks that do not train; auto is onnxruntime for long work in "
        "fp32 on a CPU, if it is installed, else torch.",
    )
    workers: AutoCount = Field(
        None, description="Processes that decode images; 0 = none, auto suits the machine."
    )


class SeedGroup(BaseModel):
    """Run."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(
        1234, description="Start of every random draw."
    )


class LogGroup(BaseModel):
    """Run."""

    log_every: Annotated[PositiveInt, Flag(("print-freq",))] = Field(
        10, description="Steps between two lines of the log; an epoch ends with one."
    )
    log_with: Annotated[Logger, Flag(("logger",))] = Field(
        "tensorboard", description="Log kept beside log.jsonl."
    )
    comment: str | None = Field(None, description="Remark kept with the run.")
    save_every: Annotated[PositiveInt, Flag(("save-freq",))] = Field(
        1, description="Epochs between two checkpoints."
    )
    checkpoint_minutes: PositiveFloat = Field(
        5.0, description="Minutes between two checkpoints inside an epoch."
    )


class RunGroup(SeedGroup, LogGroup):
    """Run."""

    output: Annotated[FolderPath | None, Flag(("directory",), shown="a new one under runs/")] = (
        Field(None, description="Folder of the run.", exclude=True)
    )
    resume: Annotated[
        FolderPath | None,
        Flag(("resume-student",), metavar="RUN", bare="newest", offers=("runs",)),
    ] = Field(None, description="Run folder to go on with; alone, the newest run.", exclude=True)


class SplitGroup(BaseModel):
    """Data."""

    data_root: FolderPath = Field(Path("data"), description="Folder that holds the datasets.")
    split_seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(
        0, description="Start of the draw that splits the classes of a plain folder."
    )
    test_ratio: Ratio = Field(
        0.5, description="Share of the classes of a plain folder kept for test."
    )
    val_ratio: Ratio = Field(0.5, description="Share of the training classes kept for validation.")
    skip_unreadable: bool = Field(
        False, description="Leave out images that cannot be decoded instead of stopping."
    )
    fit: Annotated[
        Fit | None, Auto, Flag(shown="whole for landmarks and teachers of whole images, else crop")
    ] = Field(
        None,
        description="What is seen of an image, where it is not cropped at random: its centre as a "
        "square, or the whole, whose longer side the size is then.",
    )


class HeldBackGroup(SplitGroup):
    """Data."""

    val: Annotated[bool, Flag(denial="Train on all classes, with none held back.")] = Field(
        True, description="Hold classes back for validation."
    )
    val_every: Annotated[PositiveInt, Flag(("val-freq",))] = Field(
        1, description="Epochs between two validations."
    )
    image_copies: Annotated[bool, Flag(denial="Train on the images themselves.")] = Field(
        True, description="Train on the copies made by ram prepare --cache-size, if there are any."
    )
    test_datasets: Annotated[Datasets, Flag(metavar="NAMES", offers=("datasets",))] = Field(
        (), description="Datasets to test on, once, after training."
    )
    final: bool = Field(
        False,
        description="Final run: train on all classes, with no validation, then test once on the "
        "dataset's own test classes.",
    )


_TRAINED_ON = (
    "Dataset to train on: a folder of class folders, furniture, or a published one, such as cub or "
    "sfm120k, which brings its published recipe."
)


class DataGroup(HeldBackGroup):
    """Data."""

    dataset: Annotated[
        Dataset, Flag(("training-dataset",), metavar="NAME", offers=("datasets",))
    ] = Field(description=_TRAINED_ON)


class DistillDataGroup(HeldBackGroup):
    """Data."""

    dataset: Annotated[
        Dataset | None,
        Flag(
            ("training-dataset",),
            metavar="NAME",
            shown="the one the teacher was trained on",
            offers=("datasets",),
        ),
    ] = Field(None, description=_TRAINED_ON)


class EmbedderGroup(BaseModel):
    """Network."""

    pool: Pooling = Field("gem", description="Global pooling; ram list poolings says more.")
    whitening: Annotated[int, Field(ge=0), Flag(metavar="DIM")] = Field(
        512, description="Outputs of the projection after pooling; 0 = no projection."
    )
    local_whitening: bool = Field(False, description="Project every position before pooling.")
    regional: bool = Field(False, description="Pool over the regions of R-MAC.")
    pretrained: Annotated[
        bool, Flag(negatives=("not-pretrained",), denial="Start from random weights.")
    ] = Field(True, description="Start from ImageNet weights.")
    weights: Annotated[FolderPath | None, Flag(metavar="FILE")] = Field(
        None, description="File of backbone weights to start from, instead of fetched ones."
    )


class BackboneGroup(EmbedderGroup):
    """Network."""

    backbone: Annotated[
        str,
        Flag(
            ("arch", "student", "student-path", "network-path"),
            metavar="NAME",
            offers=("backbones", "runs"),
        ),
    ] = Field(description="Network to train: a timm or torchvision name, a folder or a file.")
    image_size: AutoSize = Field(
        None, description="Side of its input, pixels; auto is the network's own."
    )
    adapter: Annotated[int, Field(ge=0), Flag(metavar="DIM")] = Field(
        0, description="Outputs of a 1 x 1 convolution before pooling; 0 = none."
    )
    projection_start: ProjectionStart = Field(
        "whitening", description="Projection to start from: learned from the labels, or random."
    )


class DistillNetworksGroup(EmbedderGroup):
    """Network."""

    teacher: Annotated[str, Flag(("teacher-path",), metavar="NAME", offers=("models", "runs"))] = (
        Field(description="Gallery network: a folder, a file, a published or a Hub name.")
    )
    student: Annotated[
        str | None,
        Flag(
            ("student-path", "network-path", "arch"),
            metavar="NAME",
            shown="the teacher's architecture, from ImageNet weights",
            offers=("backbones", "models", "runs"),
        ),
    ] = Field(None, description="Query network: the same kinds of name, or a backbone.")
    image_size: AutoSize = Field(
        None, description="Side of the student's input, pixels; auto is half the teacher's."
    )
    teacher_image_size: AutoSize = Field(
        None, description="Side of the teacher's input, pixels; auto is the teacher's own."
    )
    whitening: Annotated[AutoCount, Flag(metavar="DIM")] = Field(  # type: ignore[assignment]
        None,
        description="Outputs of the student's projection; auto is as many as the teacher's.",
    )
    adapter: Annotated[AutoCount, Flag(metavar="DIM")] = Field(
        None,
        description="Outputs of a 1 x 1 convolution before pooling, 0 = none; auto is the width of "
        "a teacher without projection, where the student's differs.",
    )


class OptimisationGroup(BaseModel):
    """Optimisation."""

    epochs: PositiveInt = Field(200, description="Passes over the training images.")
    images_per_epoch: Annotated[PositiveInt, Flag(("query-size",))] = Field(
        8000, description="Images of one pass, at most."
    )
    batch_size: PositiveInt = Field(8, description="Images in a batch.")
    accumulate: Annotated[PositiveInt, Flag(("update-every",))] = Field(
        25, description="Batches in an optimiser step."
    )
    optimizer: Optimizer = Field("adamw", description="Optimiser.")
    scheduler: Scheduler = Field("onecycle", description="Schedule of the learning rate.")
    lr: PositiveFloat = Field(1e-4, description="Peak learning rate.")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="Momentum of sgd.")
    weight_decay: NonNegativeFloat = Field(1e-6, description="Weight decay.")
    freeze_bn: Annotated[bool, Flag(denial="Update the statistics of batch normalisation.")] = (
        Field(True, description="Keep the statistics of batch normalisation.")
    )
