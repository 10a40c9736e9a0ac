"""Names a person may choose from; the tables of the layers above are keyed by these types.

They live here, away from torch, so that `--help` lists them at once.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator

from ram_cli.settings.published import PUBLISHED_NAMES

CommandName = Literal[
    "demo",
    "download",
    "prepare",
    "train",
    "distill",
    "tune",
    "compare",
    "test",
    "export",
    "info",
    "list",
]
"""Commands, and the tables of a settings file."""

DatasetName = Literal[
    "furniture",
    "cub",
    "cars",
    "sop",
    "inshop",
    "sfm30k",
    "sfm120k",
    "roxford5k",
    "rparis6k",
    "oxford5k",
    "paris6k",
    "instre",
    "revisitop1m",
]
"""Datasets known by name; any other value is a folder."""

PoolingName = Literal["gem", "gemmp", "mac", "spoc", "rmac", "none"]
LossName = Literal["triplet", "contrastive", "multi-similarity"]
MethodName = Literal[
    "coupled",
    "cosine-regression",
    "regression",
    "cross-entropy",
    "rkd",
    "darkrank",
    "contrastive",
    "contrastive+",
    "contrastive-distance",
    "random-negatives",
    "triplet",
    "multi-similarity",
    "distance-cross-entropy",
    "positive-regression",
    "ranked-triplet",
    "csd",
    "d3",
    "ssp",
]
MiningName = Literal["pool", "batch", "hard", "random"]
NegativesName = Literal["hard", "random"]
BudgetName = Literal["images", "steps"]
FitName = Literal["crop", "whole"]
ProjectionStartName = Literal["whitening", "random"]
OptimizerName = Literal["sgd", "adam", "adamw"]
SchedulerName = Literal["onecycle", "cyclic", "exponential", "none"]
PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]
EngineName = Literal["auto", "torch", "onnxruntime"]
LoggerName = Literal["tensorboard", "none"]
SplitName = Literal["test", "val", "train"]
ListingName = Literal["datasets", "models", "methods", "poolings", "losses"]


def _folded(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _mode(value: object) -> object:
    folded = _folded(value)
    return PUBLISHED_NAMES.get(folded, folded) if isinstance(folded, str) else folded


Folded = BeforeValidator(_folded)
"""Reads a choice in any case, as in the published `adamW`."""
Mode = BeforeValidator(_mode)
"""Reads a choice in any case, under its published name too."""

Known = Annotated[DatasetName, Folded]
Pooling = Annotated[PoolingName, Folded]
Loss = Annotated[LossName, Mode]
Method = Annotated[MethodName, Mode]
Mining = Annotated[MiningName, Folded]
Negatives = Annotated[NegativesName, Folded]
Budget = Annotated[BudgetName, Folded]
Fit = Annotated[FitName, Folded]
ProjectionStart = Annotated[ProjectionStartName, Folded]
Optimizer = Annotated[OptimizerName, Folded]
Scheduler = Annotated[SchedulerName, Folded]
Precision = Annotated[PrecisionName, Folded]
Engine = Annotated[EngineName, Folded]
Logger = Annotated[LoggerName, Folded]
Split = Annotated[SplitName, Folded]
Listing = Annotated[ListingName, Folded]
