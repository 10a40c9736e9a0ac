"""Graphs of `ram export --onnx`, and the images to compare, calibrate and measure them on."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ram_cli.datasets import Dataset, ImageSet, load_dataset
from ram_cli.engine import resolve_runtime
from ram_cli.errors import ConfigError, RamError
from ram_cli.evaluation import embed_images, label_metrics
from ram_cli.export import Graphs
from ram_cli.export.onnx import OnnxFile, require_onnx
from ram_cli.export.onnx_check import side_to_check, write_compared
from ram_cli.export.onnx_int8 import CALIBRATION_IMAGES, write_int8
from ram_cli.export.onnx_session import Engine
from ram_cli.models import Embedder, is_model_folder, load_model, read_provenance
from ram_cli.progress import SILENT, Reporter
from ram_cli.recipes.aligned import (
    find_teacher,
    is_teacher_of,
    size_at_distillation,
    teacher_record,
)
from ram_cli.recipes.common import model_folder
from ram_cli.settings import ExportSettings
from ram_cli.views import evaluation_view
from ram_cli.views.loading import ImageLoader

FALLBACK = "furniture"
MEASURED_IMAGES = 2000
"""Test images, in whole classes, that the loss of 8-bit integers is measured on at most."""

_COMPARED = 3
_SPLIT_FIELDS = ("split_seed", "test_ratio", "val_ratio")


@dataclass(frozen=True, slots=True)
class Int8Loss:
    """What 8-bit integers cost, in percent of mAP on test classes.

    Attributes:
        images: How many images, of which dataset.
        sym: mAP of the float graph, and of the integer one, each in its own gallery.
        asym: The same in the gallery of the teacher, float32; None where none is known.
    """

    images: str
    sym: tuple[float, float]
    asym: tuple[float, float] | None

    def searches(self) -> tuple[tuple[str, float, float], ...]:
        """Name of each search, and its mAP before and after."""
        known = (("symmetric", self.sym), ("asymmetric", self.asym))
        return tuple((name, *pair) for name, pair in known if pair is not None)

    def line(self) -> str:
        """The loss in words."""
        parts = [
            f"{name} mAP {before:.1f} → {after:.1f} ({after - before:+.1f})"
            for name, before, after in self.searches()
        ]
        return f"int8 on {self.images}: {', '.join(parts)}"


@dataclass(frozen=True, slots=True)
class OnnxReport:
    """What was written for ONNX Runtime.

    Attributes:
        graph: The float graph, compared.
        int8: The integer graph.
        loss: What it loses.
    """

    graph: OnnxFile
    int8: OnnxFile | None = None
    loss: Int8Loss | None = None

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        graph = self.graph
        return {
            "files": [*graph.files, *(self.int8.files if self.int8 else ())],
            "input": graph.input,
            "any_size": graph.any_size,
            "difference": graph.difference,
            "int8": None if self.loss is None else asdict(self.loss),
        }

    def on_card(self, model: Embedder) -> Graphs:
        """What the card of the model says of them."""
        graph, loss = self.graph, self.loss
        return Graphs(
            files=graph.files,
            pixels=graph.input == "uint8",
            size=model.spec.size,
            any_size=graph.any_size,
            dimension=model.dimension,
            difference=graph.difference,
            int8_files=self.int8.files if self.int8 else (),
            measured_on=loss.images if loss else "",
            losses=loss.searches() if loss else (),
        )

    def notes(self) -> list[str]:
        """What each file is."""
        graph = self.graph
        lines = [
            f"{', '.join(graph.files)}: {graph.input} input, any batch, "
            f"{'any size' if graph.any_size else 'this size only'}; vectors differ from PyTorch's "
            f"by {graph.difference:.1e} at most"
        ]
        return [*lines, *([self.loss.line()] if self.loss else [])]


def write_graphs(
    folder: Path,
    model: Embedder,
    source: str,
    settings: ExportSettings,
    reporter: Reporter = SILENT,
) -> OnnxReport | None:
    """Write what `--onnx` and `--int8` ask for into a folder that exists; None if nothing.

    Args:
        folder: The model folder in the making.
        model: Its model, on the CPU.
        source: Where the model came from: tells its images and its teacher.
        settings: What is asked for.
        reporter: Told what is done.

    Raises:
        RamError: A package is missing, or the graph is not the model.
    """
    if not settings.onnx:
        return None
    require_onnx()
    record = read_provenance(source) if is_model_folder(source) else {}
    with _images(settings, record, reporter) as dataset:
        reporter.note(f"writing the graph; comparing it on images of {dataset.name}")
        views = centre_crops(dataset.test, side_to_check(model), _COMPARED)
        graph = write_compared(model, folder, settings.onnx_input, views=views)
        if not graph.any_size:
            reporter.note(
                f"the graph takes {model.spec.size} × {model.spec.size} pixels only: "
                f"{model.config.backbone} with {model.config.pooling} depends on the size"
                + (", so it sees centre crops, not whole images" if model.fit == "whole" else "")
            )
        if len(graph.files) > 1:
            reporter.note(f"more than 2 GiB: keep {' and '.join(graph.files)} side by side")
        if not settings.int8:
            return OnnxReport(graph)
        training = centre_crops(dataset.train_val, model.spec.size, CALIBRATION_IMAGES)
        reporter.note(f"calibrating 8-bit integers on {len(training)} training images")
        int8 = write_int8(graph, training, settings.int8_bits)
        loss = _loss(
            graph, int8, _some_classes(dataset.test), teacher_of(source, reporter), reporter
        )
    return OnnxReport(graph, int8, loss)


@contextmanager
def _images(
    settings: ExportSettings, record: Mapping[str, Any], reporter: Reporter
) -> Iterator[Dataset]:
    """The dataset named, else the one trained on if it is at hand, else the embedded images."""
    origin = record.get("dataset", {})
    named = settings.onnx_dataset or origin.get("source")
    split = {name: origin[name] for name in _SPLIT_FIELDS if origin.get(name) is not None}
    if named is not None and (settings.onnx_dataset or named != FALLBACK):
        known = split if named == origin.get("source") else {}
        try:
            dataset = load_dataset(named, settings.data_root, verify=False, **known)
        except RamError as error:
            if settings.onnx_dataset is not None:
                raise
            reporter.note(f"{named} is not at hand ({error}); {FALLBACK} stands in for it")
        else:
            yield dataset
            return
    with tempfile.TemporaryDirectory() as folder:
        yield load_dataset(FALLBACK, Path(folder), verify=False)


def centre_crops(images: ImageSet, size: int, count: int) -> Tensor:
    """Centre crops uint8 `[N, 3, size, size]` of up to `count` images from all over the set."""
    places = np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(np.int64)
    loader = ImageLoader(images)
    views = torch.stack([evaluation_view(loader.load(int(place)), size) for place in places])
    return views if len(views) >= count or count > _COMPARED else views.repeat(count, 1, 1, 1)


def _some_classes(images: ImageSet) -> ImageSet:
    """The first classes, whole, of up to `MEASURED_IMAGES` images; all of a small set."""
    _, places, counts = np.unique(images.labels, return_inverse=True, return_counts=True)
    kept: NDArray[np.bool_] = np.cumsum(counts) <= MEASURED_IMAGES
    kept[0] = True
    return images.subset(np.flatnonzero(kept[places]))


def teacher_of(source: str, reporter: Reporter) -> Embedder | None:
    """The model whose vectors the student follows, in its size then; None where there is none."""
    record = teacher_record(source)
    if not record:
        return None
    try:
        teacher = load_model(model_folder(find_teacher(source)))
        if not is_teacher_of(teacher, record):
            raise ConfigError(f"{record.get('name')} is another model now")
        if size := size_at_distillation(source, teacher):
            teacher.set_input_size(size)
    except RamError as error:
        reporter.note(
            f"its teacher is not at hand, so int8 is not measured in its gallery: {error}"
        )
        return None
    return teacher


def _loss(
    graph: OnnxFile,
    int8: OnnxFile,
    images: ImageSet,
    teacher: Embedder | None,
    reporter: Reporter,
) -> Int8Loss:
    before, after = (
        Engine(file.path).embed(images, reporter=reporter, name=name)
        for file, name in ((graph, "float"), (int8, "int8"))
    )
    asym = None
    if teacher is not None:
        runtime = resolve_runtime("cpu", "fp32")
        gallery = embed_images(
            teacher, images, runtime=runtime, reporter=reporter, description="embed, teacher"
        )
        asym = (_map(before, gallery, images), _map(after, gallery, images))
    sym = (_map(before, before, images), _map(after, after, images))
    return Int8Loss(f"{len(images)} images of {images.name}", sym, asym)


def _map(query: Tensor, gallery: Tensor, images: ImageSet) -> float:
    """Mean AP in percent."""
    labels = images.labels
    return 100 * label_metrics(query, gallery, labels, labels, (1,), same_set=True).map
