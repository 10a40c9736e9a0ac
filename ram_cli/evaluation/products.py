"""Inner products of queries with the gallery, in tiles whose shape never varies.

A score must not depend on how the work was divided: not on the number of threads, on the height of
a strip, or on the blocks a gallery is streamed in. Every product is therefore computed by one
thread from a tile of one fixed shape (filled up with zeros at the borders), at a place in the tile
that follows from the gallery index alone.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

TILE_ITEMS = 768
"""Gallery items of a tile: a multiple of the block sizes of the usual matrix kernels."""

_MOST_QUERIES = 384
_QUERY_STEP = 48

_lock = threading.RLock()
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A stretch of the gallery, filled up with zero rows to `TILE_ITEMS`.

    Attributes:
        first: Gallery index of its first row.
        size: Rows that hold gallery items.
        vectors: `[TILE_ITEMS, D]`.
    """

    first: int
    size: int
    vectors: Tensor


class Workers:
    """Threads that share a list of tasks; each runs matrix products without helpers."""

    def __init__(self, executor: ThreadPoolExecutor, count: int) -> None:
        self._executor = executor
        self.count = count

    def run(self, function: Callable[[_Item], None], tasks: Iterable[_Item]) -> None:
        """Call `function` once per task, and return when all are done or one has failed."""
        waiting = deque(tasks)

        def drain() -> None:
            while True:
                try:
                    task = waiting.popleft()
                except IndexError:
                    return
                function(task)

        futures = [self._executor.submit(drain) for _ in range(self.count)]
        try:
            for future in as_completed(futures):
                future.result()
        finally:
            waiting.clear()


@contextmanager
def workers() -> Iterator[Workers]:
    """As many threads as `torch.get_num_threads()`, for one evaluation at a time.

    Torch's own threads idle meanwhile. New threads inherit the number of threads that any other
    has set, so it is put back at the end.
    """
    with _lock:
        count = torch.get_num_threads()
        executor = ThreadPoolExecutor(count, "ram-evaluation", lambda: torch.set_num_threads(1))
        try:
            with executor:
                yield Workers(executor, count)
        finally:
            torch.set_num_threads(count)


@contextmanager
def _true_float32() -> Iterator[None]:
    """Keep products in float32 also where training allowed less for the sake of speed.

    With `torch.set_float32_matmul_precision("medium")`, oneDNN multiplies in bfloat16.
    """
    enabled = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = enabled


def tile_height(queries: int) -> int:
    """Queries of a tile: the same for all tiles of an evaluation of so many queries."""
    blocks = max(1, -(-queries // _MOST_QUERIES))
    steps = max(1, -(-queries // (blocks * _QUERY_STEP)))
    return steps * _QUERY_STEP


def cut_tiles(blocks: Iterable[Tensor]) -> Iterator[Tile]:
    """Cut consecutive gallery blocks `[*, D]` into tiles, copying only where a tile is ragged."""
    first = filled = 0
    pending: Tensor | None = None
    for block in blocks:
        start = 0
        while start < len(block):
            if not filled and len(block) - start >= TILE_ITEMS:
                yield Tile(first, TILE_ITEMS, block[start : start + TILE_ITEMS])
                first, start = first + TILE_ITEMS, start + TILE_ITEMS
                continue
            if pending is None:
                pending = block.new_zeros(TILE_ITEMS, block.shape[1])
            taken = min(TILE_ITEMS - filled, len(block) - start)
            pending[filled : filled + taken] = block[start : start + taken]
            filled, start = filled + taken, start + taken
            if filled == TILE_ITEMS:
                yield Tile(first, filled, pending)
                first, filled, pending = first + TILE_ITEMS, 0, None
    if pending is not None:
        yield Tile(first, filled, pending)


class Strip:
    """Memory for the scores of a block of queries against a stretch of the gallery.

    Args:
        query: All queries `[Q, D]`.
        rows: Queries per strip, a multiple of the tile height.
        tiles: Tiles that fit side by side.
    """

    def __init__(self, query: Tensor, rows: int, tiles: int) -> None:
        self.height = tile_height(len(query))
        self._query = query
        self._padded = query.new_zeros(rows // self.height, self.height, query.shape[1])
        self.scores = query.new_empty(rows // self.height, tiles, self.height, TILE_ITEMS)

    def multiply(self, first: int, last: int, tiles: list[Tile], team: Workers) -> None:
        """Fill `scores[:, : len(tiles)]` for the queries `first` to `last` (exclusive)."""
        blocks = -(-(last - first) // self.height)
        flat = self._padded.view(-1, self._padded.shape[2])
        flat[: last - first] = self._query[first:last]
        flat[last - first : blocks * self.height] = 0

        def product(task: tuple[int, int]) -> None:
            block, tile = task
            torch.mm(self._padded[block], tiles[tile].vectors.T, out=self.scores[block, tile])

        tasks = [(block, tile) for tile in range(len(tiles)) for block in range(blocks)]
        with _true_float32():
            team.run(product, tasks)
