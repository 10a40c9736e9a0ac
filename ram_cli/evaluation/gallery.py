"""A gallery, whole or in blocks, as a sequence of checked tiles."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

import numpy as np
from torch import Tensor

from ram_cli.errors import DataError
from ram_cli.evaluation.products import Tile, cut_tiles
from ram_cli.evaluation.vectors import (
    Vectors,
    as_vectors,
    check_products,
    magnitude,
    scoring_dtype,
)

Gallery = Vectors | Iterable[Vectors]
"""Vectors `[G, D]`, or blocks of them that follow each other."""


class GallerySource:
    """Where the tiles of a gallery come from.

    Args:
        query: Query vectors `[Q, D]`.
        gallery: Vectors `[G, D]`, a sequence of blocks `[*, D]`, or an iterator over blocks.

    Attributes:
        query: Query vectors in the type in which scores are computed: float64 if they or the
            first block are float64, else float32.
        size: Number of gallery vectors; unknown (None) for blocks.
        rereadable: What the tiles of `first_tiles` are, in words.
    """

    def __init__(self, query: Vectors, gallery: Gallery) -> None:
        vectors = as_vectors(query, "query")
        self.size: int | None = None
        self.rereadable = "the gallery"
        self._again: Sequence[Vectors]
        self._once: Iterator[Vectors] = iter(())
        if isinstance(gallery, Tensor | np.ndarray):
            self._again, self.size = [gallery], gallery.shape[0] if gallery.ndim else 0
        elif isinstance(gallery, Sequence):
            self._again = gallery
        else:
            self._once = iter(gallery)
            self._again = list(islice(self._once, 1))
            self.rereadable = (
                "the first block of the gallery, where a stream must have all positives and junk,"
            )
        self.query = vectors.to(scoring_dtype(vectors, *self._again[:1]))
        self._largest_query = magnitude(self.query, "query")

    def first_tiles(self) -> Iterator[Tile]:
        """Tiles of what can be gone through again: all, or the first block of an iterator."""
        return cut_tiles(self._checked(self._again))

    def all_tiles(self) -> Iterator[Tile]:
        """Tiles of everything; an iterator's blocks come by once."""
        return cut_tiles(self._checked(chain(self._again, self._once)))

    def _checked(self, blocks: Iterable[Vectors]) -> Iterator[Tensor]:
        first = 0
        for block in blocks:
            vectors = as_vectors(block, "gallery", self.query.dtype)
            if vectors.shape[1] != self.query.shape[1]:
                raise DataError(
                    f"query vectors have {self.query.shape[1]} dimensions, gallery vectors "
                    f"{vectors.shape[1]}. Embed both sides into one space."
                )
            largest = magnitude(vectors, "gallery", first)
            check_products(self._largest_query, largest, self.query)
            first += len(vectors)
            yield vectors


def stretches(tiles: Iterable[Tile], count: int) -> Iterator[list[Tile]]:
    """Group consecutive tiles, `count` at a time."""
    iterator = iter(tiles)
    while stretch := list(islice(iterator, count)):
        yield stretch


def extent(tiles: list[Tile]) -> tuple[int, int]:
    """First and last (exclusive) gallery index of consecutive tiles."""
    return tiles[0].first, tiles[-1].first + tiles[-1].size
