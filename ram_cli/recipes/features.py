"""Vectors of a teacher, kept from one run to the next and used only where nothing has changed.

They lie in `data_root/prepared/<name>-<hash>/features/`, one file per model, size, scales and
precision. N is the number of images, D the embedding dimension.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torch import Tensor

from ram_cli.datasets import Dataset, ImageSet
from ram_cli.engine import Runtime
from ram_cli.engine.collectives import all_have, first_says
from ram_cli.evaluation.extract import (
    SINGLE_SCALE,
    arithmetic,
    embed_images,
    embed_sections,
)
from ram_cli.evaluation.stored import map_vectors, store_vectors
from ram_cli.models import Embedder, model_hash
from ram_cli.progress import SILENT, Reporter
from ram_cli.recipes.prepared import all_images, is_unchanged, prepared_folder
from ram_cli.views import Fit

Part = Literal["all", "training"]
"""Which images of a dataset: all, or those of its training and validation classes alone."""

_FORMAT = "3"
_HASH_DIGITS = 16


@dataclass(frozen=True, slots=True)
class FeatureKey:
    """All that vectors depend on.

    Attributes:
        content: Content hash of the dataset.
        model: Content hash of the network.
        size: Side of its input in pixels.
        scales: Factors on that size.
        precision: Number format it computed in, and what ran it if not torch.
        fit: What it saw of an image.
        part: Which images.
    """

    content: str
    model: str
    size: int
    scales: tuple[float, ...]
    precision: str
    fit: Fit = "crop"
    part: Part = "all"

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        model: Embedder,
        runtime: Runtime,
        scales: Sequence[float],
        fit: Fit = "crop",
    ) -> "FeatureKey":
        """The key of a model's vectors of a dataset."""
        return cls(
            dataset.content_hash,
            model_hash(model),
            model.spec.size,
            tuple(scales),
            arithmetic(
                runtime,
                images=sum(map(len, dataset.splits.values())),
                size=model.spec.size,
                scales=scales,
            ),
            fit,
        )

    @property
    def file(self) -> str:
        """Name of the file; what it leaves out or cuts short stands inside."""
        scales = "_".join(f"{scale:g}" for scale in self.scales)
        size = f"{self.size}" if self.fit == "crop" else f"{self.size}-{self.fit}"
        part = "" if self.part == "all" else f"-{self.part}"
        return f"{self.model[:_HASH_DIGITS]}-{size}-{scales}-{self.precision}{part}.safetensors"

    def metadata(self, images: ImageSet) -> dict[str, str]:
        """What the file says of itself, beside the hash of its vectors."""
        scales = ",".join(repr(scale) for scale in self.scales)
        return {
            "format": _FORMAT,
            "content": self.content,
            "model": self.model,
            "size": str(self.size),
            "scales": scales,
            "precision": self.precision,
            "fit": self.fit,
            "paths": hashlib.sha256(
                "\n".join(images.paths).encode(errors="surrogateescape")
            ).hexdigest(),
        }


def teacher_vectors(
    teacher: Embedder,
    images: ImageSet,
    dataset: Dataset,
    data_root: Path,
    *,
    runtime: Runtime,
    fit: Fit = "crop",
    workers: int = 0,
    reporter: Reporter = SILENT,
    description: str = "embed by the teacher",
) -> Tensor:
    """Vectors of some images of a dataset: those that `ram prepare` kept, else computed now.

    Kept ones are used only if images, split, network, input and precision are the very same.

    Args:
        teacher: The network.
        images: The images, N, all of them in `dataset`.
        dataset: What they are part of.
        data_root: Folder of the datasets.
        runtime: Where and in which precision to compute.
        fit: What the network sees of an image.
        workers: Processes that decode.
        reporter: Told which of the two it is.
        description: What the reporter calls the computation.

    Returns:
        Unit vectors `[N, D]`, float32, on the CPU, in the order of `images`.
    """
    folder = prepared_folder(data_root, dataset) / "features"
    if first_says(folder.is_dir()):
        key = FeatureKey.of(dataset, teacher, runtime, SINGLE_SCALE, fit)
        for of_part in (key, replace(key, part="training")):
            path = folder / of_part.file
            rows = {name: row for row, name in enumerate(_images(dataset, of_part.part).paths)}
            if not rows.keys() >= set(images.paths):
                continue
            kept = _read(path, of_part, dataset, reporter)
            usable = kept is not None and is_unchanged(dataset, folder.parent, reporter)
            if all_have(usable) and kept is not None:
                reporter.note(f"{images.name}: the teacher's vectors are those in {path}")
                return _rows_of(kept, [rows[name] for name in images.paths])
    return embed_images(
        teacher,
        images,
        runtime=runtime,
        fit=fit,
        workers=workers,
        reporter=reporter,
        description=description,
    )


def keep_vectors(
    teacher: Embedder,
    dataset: Dataset,
    data_root: Path,
    *,
    runtime: Runtime,
    fit: Fit = "crop",
    part: Part = "all",
    workers: int = 0,
    reporter: Reporter = SILENT,
) -> Path:
    """Embed images of a dataset and keep the vectors, unless they are kept already.

    Args:
        teacher: The network.
        dataset: The images.
        data_root: Folder of the datasets.
        runtime: Where and in which precision to compute.
        fit: What the network sees of an image.
        part: Which images.
        workers: Processes that decode.
        reporter: Told of the progress.

    Returns:
        The file.

    Raises:
        OutputError: It cannot be written.
    """
    folder = prepared_folder(data_root, dataset) / "features"
    whole = FeatureKey.of(dataset, teacher, runtime, SINGLE_SCALE, fit)
    key = replace(whole, part=part)
    for enough in dict.fromkeys((whole, key)):
        path = folder / enough.file
        if all_have(_read(path, enough, dataset, reporter) is not None):
            reporter.note(f"the teacher's vectors are kept already: {path}")
            return path
    path = folder / key.file
    images = _images(dataset, part)
    store_vectors(
        path,
        (len(images), teacher.dimension),
        key.metadata(images),
        lambda done: embed_sections(
            teacher,
            images,
            runtime=runtime,
            fit=fit,
            workers=workers,
            reporter=reporter,
            description=f"embed {dataset.name}",
            done=done,
        ),
        reporter,
    )
    return path


def _rows_of(vectors: Tensor, rows: Sequence[int]) -> Tensor:
    """Some of the vectors; those that follow each other are not copied and stay on the disk."""
    if not rows or rows[-1] - rows[0] != len(rows) - 1 or list(rows) != sorted(rows):
        return vectors[list(rows)]
    return vectors[rows[0] : rows[-1] + 1]


def _images(dataset: Dataset, part: Part) -> ImageSet:
    return all_images(dataset) if part == "all" else dataset.train_val


def _read(path: Path, key: FeatureKey, dataset: Dataset, reporter: Reporter) -> Tensor | None:
    """The vectors in a file; None where there is none, or one that must not be used."""
    if not path.is_file():
        return None
    vectors = map_vectors(path, key.metadata(_images(dataset, key.part)), check=True)
    if vectors is None:
        reporter.warn(f"{path} is damaged or of other images or another model, and is not used")
    return vectors
