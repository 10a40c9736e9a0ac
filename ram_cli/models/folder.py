"""Model folders: `model.safetensors`, `config.json` and a card; and every name a model can have."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ram_cli.datasets.sfm import SFM_LISTS
from ram_cli.errors import CheckpointError, OutputError, on_one_line
from ram_cli.files import atomic_folder
from ram_cli.models.build import embedder_from_config
from ram_cli.models.config import EmbedderConfig
from ram_cli.models.embedder import Embedder
from ram_cli.models.tensor_files import assert_finite, read_json, read_safetensors
from ram_cli.version import __version__
from ram_cli.views.whole import Fit

WEIGHTS_FILE, CONFIG_FILE, CARD_FILE = "model.safetensors", "config.json", "README.md"
RESULTS_FILE = "results.json"
FORMAT = "ram-embedder"
FORMAT_VERSION = 1

_TOLD = ("settings", "dataset")
_OBJECTS = ("dataset", "metrics", "settings", "teacher")
_OF_INPUT = frozenset({"input_size", "fit"})


def save_model(embedder: Embedder, folder: Path | str, *, provenance: dict[str, Any]) -> None:
    """Write a model folder; an older one in its place is replaced only once this one is whole.

    Args:
        embedder: The model.
        folder: Where to.
        provenance: Where it comes from, as JSON values: training data, settings, metrics, and for
            a student `teacher` with its `hash`. Kept in `config.json`, shown on the card.

    Raises:
        OutputError: The disk is full or cannot be written.
    """
    with atomic_folder(folder) as temporary:
        write_model(embedder, temporary, provenance=provenance)


def write_model(
    embedder: Embedder, folder: Path, *, provenance: dict[str, Any], card: str | None = None
) -> None:
    """Write the files of a model into a folder that exists; atomic only as its caller makes it.

    Args:
        embedder: The model.
        folder: Where to.
        provenance: As for `save_model`.
        card: Text of its README.md; None for a short one.

    Raises:
        OutputError: The disk is full.
    """
    tensors = _tensors(embedder)
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "ram_version": __version__,
        "model": embedder.config.to_json(),
        "hash": _hash(embedder.config, tensors),
        "provenance": provenance,
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    except SafetensorError as error:  # a full disk, told in safetensors' own way
        raise OutputError(f"cannot write {folder}: {error}. Is the disk full?") from error
    (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
    (folder / CARD_FILE).write_text(card or _card(embedder, provenance), encoding="utf-8")


def is_model_folder(folder: Path | str) -> bool:
    """Whether both files of a model are there."""
    return all(Path(folder, name).is_file() for name in (CONFIG_FILE, WEIGHTS_FILE))


def load_folder(folder: Path | str) -> Embedder:
    """Build the model of a folder, in eval mode.

    Raises:
        CheckpointError: A file is missing, damaged, foreign, or newer than this version.
        ModelError: The installed libraries lack its backbone.
    """
    folder = Path(folder)
    content = _read_config(folder)
    config = EmbedderConfig.from_json(content["model"], str(folder / CONFIG_FILE))
    config = replace(config, fit=config.fit or _fit_as_trained(content.get("provenance")))
    tensors = read_safetensors(folder / WEIGHTS_FILE)
    _check_widths(config, tensors, str(folder / WEIGHTS_FILE))
    embedder = embedder_from_config(config)
    load_tensors(embedder, tensors, str(folder / WEIGHTS_FILE))
    if content.get("hash") not in (None, _hash(config, tensors)):
        raise CheckpointError(
            f"{folder}: {WEIGHTS_FILE} and {CONFIG_FILE} do not belong together, or one was "
            "changed. Write or fetch the folder again."
        )
    return embedder.eval()


def read_provenance(folder: Path | str) -> dict[str, Any]:
    """Where the model of a folder comes from, as `save_model` was told.

    Raises:
        CheckpointError: `config.json` is missing, damaged or foreign.
    """
    provenance = _read_config(Path(folder)).get("provenance", {})
    if not isinstance(provenance, dict):
        raise CheckpointError(f"{Path(folder, CONFIG_FILE)}: provenance is no JSON object.")
    for name in _OBJECTS:
        if not isinstance(provenance.get(name, {}), dict):
            raise CheckpointError(
                f"{Path(folder, CONFIG_FILE)}: {name} of the provenance is no JSON object."
            )
    return provenance


def _check_widths(config: EmbedderConfig, tensors: dict[str, Tensor], where: str) -> None:
    """Compare the widths that a description asks for with the weights, before layers are built."""
    if config.projection and not config.dimension:
        raise CheckpointError(f"{where}: a projection onto 0 dimensions is none.")
    asked = {
        "projection.weight": config.dimension if config.projection else 0,
        "adapter.0.weight": config.adapter,
    }
    for name, width in asked.items():
        if width and (found := len(tensors.get(name, ()))) != width:
            raise CheckpointError(f"{where}: {name} has {found} rows instead of {width}.")


def load_tensors(embedder: Embedder, tensors: dict[str, Tensor], where: str) -> None:
    """Fill a model with tensors of exactly its names and shapes.

    Raises:
        CheckpointError: One is missing, unknown, of another shape or kind, or not finite.
    """
    expected = {name: value.shape for name, value in embedder.state_dict().items()}
    kinds = {name: value.dtype for name, value in embedder.state_dict().items()}
    missing, unknown = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if missing or unknown:
        example = min(missing) if missing else min(unknown)
        raise CheckpointError(
            f"{where} does not fit {embedder.config.backbone}: {len(missing)} tensors are missing "
            f"and {len(unknown)} are unknown, for instance {on_one_line(example[:80])}."
        )
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise CheckpointError(
                f"{where}: {name} has shape {list(tensors[name].shape)} instead of {list(shape)}."
            )
        if not torch.can_cast(tensors[name].dtype, kinds[name]):
            raise CheckpointError(f"{where}: {name} holds values of type {tensors[name].dtype}.")
    assert_finite(tensors, where)
    embedder.load_state_dict(tensors)


def model_hash(model: Embedder | Path | str) -> str:
    """SHA-256 over what a model is: its configuration, names, shapes and values of its weights.

    The input size and what it sees of an image are left out: the same model at another size has
    the same hash.

    Args:
        model: An embedder, or a model folder.

    Raises:
        CheckpointError: The folder cannot be read.
    """
    if isinstance(model, Embedder):
        return _hash(model.config, _tensors(model))
    folder = Path(model)
    config = EmbedderConfig.from_json(_read_config(folder)["model"], str(folder / CONFIG_FILE))
    return _hash(config, read_safetensors(folder / WEIGHTS_FILE))


def _tensors(embedder: Embedder) -> dict[str, Tensor]:
    """Weights on the CPU, none sharing memory with another, as safetensors asks."""
    return {
        name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in embedder.state_dict().items()
    }


def _hash(config: EmbedderConfig, tensors: dict[str, Tensor]) -> str:
    described = {key: value for key, value in config.to_json().items() if key not in _OF_INPUT}
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        raw: Any = value.reshape(-1).view(torch.uint8).numpy()
        digest.update(raw)
    return digest.hexdigest()


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_FILE
    content = read_json(path)
    if content.get("format") != FORMAT or "model" not in content:
        raise CheckpointError(f"{path} describes no model of ram.")
    version = content.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise CheckpointError(f"{path}: format_version is {version!r}, not a positive number.")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} was written by a newer ram ({content.get('ram_version', '?')}): "
            "pip install --upgrade ram-cli"
        )
    return content


def _fit_as_trained(record: Any) -> str:
    """What a folder that was written before `fit` was kept tells of it; empty for nothing."""
    settings, dataset = (
        part if isinstance(part, dict) else {}
        for part in (record.get(name) if isinstance(record, dict) else None for name in _TOLD)
    )
    if settings.get("fit") in get_args(Fit):
        return str(settings["fit"])
    source = dataset.get("source")
    if not isinstance(source, str):
        return ""
    return "whole" if source in SFM_LISTS else "crop"


def _card(embedder: Embedder, provenance: dict[str, Any]) -> str:
    config = embedder.config
    rows = {
        "backbone": config.backbone,
        "pooling": ("regional " if config.regional else "") + config.pooling,
        "embedding": f"{config.dimension} dimensions",
        "input": f"{config.input_size} pixels, mean {config.mean}, std {config.std}",
        "parameters": f"{sum(value.numel() for value in embedder.parameters()):,}",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    origin = json.dumps(provenance, indent=2, ensure_ascii=False)
    return f"""---
library_name: ram-cli
pipeline_tag: image-feature-extraction
---
# Image embedder

| | |
|---|---|
{table}

```python
import ram_cli

model = ram_cli.load_model("path/of/this/folder")
embeddings = model(images)  # [B, 3, H, W] -> unit vectors [B, {config.dimension}]
```

Where it comes from:

```json
{origin}
```
"""
