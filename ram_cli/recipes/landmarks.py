"""Searches for landmarks: queries cropped to their boxes, whole gallery images, distractors."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ram_cli.datasets import (
    ImageSet,
    SearchSet,
    is_search_set,
    load_distractors,
    load_search_set,
)
from ram_cli.engine.collectives import by_first
from ram_cli.errors import ConfigError, DataError
from ram_cli.evaluation import (
    RetrievalMetrics,
    Whitening,
    apply_whitening,
    oxford_metrics,
    revisited_metrics,
)
from ram_cli.models import LANDMARK_SIZE
from ram_cli.progress import Reporter
from ram_cli.recipes.blocks import VectorBlocks
from ram_cli.recipes.comparison import Comparison, Side, dimension_error
from ram_cli.recipes.rows import ResultRow
from ram_cli.recipes.whitening import Whitenings
from ram_cli.settings import TestSettings

Loaded = TypeVar("Loaded", ImageSet, SearchSet)

KS = (1, 5, 10)
"""Cut-offs of mP@k in the landmark benchmarks."""


_SEARCH_FIELDS = (
    "distractors",
    "whiten",
    "learn_whitening",
    "whitening_dimension",
    "whitening_shrinkage",
    "store_whitening",
)

_FOUND = ("easy", "hard", "ok")
"""Lists of a ground truth whose images are to be found."""


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
        if not any(entry[key] for entry in search.ground_truth for key in _FOUND if key in entry):
            raise DataError(f"{search.name}: its ground truth has nothing to find for any query.")
        whitening = None if self.whitenings is None else self.whitenings.of(gallery)
        queries = self._whitened(self.blocks.all(query, search.queries), whitening)
        tiles = self._gallery(gallery, search, whitening)
        found = self._metrics(queries, tiles, search)
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

    def best(
        self, query: Side, gallery: Side, search: SearchSet, shown: Sequence[int], count: int
    ) -> NDArray[np.int64]:
        """What is found first for some queries, junk included.

        Args:
            query: Side of the queries.
            gallery: Side of the gallery.
            search: The set.
            shown: Indices of the queries.
            count: Results of each.

        Returns:
            Gallery indices `[len(shown), count]`, the best first, fewer where there are fewer;
            distractors follow the gallery. Equal scores keep the order of the gallery.
        """
        whitening = None if self.whitenings is None else self.whitenings.of(gallery)
        queries = self._whitened(self.blocks.all(query, search.queries), whitening)[list(shown)]
        scores = torch.empty(len(shown), 0)
        found = torch.empty(len(shown), 0, dtype=torch.int64)
        first = 0
        for block in self._gallery(gallery, search, whitening):
            scores = torch.cat([scores, queries @ block.T], dim=1)
            numbers = torch.arange(first, first + len(block)).expand(len(shown), -1)
            found = torch.cat([found, numbers], dim=1)
            order = scores.argsort(dim=1, descending=True, stable=True)[:, :count]
            scores, found = scores.gather(1, order), found.gather(1, order)
            first += len(block)
        result: NDArray[np.int64] = found.numpy()
        return result

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


@dataclass(frozen=True, slots=True, eq=False)
class Searched:
    """A search that was made: by what, of which set, and the rows of its protocols."""

    test: LandmarkTest
    query: Side
    gallery: Side
    search: SearchSet
    rows: list[ResultRow]


def search_landmarks(
    settings: TestSettings,
    comparison: Comparison,
    names: dict[str, str],
    pairs: list[tuple[Side, Side]],
) -> list["Searched"]:
    """Search all landmark datasets that are named.

    Args:
        settings: Of the test.
        comparison: Knows the cost of a query.
        names: Name that the model of a side was loaded by, by the name of the side.
        pairs: Query and gallery side of every search.

    Returns:
        One entry per dataset and pair, the pairs of a dataset together.

    Raises:
        ConfigError: Settings that do not go together, or a whitening that is missing.
        DataError: A dataset is missing, or nothing is to be found in it.
    """
    searches = [name for name in settings.dataset if is_search_set(name)]
    asked = [field for field in _SEARCH_FIELDS if getattr(settings, field)]
    if not searches:
        if asked:
            flags = ", ".join(f"--{field.replace('_', '-')}" for field in asked)
            raise ConfigError(f"{asked[0]}: {flags} need a landmark dataset, such as roxford5k.")
        return []
    _check_whitening(settings, [gallery for _, gallery in pairs])
    _tell_other_sizes([gallery for _, gallery in pairs], comparison)
    blocks = VectorBlocks(
        settings.data_root,
        comparison.runtime,
        scales=settings.scales,
        batch_size=settings.batch_size,
        workers=comparison.workers,
        reporter=comparison.reporter,
    )
    test = LandmarkTest(
        comparison,
        blocks,
        Whitenings(settings, names, blocks),
        ks=settings.ks if "ks" in settings.model_fields_set else KS,
        dimension=settings.whitening_dimension,
        distractors=None
        if settings.distractors is None
        else _loaded(load_distractors, settings.distractors, settings, comparison.reporter),
    )
    return [
        Searched(test, query, gallery, search, test.rows(query, gallery, search))
        for name in searches
        for search in [_loaded(load_search_set, name, settings, comparison.reporter)]
        for query, gallery in pairs
    ]


def _loaded(
    load: Callable[..., Loaded], name: str, settings: TestSettings, reporter: Reporter
) -> Loaded:
    return by_first(
        lambda: load(
            name,
            settings.data_root,
            skip_unreadable=settings.skip_unreadable,
            reporter=reporter,
        )
    )


def _check_whitening(settings: TestSettings, galleries: Sequence[Side]) -> None:
    """Refuse what cannot be, before anything is embedded for it.

    Raises:
        ConfigError: Settings that do not go together.
    """
    learned = settings.learn_whitening is not None
    if settings.whiten and learned:
        raise ConfigError("whiten: either the stored whitening or --learn-whitening, not both.")
    of_learning = {
        "store_whitening": settings.store_whitening,
        "whitening_kind": settings.whitening_kind == "pca",
        "whitening_shrinkage": settings.whitening_shrinkage is not None,
    }
    if alone := [name for name, asked in of_learning.items() if asked and not learned]:
        raise ConfigError(f"{alone[0]}: nothing is learned: add --learn-whitening DATASET.")
    kept = settings.whitening_dimension
    if kept is None:
        return
    if not (settings.whiten or learned):
        raise ConfigError(
            "whitening_dimension: nothing is whitened: add --whiten or --learn-whitening DATASET."
        )
    for side in galleries:
        if kept > side.model.dimension:
            raise ConfigError(
                f"whitening_dimension: the {side.name} embeds in {side.model.dimension} "
                f"dimensions, so no more can be kept, and {kept} are asked for."
            )


def _tell_other_sizes(galleries: Sequence[Side], comparison: Comparison) -> None:
    """Say where galleries are not seen as in published results."""
    sizes = sorted({side.size for side in galleries} - {LANDMARK_SIZE})
    if sizes:
        comparison.reporter.note(
            f"galleries of {', '.join(map(str, sizes))} px; published results on landmarks are of "
            f"{LANDMARK_SIZE} (--image-size, --teacher-image-size)"
        )
