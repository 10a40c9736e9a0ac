"""Published hyper-parameters of a dataset: above the defaults, below everything a person says."""

from typing import Any


def _preset(lr: float, lambda_ts: float, lambda_ss: float) -> dict[str, Any]:
    return {
        "lr": lr,
        "lambda_ts": lambda_ts,
        "lambda_ss": lambda_ss,
        "image_size": 224,
        "teacher_image_size": 448,
    }


_LANDMARKS: dict[str, Any] = {
    "mode": "std",  # of ram train
    "whitening": 0,  # of ram train; whitening is learned from pairs afterwards
    "method": "contrastive",
    "optimizer": "adam",
    "scheduler": "exponential",
    "lr": 1e-6,
    "weight_decay": 1e-6,
    "loss_margin": 0.7,
    "negatives": 5,
    "pool_size": 20_000,
    "images_per_epoch": 2_000,
    "batch_size": 5,
    "accumulate": 1,
    "image_size": 362,
    "teacher_image_size": 362,
    "fit": "whole",
}
"""arXiv 2006.16331 on retrieval-SfM: both networks at one size, tuples, one step per batch."""

PRESETS: dict[str, dict[str, Any]] = {
    "cub": _preset(1.4025e-4, 0.7718, 0.6684),
    "cars": _preset(1.1692e-4, 0.6371, 0.7731),
    "sop": _preset(1.7579e-4, 0.7482, 0.6778),
    "sfm30k": _LANDMARKS,
    "sfm120k": _LANDMARKS,
}
"""Values per dataset, or folder of that name. Of the first three: arXiv 2210.05463, ResNet50, 448
to 224 pixels, seed 1234."""


def preset_of(dataset: object) -> dict[str, Any]:
    """Return the preset of a dataset as a person named it; empty where there is none."""
    name = dataset.strip().lower().removesuffix("-test") if isinstance(dataset, str) else ""
    return next((preset for known, preset in PRESETS.items() if known == name), {})


def dataset_of_network(name: object) -> str | None:
    """Return the dataset that a name such as `cub-448r-resnet50-512-gem-w` begins with."""
    known = name.strip().lower().partition("-")[0] if isinstance(name, str) else ""
    return known if known in PRESETS else None
