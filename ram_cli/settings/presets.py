"""Published hyper-parameters of a dataset: above the defaults, below everything a person says."""

from typing import Any

from ram_cli.settings.choices import DatasetName


def _preset(lr: float, lambda_ts: float, lambda_ss: float) -> dict[str, Any]:
    return {
        "lr": lr,
        "lambda_ts": lambda_ts,
        "lambda_ss": lambda_ss,
        "image_size": 224,
        "teacher_image_size": 448,
    }


PRESETS: dict[DatasetName, dict[str, Any]] = {
    "cub": _preset(1.4025e-4, 0.7718, 0.6684),
    "cars": _preset(1.1692e-4, 0.6371, 0.7731),
    "sop": _preset(1.7579e-4, 0.7482, 0.6778),
}
"""Values per dataset: arXiv 2210.05463, ResNet50, 448 to 224 pixels, seed 1234."""


def preset_of(dataset: object) -> dict[str, Any]:
    """Return the preset of a dataset as a person named it; empty where there is none."""
    name = dataset.strip().lower().removesuffix("-test") if isinstance(dataset, str) else ""
    return next((preset for known, preset in PRESETS.items() if known == name), {})


def dataset_of_network(name: object) -> str | None:
    """Return the dataset that a name such as `cub-448r-resnet50-512-gem-w` begins with."""
    known = name.strip().lower().partition("-")[0] if isinstance(name, str) else ""
    return known if known in PRESETS else None
