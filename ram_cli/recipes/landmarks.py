"""Searches for landmarks: queries cropped to their boxes, whole gallery images, distractors."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ram_cli.datasets import ImageSet, SearchSet
from ram_cli.errors import DataError
from ram_cli.evaluation import (
    RetrievalMetrics,
    Whitening,
    apply_whitening,
    oxford_metrics,
    revisited_metrics,
)
from ram_cli.recipes.blocks import VectorBlocks
from ram_cli.recipes.comparison import Comparison, Side, dimension_error
from ram_cli.recipes.rows import ResultRow
from ram_cli.recipes.whitening import Whitenings

KS = (1, 5, 10)
"""Cut-offs of mP@k in the landmark benchmarks."""


@dataclass(slots=True, eq=False)
class LandmarkTest:
    """Measures searches; every image is embedded once per network, size and scales, and kept.

    Attributes:
        comparison: Knows the cost of a query.
        blocks: Where vectors come from.
        whitenings: Applied on both sides: that of the gallery network; None for none.
        ks: Cut-offs of the metrics.
        dimension: Dimensions that whitening keeps; None for all.
        distractors: Images added to every gallery, which are found for no query.
    """

    comparison: Comparison
    blocks: VectorBlocks
    whitenings: Whitenings | None = None
    ks: tuple[int, ...] = KS
    dimension: int | None = None
    distractors: ImageSet | None = None

    def rows(self, query: Side, gallery: Side, search: SearchSet) -> list[ResultRow]:
        """One row per protocol.

        Raises:
            ConfigError: The two embed in different dimensions, or a whitening is missing.
            DataError: No query has anything to find.
        """
        if query.model.dimension != gallery.model.dimension:
            raise dimension_error(query.model.dimension, gallery.model.dimension)
        whitening = None if self.whitenings is None else self.whitenings.of(gallery)
        queries = self._whitened(self.blocks.all(query, search.queries), whitening)
        tiles = self._gallery(gallery, search, whitening)
        found = self._metrics(queries, tiles, search)
        if all(metrics.queries == 0 for metrics in found.values()):
            raise DataError(f"{search.name}: its ground truth has nothing to find for any query.")
        name = search.name if self.distractors is None else f"{search.name} + {self._added()}"
        return [
            ResultRow(
                dataset=name,
                label=f"{query.label} → {gallery.label}",
                query=query.name,
                query_size=query.size,
                gallery=gallery.name,
                gallery_size=gallery.size,
                metrics=metrics,
                cost=self.comparison.cost(query),
                protocol=protocol,
                whitening="" if self.whitenings is None else self.whitenings.label,
            )
            for protocol, metrics in found.items()
        ]

    def _gallery(
        self, side: Side, search: SearchSet, whitening: Whitening | None
    ) -> Iterator[Tensor]:
        """All that can be found for a query, then the distractors, block by block."""
        yield self._whitened(self.blocks.all(side, search.gallery), whitening)
        if self.distractors is not None:
            for block in self.blocks.each(side, self.distractors):
                yield self._whitened(block, whitening)

    def _metrics(
        self, queries: Tensor, gallery: Iterator[Tensor], search: SearchSet
    ) -> dict[str, RetrievalMetrics]:
        if search.protocol == "oxford":
            truth = search.ground_truth
            return {"old": oxford_metrics(queries, gallery, truth, self.ks)}
        result = revisited_metrics(queries, gallery, search.ground_truth, self.ks)
        return {"easy": result.easy, "medium": result.medium, "hard": result.hard}

    def _whitened(self, vectors: Tensor, whitening: Whitening | None) -> Tensor:
        if whitening is None:
            return vectors
        return apply_whitening(vectors, whitening, self.dimension).to(torch.float32)

    def _added(self) -> str:
        count = 0 if self.distractors is None else len(self.distractors)
        return f"{count} distractors"
