"""Tests of a query model against a gallery model, each image set embedded once per model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ram_cli.datasets import ImageSet
from ram_cli.engine import Runtime
from ram_cli.errors import ConfigError, DataError
from ram_cli.evaluation import label_metrics
from ram_cli.evaluation.cost import QueryCost, query_cost
from ram_cli.evaluation.extract import SINGLE_SCALE, arithmetic, embed_sections
from ram_cli.evaluation.stored import stretches_of
from ram_cli.models import Embedder, model_hash
from ram_cli.progress import SILENT, Reporter
from ram_cli.recipes.rows import ResultRow
from ram_cli.recipes.store import VectorStore
from ram_cli.views import Fit


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One side of a search.

    Attributes:
        name: For people: "teacher", "student".
        model: Its network.
        size: Side of its input in pixels.
    """

    name: str
    model: Embedder
    size: int

    def at(self, size: int) -> "Side":
        """The same network on images of another size."""
        return Side(self.name, self.model, size)

    @property
    def label(self) -> str:
        """Name and size."""
        return f"{self.name} {self.size}"


@dataclass(slots=True, eq=False)
class Comparison:
    """Embeds each (network, size, image set) once, however many searches use it.

    Attributes:
        runtime: Where and how to compute.
        ks: Cut-offs of the metrics.
        scales: Factors on every size.
        batch_size: Images in a batch.
        workers: Processes that decode.
        fits: What the networks see of an image, by image set; its centre where none is named.
        store: Writes large sets of vectors to disk and gives them back from there, if any does.
        reporter: Told of the progress.
    """

    runtime: Runtime
    ks: tuple[int, ...] = (1, 4, 8)
    scales: Sequence[float] = SINGLE_SCALE
    batch_size: int = 64
    workers: int = 0
    fits: dict[str, Fit] = field(default_factory=dict)
    store: VectorStore | None = None
    reporter: Reporter = SILENT
    _vectors: dict[tuple[int, int, str], Tensor] = field(default_factory=dict)
    _costs: dict[tuple[int, int], QueryCost] = field(default_factory=dict)

    def vectors(self, side: Side, images: ImageSet) -> Tensor:
        """Vectors `[N, D]` of the images; of those on disk, only what is looked at is read."""
        key = (id(side.model), side.size, images.name)
        if key not in self._vectors:
            embed = partial(
                embed_sections,
                side.model,
                images,
                runtime=self.runtime,
                size=side.size,
                scales=self.scales,
                batch_size=self.batch_size,
                workers=self.workers,
                fit=self.fits.get(images.name, "crop"),
                reporter=self.reporter,
                description=f"embed {images.name}, {side.label}",
            )
            shape = (len(images), side.model.dimension)
            if self.store is not None and self.store.wants(shape):
                found = self.store.vectors(images, shape, self._dependence(side, images), embed)
            else:
                found = torch.zeros(shape)
                for rows, part, _ in embed():
                    found[rows] = part
            self._vectors[key] = found
        return self._vectors[key]

    def _dependence(self, side: Side, images: ImageSet) -> dict[str, str]:
        """All that vectors depend on besides the images."""
        return {
            "model": model_hash(side.model),
            "size": str(side.size),
            "scales": ",".join(repr(float(scale)) for scale in self.scales),
            "precision": arithmetic(
                self.runtime, images=len(images), size=side.size, scales=self.scales
            ),
            "fit": self.fits.get(images.name, "crop"),
            "batch_size": str(self.batch_size),
        }

    def row(self, query: Side, gallery: Side, images: ImageSet, label: str = "") -> ResultRow:
        """Search every image among all others, or queries among the gallery where they are apart.

        Raises:
            DataError: No two images show the same class.
            ConfigError: The two embed in different dimensions.
        """
        if query.model.dimension != gallery.model.dimension:
            raise dimension_error(query.model.dimension, gallery.model.dimension)
        searching, searched = _roles(images)
        found = self.vectors(gallery, images)
        large = self.store is not None and self.store.wants(found.shape)
        metrics = label_metrics(
            _of(self.vectors(query, images), searching),
            stretches_of(_of(found, searched)) if large else _of(found, searched),
            images.labels[searching],
            images.labels[searched],
            self.ks,
            same_set=images.queries is None,
        )
        if metrics.queries == 0:
            raise DataError(
                f"{images.name}: no two images show the same class, so nothing can be found. "
                "Test on a dataset with two or more images per class."
            )
        return ResultRow(
            dataset=images.name,
            label=label or f"{query.label} → {gallery.label}",
            query=query.name,
            query_size=query.size,
            gallery=gallery.name,
            gallery_size=gallery.size,
            metrics=metrics,
            cost=self.cost(query),
        )

    def forget(self, side: Side) -> None:
        """Drop what is kept of a network that is not needed any more; another may take its id."""
        known = id(side.model)
        self._vectors = {key: found for key, found in self._vectors.items() if key[0] != known}
        self._costs = {key: found for key, found in self._costs.items() if key[0] != known}

    def cost(self, side: Side) -> QueryCost:
        """Cost of one query."""
        key = (id(side.model), side.size)
        if key not in self._costs:
            self._costs[key] = query_cost(side.model, runtime=self.runtime, size=side.size)
        return self._costs[key]


def _roles(images: ImageSet) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the queries, and of what they are searched among."""
    if images.queries is None:
        everything = np.arange(len(images))
        return everything, everything
    return np.flatnonzero(images.queries), np.flatnonzero(~images.queries)


def _of(vectors: Tensor, rows: NDArray[np.int64]) -> Tensor:
    """Some of the vectors; all of them are not copied."""
    return vectors if len(rows) == len(vectors) else vectors[rows]


def dimension_error(student: int, teacher: int) -> ConfigError:
    """The two models of a pair do not share a space."""
    return ConfigError(
        f"whitening: the student embeds in {student} dimensions, the teacher in {teacher}. "
        f"Train the student with --whitening {teacher}, or choose a teacher of {student}."
    )
