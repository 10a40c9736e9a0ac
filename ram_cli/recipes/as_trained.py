"""Datasets to test on, split as when the model was trained: it must not know the test classes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ram_cli.datasets import DATASETS, Dataset, is_search_set, load_dataset, parse_name
from ram_cli.errors import ConfigError, DataError
from ram_cli.models import is_model_folder, read_provenance
from ram_cli.progress import Reporter
from ram_cli.recipes.common import open_dataset
from ram_cli.settings import TestSettings

_SPLIT_FIELDS = ("split_seed", "test_ratio", "val_ratio")


def datasets_to_test(settings: TestSettings, model: str, reporter: Reporter) -> list[Dataset]:
    """The datasets named, else the one the student was trained on; landmarks are left out.

    Args:
        settings: Of the command.
        model: Name of the student.
        reporter: Told what the datasets hold, and where the model may know the test classes.

    Raises:
        ConfigError: None is named, and the model does not say what it was trained on.
        DataError: One cannot be had.
    """
    origin = _origin(model)
    if settings.dataset:
        names = [name for name in settings.dataset if not is_search_set(name)]
        return [_open(settings, name, origin, reporter) for name in names]
    if "source" not in origin:
        raise ConfigError("dataset: the model does not say what it was trained on. Name one.")
    source = str(origin["source"])
    if not _is_published(source) and not Path(source).expanduser().exists():
        raise DataError(
            f"the model was trained on the folder {source}, which is not here. Name it, or another "
            "dataset, with --dataset."
        )
    return [_open(settings, source, origin, reporter)]


def _origin(model: str) -> Mapping[str, Any]:
    """What the model was trained on, as far as it says."""
    if not is_model_folder(model):
        return {}
    dataset = read_provenance(model).get("dataset", {})
    return dataset if isinstance(dataset, dict) else {}


def _open(
    settings: TestSettings, name: str, origin: Mapping[str, Any], reporter: Reporter
) -> Dataset:
    """Split a folder as for training: other test classes might have been trained on."""
    trained = {key: origin[key] for key in _SPLIT_FIELDS if origin.get(key) is not None}
    differing = [key for key, value in trained.items() if getattr(settings, key) != value]
    if not _was_trained_on(name, origin, settings, trained if differing else {}):
        return open_dataset(name, settings, reporter)
    asked = [key for key in differing if key in settings.model_fields_set]
    kept = {key: value for key, value in trained.items() if key not in asked}
    dataset = open_dataset(name, settings.model_copy(update=kept), reporter)
    flags = ", ".join(f"--{key.replace('_', '-')}" for key in asked)
    if asked:
        reporter.warn(
            f"{flags}: not as when the model was trained, so it may know these test classes"
        )
    elif not _is_published(name) and origin.get("content_hash") not in (None, dataset.content_hash):
        reporter.warn(
            f"{name} has changed since the model was trained on it, so it may know some of these "
            "test classes"
        )
    return dataset


def _was_trained_on(
    name: str, origin: Mapping[str, Any], settings: TestSettings, trained: Mapping[str, Any]
) -> bool:
    """Whether a name means what the model was trained on: by its path, or by all of its images.

    Args:
        name: Name or folder of a dataset.
        origin: What the model says.
        settings: Where datasets are.
        trained: How to split for the comparison of images; empty for none.
    """
    source = origin.get("source")
    if source is None or name == source:
        return source is not None
    if _is_published(name) or _is_published(str(source)):
        return False
    if Path(name).expanduser().resolve() == Path(str(source)).expanduser().resolve():
        return True
    if not trained:
        return False
    try:
        found = load_dataset(name, settings.data_root, verify=False, **trained)
    except (ConfigError, DataError):
        return False  # told when it is opened
    return found.content_hash == origin.get("content_hash")


def _is_published(name: str) -> bool:
    return parse_name(name)[0] in DATASETS
