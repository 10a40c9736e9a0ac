"""Names a person may choose from; the tables of the layers above are keyed by these types.

They live here, away from torch, so that `--help` lists them at once.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator

from ram_cli.settings.published import PUBLISHED_NAMES, method_named

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
KeepVectors = Literal["auto", "yes", "no"]
PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]
EngineName = Literal["auto", "torch", "onnxruntime"]
LoggerName = Literal["tensorboard", "none"]
SplitName = Literal["test", "val", "train"]
ZooName = Literal[
    "cub-448r-resnet50-512-gem-w",
    "cars-448r-resnet50-512-gem-w",
    "sop-448r-resnet50-512-gem-w",
    "cub-224r-resnet50-512-gem-w",
    "cars-224r-resnet50-512-gem-w",
    "sop-224r-resnet50-512-gem-w",
    "cub-S224r-T448r-resnet50-512-gem-w",
    "cars-S224r-T448r-resnet50-512-gem-w",
    "sop-S224r-T448r-resnet50-512-gem-w",
    "retrievalSfM120k-vgg16-gem",
    "retrievalSfM120k-resnet101-gem",
    "rSfM120k-tl-resnet50-gem-w",
    "rSfM120k-tl-resnet101-gem-w",
    "rSfM120k-tl-resnet152-gem-w",
    "gl18-tl-resnet50-gem-w",
    "gl18-tl-resnet101-gem-w",
    "gl18-tl-resnet152-gem-w",
    "efficientnet-b3-gem-contr_2048",
    "efficientnet-b3-gem-contr_512",
    "mobilenet-v2-gem-contr-2048",
    "mobilenet-v2-gem-contr-512",
    "efficientnet-b3-gem-contr-plus-resnet101",
    "efficientnet-b3-gem-contr-plus-vgg16",
    "efficientnet-b3-gem-reg-resnet101",
    "efficientnet-b3-gem-reg-vgg16",
    "efficientnet-b3-gem-contr-resnet101",
    "efficientnet-b3-gem-contr-vgg16",
    "efficientnet-b3-gem-dark-resnet101",
    "efficientnet-b3-gem-dark-vgg16",
    "efficientnet-b3-gem-ms-resnet101",
    "efficientnet-b3-gem-ms-vgg16",
    "efficientnet-b3-gem-rkd-resnet101",
    "efficientnet-b3-gem-rkd-vgg16",
    "efficientnet-b3-gem-triplet-resnet101",
    "efficientnet-b3-gem-triplet-vgg16",
    "mobilenet-v2-gem-contr-plus-resnet101",
    "mobilenet-v2-gem-contr-plus-vgg16",
    "mobilenet-v2-gem-reg-resnet101",
    "mobilenet-v2-gem-reg-vgg16",
    "mobilenet-v2-gem-contr-resnet101",
    "mobilenet-v2-gem-contr-vgg16",
    "mobilenet-v2-gem-dark-resnet101",
    "mobilenet-v2-gem-dark-vgg16",
    "mobilenet-v2-gem-ms-resnet101",
    "mobilenet-v2-gem-ms-vgg16",
    "mobilenet-v2-gem-rkd-resnet101",
    "mobilenet-v2-gem-rkd-vgg16",
    "mobilenet-v2-gem-triplet-resnet101",
    "mobilenet-v2-gem-triplet-vgg16",
]
"""Networks known by name; any other value is a folder, a file, a name of the Hub or a backbone."""
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
Method = Annotated[MethodName, BeforeValidator(method_named)]
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
