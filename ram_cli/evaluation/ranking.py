"""Exact ranks of the positives, found by counting; nothing is sorted but the positives.

Queries go through in strips against the whole gallery or, where the narrowest strip would be too
large and where a gallery is streamed, against one stretch of it after the other. Memory on top of
the vectors is one strip (`_STRIP_BYTES`, at most `_WIDEST_BYTES`) and the lists of its queries.
Stretches keep the lists of all queries, and a stream the block it is at and one stretch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ram_cli.errors import DataError, RamError
from ram_cli.evaluation.gallery import Gallery, GallerySource, extent, stretches
from ram_cli.evaluation.products import TILE_ITEMS, Strip, Tile, Workers, tile_height, workers
from ram_cli.evaluation.relevance import Relevance, check_range
from ram_cli.evaluation.vectors import Vectors
from ram_cli.processes import process_count, process_index
from ram_cli.progress import SILENT, Reporter

_Pair = tuple[int, int]
_Scores = NDArray[np.floating]

_STRIP_BYTES = 128 << 20  # aimed at: enough tiles to keep all threads busy
_WIDEST_BYTES = 768 << 20  # what the narrowest strip over a whole gallery may take
_STRETCH_TILES = 64
_MOST_ROWS_PER_TASK = 128


@dataclass(frozen=True, slots=True, eq=False)
class Ranks:
    """Ranks of the positives of some consecutive queries.

    Attributes:
        first: Index of the first of these queries.
        offsets: `[queries + 1]`; query `first + i` owns `ranks[offsets[i] : offsets[i + 1]]`.
        ranks: Number of gallery items before each positive, junk left out; ascending per query.
    """

    first: int
    offsets: NDArray[np.int64]
    ranks: NDArray[np.int64]


Receiver = Callable[[list[Ranks]], None]


def rank_positives(
    query: Vectors,
    gallery: Gallery,
    relevances: Sequence[Relevance],
    receive: Receiver,
    reporter: Reporter = SILENT,
) -> None:
    """Rank the gallery by inner product for every query, and tell where the positives are.

    Equal scores rank in the order of the gallery, as in a stable descending sort; identical
    gallery vectors have identical scores.

    Args:
        query: Query vectors `[Q, D]`; float64 vectors are scored in float64, others in float32.
        gallery: Gallery vectors `[G, D]`, or blocks `[*, D]` in order: a sequence (gone through
            twice where positives or junk lie) or an iterator (these must lie in its first block).
        relevances: Positives and junk of every query; one item per protocol, which share the
            products.
        receive: Called with the ranks under every relevance, for one group of consecutive queries
            after the other, by several threads and in no particular order. In a job of several
            processes each is told of some of the queries, or of all.
        reporter: Told of the progress.

    Raises:
        DataError: Vectors and lists do not fit each other, or a vector holds NaN or infinities.
    """
    source = GallerySource(query, gallery)
    queries = len(source.query)
    for relevance in relevances:
        if len(relevance) != queries:
            raise DataError(
                f"there are {queries} query vectors, but positives are given for "
                f"{len(relevance)} queries."
            )
    tiles = -(-source.size // TILE_ITEMS) if source.size is not None else None
    if tiles is not None and _strip_bytes(source.query, tiles) <= _WIDEST_BYTES:
        _rank_whole(source, relevances, receive, reporter)
    else:
        _rank_stretches(source, relevances, receive, reporter)


class _Packed:
    """Lists of a strip of queries under one relevance, and what is known about their items."""

    def __init__(self, relevance: Relevance, first: int, last: int, query: Tensor) -> None:
        positives, junk = relevance.positives_of(first, last), relevance.junk_of(first, last)
        dtype = query.numpy().dtype
        self.first = first
        self.positives = (
            positives.offsets,
            positives.indices,
            np.empty(positives.indices.size, dtype),
        )
        self.junk = (junk.offsets, junk.indices, np.empty(junk.indices.size, dtype))
        self.counts = np.zeros(positives.indices.size, np.int64)

    def read(self, strip: _Scores, rows: _Pair, stretch: _Pair) -> None:
        kernels = _kernels()
        kernels.read_scores(strip, rows, stretch, *self.positives)
        kernels.read_scores(strip, rows, stretch, *self.junk)

    def sort(self, rows: _Pair) -> None:
        _kernels().sort_lists(rows, *self.positives)

    def count(self, strip: _Scores, rows: _Pair, stretch: _Pair) -> None:
        _kernels().count_before(strip, rows, stretch, *self.positives, self.counts)

    def finish(self, rows: _Pair) -> None:
        _kernels().subtract_junk(rows, *self.positives, self.counts, *self.junk)

    def ranks(self, rows: _Pair) -> Ranks:
        offsets = self.positives[0][rows[0] : rows[1] + 1]
        ranks = self.counts[offsets[0] : offsets[-1]]
        return Ranks(self.first + rows[0], offsets - offsets[0], ranks)


def _rank_whole(
    source: GallerySource, relevances: Sequence[Relevance], receive: Receiver, reporter: Reporter
) -> None:
    """One product per strip, against the whole gallery; its lists are dropped after it.

    Each process of a job takes its share of the strips.
    """
    tiles = list(source.all_tiles())
    query, size = source.query, sum(tile.size for tile in tiles)
    for relevance in relevances:
        check_range(relevance, size)
    strip = Strip(query, _strip_rows(query, len(tiles)), len(tiles))
    scores = strip.scores.numpy()

    with workers() as team, reporter.task("rank", len(query), "queries") as task:
        strips = _strips(query, len(tiles))
        for first, last in strips[process_index() :: process_count()]:
            lists = [_Packed(relevance, first, last, query) for relevance in relevances]
            strip.multiply(first, last, tiles, team)

            def rank(rows: _Pair, lists: list[_Packed] = lists) -> None:
                for packed in lists:
                    packed.read(scores, rows, (0, size))
                    packed.sort(rows)
                    packed.count(scores, rows, (0, size))
                    packed.finish(rows)
                receive([packed.ranks(rows) for packed in lists])

            team.run(rank, _row_tasks(last - first, team))
            task.advance(last - first)


def _rank_stretches(
    source: GallerySource, relevances: Sequence[Relevance], receive: Receiver, reporter: Reporter
) -> None:
    """Read the scores of positives and junk first, then count stretch after stretch."""
    query = source.query
    strip = Strip(query, _strip_rows(query, _STRETCH_TILES), _STRETCH_TILES)
    strips = {
        bounds: [_Packed(relevance, *bounds, query) for relevance in relevances]
        for bounds in _strips(query, _STRETCH_TILES)
    }
    with workers() as team:
        size = _read_pass(source, relevances, strip, strips, team)
        for relevance in relevances:
            check_range(relevance, size, source.rereadable)
        _each(strips, _Packed.sort, team)
        with reporter.task("rank", source.size, "gallery images") as task:
            for stretch in stretches(source.all_tiles(), _STRETCH_TILES):
                _visit(strip, strips, stretch, _Packed.count, team)
                task.advance(sum(tile.size for tile in stretch))
        _each(strips, _Packed.finish, team)
        for (first, last), lists in strips.items():
            for rows in _row_tasks(last - first, team):
                receive([packed.ranks(rows) for packed in lists])


def _read_pass(
    source: GallerySource,
    relevances: Sequence[Relevance],
    strip: Strip,
    strips: dict[_Pair, list[_Packed]],
    team: Workers,
) -> int:
    """Read the scores of all listed items; return how many gallery images were gone through."""
    listed = np.unique(np.concatenate([relevance.annotated() for relevance in relevances]))
    size = 0
    for stretch in stretches(source.first_tiles(), _STRETCH_TILES):
        first, size = extent(stretch)
        begin, end = np.searchsorted(listed, [first, size])
        if begin < end:
            _visit(strip, strips, stretch, _Packed.read, team)
        if end == len(listed):
            break
    return size


def _visit(
    strip: Strip,
    strips: dict[_Pair, list[_Packed]],
    stretch: list[Tile],
    action: Callable[[_Packed, _Scores, _Pair, _Pair], None],
    team: Workers,
) -> None:
    """Let every list see its strip of scores against one stretch of the gallery."""
    scores, bounds = strip.scores.numpy(), extent(stretch)
    for (first, last), lists in strips.items():
        strip.multiply(first, last, stretch, team)

        def act(rows: _Pair, lists: list[_Packed] = lists) -> None:
            for packed in lists:
                action(packed, scores, rows, bounds)

        team.run(act, _row_tasks(last - first, team))


def _each(
    strips: dict[_Pair, list[_Packed]], action: Callable[[_Packed, _Pair], None], team: Workers
) -> None:
    tasks = [
        (packed, rows)
        for (first, last), lists in strips.items()
        for packed in lists
        for rows in _row_tasks(last - first, team)
    ]
    team.run(lambda task: action(*task), tasks)


def _strip_bytes(query: Tensor, tiles: int) -> int:
    """Size of the narrowest strip over so many tiles."""
    return tile_height(len(query)) * tiles * TILE_ITEMS * query.element_size()


def _strip_rows(query: Tensor, tiles: int) -> int:
    height = tile_height(len(query))
    blocks = max(1, _STRIP_BYTES // max(1, _strip_bytes(query, tiles)))
    return height * max(1, min(blocks, -(-len(query) // height)))


def _strips(query: Tensor, tiles: int) -> list[_Pair]:
    rows = _strip_rows(query, tiles)
    return [(first, min(first + rows, len(query))) for first in range(0, len(query), rows)]


def _row_tasks(rows: int, team: Workers) -> list[_Pair]:
    """Divide the rows of a strip evenly, but not so finely that Python's own time would show."""
    step = min(_MOST_ROWS_PER_TASK, max(8, -(-rows // (4 * team.count))))
    return [(first, min(first + step, rows)) for first in range(0, rows, step)]


def _kernels() -> ModuleType:
    try:
        # imported where it is needed: the compiler behind it takes a second to load
        from ram_cli.evaluation import counting
    except ImportError as error:
        raise RamError(
            f"exact evaluation needs numba, which cannot be imported ({error}). "
            "Install it again: pip install --force-reinstall numba"
        ) from error
    return counting
