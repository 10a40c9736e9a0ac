"""What the recipes share: from settings to datasets, devices, run folders and model records."""

import os
import re
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ram_cli.datasets import Dataset, ImageSet, load_dataset
from ram_cli.engine import RunFolder, Runtime, resolve_runtime
from ram_cli.engine.collectives import by_first, first_says, start_processes
from ram_cli.errors import OutputError
from ram_cli.evaluation import RetrievalMetrics
from ram_cli.files import path_part
from ram_cli.models import Embedder, fetch_from_hub, is_hub_id, is_model_folder, pinned
from ram_cli.processes import local_count
from ram_cli.progress import Reporter
from ram_cli.recipes.prepared import tell_other_state
from ram_cli.settings import CommandSettings
from ram_cli.settings.sources import RUNS
from ram_cli.views import Fit

Chosen = TypeVar("Chosen", bound=CommandSettings)

SHARED_MEMORY = Path("/dev/shm")
LEAST_SHARED_BYTES = 32 * 2**20
"""Room for a few batches of images on their way."""
CACHE_BYTES = 512 * 2**20
"""Decoded pixels that all loading processes of a machine may keep between epochs."""

PLACE_FIELDS = frozenset(
    {"data_root", "device", "workers", "output", "resume", "config", "report", "weights"}
)
"""Settings that tell of the machine rather than of the model; no model folder repeats them."""


class MachineSettings(Protocol):
    """Settings that say where to compute."""

    @property
    def device(self) -> str:
        """Name of a device."""
        ...

    @property
    def precision(self) -> str:
        """Name of a number format."""
        ...

    @property
    def engine(self) -> str:
        """Name of what runs networks that do not train."""
        ...


class SplitSettings(Protocol):
    """Settings that say how a dataset is found and split."""

    @property
    def data_root(self) -> Path:
        """Folder of the datasets."""
        ...

    @property
    def split_seed(self) -> int:
        """Seed of the split of a plain folder."""
        ...

    @property
    def test_ratio(self) -> float:
        """Share of test classes of a plain folder."""
        ...

    @property
    def val_ratio(self) -> float:
        """Share of validation classes."""
        ...

    @property
    def skip_unreadable(self) -> bool:
        """Leave unreadable images out."""
        ...


def open_runtime(settings: MachineSettings, reporter: Reporter) -> Runtime:
    """Choose device and precision, and say which; find the other processes of the job."""
    runtime = resolve_runtime(settings.device, settings.precision, settings.engine)
    start_processes(runtime.device)
    reporter.note(f"computing on {runtime.describe()}")
    if is_shared_memory_full() and getattr(settings, "workers", None) != 0:
        reporter.warn(
            f"{SHARED_MEMORY} is full: images are decoded in this process, which is slower. "
            "Make room there, or pass --workers 0."
        )
    return runtime


def open_dataset(name: str, settings: SplitSettings, reporter: Reporter) -> Dataset:
    """Load a dataset, and say what it holds."""
    dataset = by_first(
        lambda: load_dataset(
            name,
            settings.data_root,
            split_seed=settings.split_seed,
            test_ratio=settings.test_ratio,
            val_ratio=settings.val_ratio,
            skip_unreadable=settings.skip_unreadable,
            reporter=reporter,
        )
    )
    parts = ", ".join(
        f"{part} {len(images)} of {images.class_count} classes"
        for part, images in (
            ("train", dataset.train),
            ("val", dataset.val),
            ("test", dataset.test),
        )
    )
    reporter.note(f"{dataset.name}: images {parts}")
    tell_other_state(dataset, settings.data_root, reporter)
    return dataset


def can_validate(images: ImageSet, reporter: Reporter) -> bool:
    """Whether any validation image can be found by another one; warns where none can."""
    if len(images) and images.class_count == len(images):
        reporter.warn(
            f"{images.name}: no two images show the same class, so nothing is validated and the "
            "last weights count"
        )
        return False
    return len(images) > 0


def training_pairs(dataset: Dataset, *, val: bool) -> NDArray[np.int64] | None:
    """Anchors and positives `[P, 2]` that come with the images to train on; None where none do.

    Args:
        dataset: The dataset.
        val: Whether its validation images are held back; else they follow the training images.
    """
    pairs = dataset.pairs
    if val or "val" not in pairs:
        return pairs.get("train")
    return np.concatenate([pairs["train"], pairs["val"] + len(dataset.train)])


def chosen_fit(wanted: Fit | None, dataset: Dataset) -> Fit:
    """What networks see of an image: as asked for, else the whole where pairs come with a dataset.

    Those are the landmarks: photographs of any aspect, which show their object anywhere.
    """
    if wanted is not None:
        return wanted
    return "whole" if dataset.pairs else "crop"


def fit_with(teacher: Embedder, wanted: Fit | None) -> Fit | None:
    """What a student is to see of an image: as asked for, else the whole if its teacher does.

    The gallery that it will search is embedded as the teacher was made to. A teacher of crops says
    nothing: landmarks are seen whole all the same.
    """
    return "whole" if wanted is None and teacher.fit == "whole" else wanted


def fit_of(model: Embedder) -> Fit | None:
    """What a model was made to see of an image; None where nothing says so."""
    return model.fit if model.config.fit else None


def is_shared_memory_full() -> bool:
    """Whether loading processes could not hand their images over."""
    try:
        return shutil.disk_usage(SHARED_MEMORY).free < LEAST_SHARED_BYTES
    except OSError:  # a system without one
        return False


def worker_count(requested: int | None, runtime: Runtime) -> int:
    """Processes that decode: a GPU wants to be fed by all cores; a CPU does the training itself.

    None where the memory they hand images over in is full: they would wait for ever.
    """
    if is_shared_memory_full():
        return 0
    if requested is not None:
        return requested
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(8, max(1, (cores or 1) // local_count())) if runtime.device.type == "cuda" else 1


def cache_bytes(workers: int) -> int:
    """Decoded pixels that each of so many loading processes may keep."""
    return CACHE_BYTES // (max(1, workers) * local_count())


def choose_run_folder(
    settings: CommandSettings, output: Path | None, dataset: str, network: str
) -> RunFolder:
    """The folder a new run goes to: `--output`, or a new one under `runs/`."""
    if output is not None:
        return RunFolder(output)
    words = (settings.table, Path(dataset).name, Path(network).name)
    stem = "-".join(
        path_part(re.sub(r"[^\w.]+", "-", word).strip("-") or "unnamed", 80) for word in words
    )
    stem = f"{stem}-{datetime.now().strftime('%Y%m%d-%H%M%S')}"
    taken = (RUNS / stem).exists()
    return RunFolder(RUNS / first_says(f"{stem}-{os.getpid()}" if taken else stem))


def model_folder(name: str) -> str:
    """Read the name of a run folder as that of its best model, or its final one.

    A model of the Hub is brought here, and its folder in the cache named.
    """
    if is_hub_id(name):
        return str(fetch_from_hub(name))
    path = Path(name).expanduser()
    if path.is_dir() and not is_model_folder(path):
        for part in ("best", "final"):
            if is_model_folder(path / part):
                return str(path / part)
        if RunFolder(path).config.exists():
            raise OutputError(
                f"{path} is a run without a model yet. Go on with --resume {path}, then try again."
            )
    return name


def with_pinned(settings: Chosen, *fields: str) -> Chosen:
    """The settings with models of the Hub named by their commit.

    They are kept so in the run folder: a run that is resumed, or repeated from its settings, takes
    the same weights even if the repository has moved on.
    """
    named = {field: getattr(settings, field) for field in fields}
    update = {field: pinned(name) for field, name in named.items() if name is not None}
    return settings.model_copy(update=update)


def provenance(
    settings: CommandSettings,
    dataset: Dataset,
    metrics: Mapping[str, float],
    **more: Any,
) -> dict[str, Any]:
    """What a model folder records about where the model comes from."""
    values = settings.model_dump(mode="json", exclude=set(PLACE_FIELDS))
    return {
        "command": settings.table,
        "dataset": {
            "name": dataset.name,
            "source": values["dataset"],
            "content_hash": dataset.content_hash,
            "split_seed": values.get("split_seed"),
            "test_ratio": values.get("test_ratio"),
            "val_ratio": values.get("val_ratio"),
        },
        "metrics": dict(metrics),
        "settings": values,
        **more,
    }


def metric_values(metrics: RetrievalMetrics) -> dict[str, float]:
    """The two numbers that progress shows, in percent."""
    first = metrics.ks.index(1) if 1 in metrics.ks else 0
    return {
        "mAP": 100 * metrics.map,
        f"R@{metrics.ks[first]}": 100 * float(metrics.recall_at[first]),
    }


def validation_values(metrics: RetrievalMetrics) -> dict[str, float]:
    """Metrics of a validation; mAP decides which epoch is the best."""
    return {"score": metrics.map, **metric_values(metrics)}
