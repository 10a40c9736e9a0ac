"""Compiled kernels that turn strips of scores into ranks of the positives.

A strip holds the scores of a block of queries against a stretch of the gallery, as tiles
`[R, T, M, N]`: query `r * M + m` against item `t * N + n` of the stretch. Lists of queries are
packed: query `i` owns `indices[offsets[i] : offsets[i + 1]]`.

Order of the ranking: higher score first; equal scores, lower gallery index first. It is the order
of a stable descending sort. The kernels only compare and count, so results are exact whatever the
order of execution. They release the interpreter's lock and start no threads of their own.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])
Scores = NDArray[np.floating]
Integers = NDArray[np.signedinteger[Any]]
Scalar = Any  # numba gives a scalar the type of the array that it comes from

FEW = 32
"""Up to so many positives, each is compared with every score; above, scores are looked up."""

_CHUNK = 512  # scores looked up together: their buckets stay in the first-level cache
_BUCKETS_PER_POSITIVE = 32
_MOST_BUCKETS = 65536


def _kernel(function: _Kernel) -> _Kernel:
    try:
        compiled = numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # no folder where compiled code could be kept: compile in every process
        compiled = numba.njit(nogil=True, error_model="numpy")(function)
    return cast(_Kernel, compiled)


@_kernel
def _precedes(score: Scalar, index: Scalar, other_score: Scalar, other_index: Scalar) -> Scalar:
    """Whether the first item is ranked before the other; no item is ranked before itself."""
    return score > other_score or (score == other_score and index < other_index)


@_kernel
def read_scores(
    strip: Scores,
    rows: tuple[int, int],
    stretch: tuple[int, int],
    offsets: Integers,
    indices: Integers,
    scores: Scores,
) -> None:
    """Copy into `scores` those of the listed items that lie in the strip.

    Args:
        strip: `[R, T, M, N]`.
        rows: First and last (exclusive) query of the strip to look at.
        stretch: First and last (exclusive) gallery index that the strip covers.
        offsets: `[rows of the strip + 1]`.
        indices: Gallery index of every listed item.
        scores: Score of every listed item.
    """
    _, _, height, width = strip.shape
    for row in range(rows[0], rows[1]):
        for place in range(offsets[row], offsets[row + 1]):
            item = indices[place] - stretch[0]
            if item >= 0 and indices[place] < stretch[1]:
                scores[place] = strip[row // height, item // width, row % height, item % width]


@_kernel
def sort_lists(rows: tuple[int, int], offsets: Integers, indices: Integers, scores: Scores) -> None:
    """Put every list into the order of the ranking."""
    for row in range(rows[0], rows[1]):
        begin, end = offsets[row], offsets[row + 1]
        gap = 1
        while gap < (end - begin) // 3:
            gap = 3 * gap + 1
        while gap > 0:  # Shell's sort: in place, and quick to compile
            for moved in range(begin + gap, end):
                item, score, place = indices[moved], scores[moved], moved
                while place >= begin + gap and _precedes(
                    score, item, scores[place - gap], indices[place - gap]
                ):
                    scores[place], indices[place] = scores[place - gap], indices[place - gap]
                    place -= gap
                scores[place], indices[place] = score, item
            gap //= 3


@_kernel
def count_before(
    strip: Scores,
    rows: tuple[int, int],
    stretch: tuple[int, int],
    offsets: Integers,
    indices: Integers,
    scores: Scores,
    counts: Integers,
) -> None:
    """Add to `counts` how many items of the strip are ranked before each listed item.

    Args:
        strip: `[R, T, M, N]`.
        rows: First and last (exclusive) query of the strip to count for.
        stretch: First and last (exclusive) gallery index that the strip covers.
        offsets: `[rows of the strip + 1]`.
        indices: Gallery index of every listed item, every list in the order of the ranking.
        scores: Score of every listed item.
        counts: Items found before every listed item so far.
    """
    _, tiles, height, width = strip.shape
    buckets = np.empty(_CHUNK, np.int32)
    for row in range(rows[0], rows[1]):
        begin, end = offsets[row], offsets[row + 1]
        if begin == end:
            continue
        if end - begin > FEW:
            levels, low, scale = _levels(scores[begin:end])
            found = np.zeros(end - begin + 1, np.int64)
        for tile in range(tiles):
            first = stretch[0] + tile * width
            if first >= stretch[1]:
                break
            size = min(width, stretch[1] - first)
            tile_scores = strip[row // height, tile, row % height, :size]
            if end - begin <= FEW:
                for place in range(begin, end):
                    counts[place] += _count(tile_scores, indices[place] - first, scores[place])
            else:
                _look_up(
                    tile_scores, first, indices[begin:end], scores[begin:end],
                    levels, low, scale, buckets, found,
                )  # fmt: skip
        if end - begin > FEW:
            before = 0
            for place in range(end - begin):
                before += found[place]
                counts[begin + place] += before


@_kernel
def subtract_junk(
    rows: tuple[int, int],
    offsets: Integers,
    indices: Integers,
    scores: Scores,
    counts: Integers,
    junk_offsets: Integers,
    junk_indices: Integers,
    junk_scores: Scores,
) -> None:
    """Take the junk ranked before each listed item out of `counts`, which become ranks.

    A positive that is also junk keeps its place and only the items behind it move up, as in the
    published protocol.
    """
    for row in range(rows[0], rows[1]):
        begin, end = offsets[row], offsets[row + 1]
        if begin == end:
            continue
        found = np.zeros(end - begin + 1, np.int64)
        for place in range(junk_offsets[row], junk_offsets[row + 1]):
            behind = _search(
                junk_scores[place], junk_indices[place], indices[begin:end], scores[begin:end],
                0, end - begin,
            )  # fmt: skip
            found[behind] += 1
        before = 0
        for place in range(end - begin):
            before += found[place]
            counts[begin + place] -= before


@_kernel
def _count(scores: Scores, position: Scalar, threshold: Scalar) -> Scalar:
    """Count the scores ranked before the item at `position` (it may lie outside of them)."""
    split = min(max(position, 0), scores.size)
    head, tail = scores[:split], scores[split:]
    # 32-bit counters and slices counted from 0 let the compiler compare 8 scores at once
    count = np.int32(0)
    for place in range(head.size):
        count = np.int32(count + np.int32(head[place] >= threshold))
    for place in range(tail.size):
        count = np.int32(count + np.int32(tail[place] > threshold))
    return count


@_kernel
def _bucket(score: Scalar, low: Scalar, scale: Scalar, top: Scalar) -> Scalar:
    """Bucket of a score: never falls as the score rises, so buckets keep the ranking's order."""
    one = np.float32(1)  # scores below the lowest threshold have bucket 0 to themselves
    return np.int32(min(max((score - low) * scale + one, np.float32(0)), top))


@_kernel
def _levels(thresholds: Scores) -> tuple[Integers, Scalar, Scalar]:
    """Tabulate descending thresholds `[P]` over buckets of equal width.

    Returns:
        levels `[K + 1]`, number of thresholds in bucket k or a higher one; low and scale, which
        `_bucket` maps scores with.
    """
    count = thresholds.size
    buckets = min(_BUCKETS_PER_POSITIVE * count, _MOST_BUCKETS)
    low = thresholds[count - 1]
    top = thresholds.dtype.type(buckets - 1)
    scale = (top - thresholds.dtype.type(1)) / (thresholds[0] - low)
    if not np.isfinite(scale):  # all thresholds (nearly) equal: one bucket holds them
        scale = thresholds.dtype.type(0)
    levels = np.empty(buckets + 1, np.int32)
    higher = 0
    for bucket in range(buckets, -1, -1):
        while higher < count and _bucket(thresholds[higher], low, scale, top) >= bucket:
            higher += 1
        levels[bucket] = higher
    return levels, low, scale


@_kernel
def _look_up(
    scores: Scores,
    first: Scalar,
    indices: Integers,
    thresholds: Scores,
    levels: Integers,
    low: Scalar,
    scale: Scalar,
    buckets: Integers,
    found: Integers,
) -> None:
    """Add 1 to `found[p]` for every score, p being the first listed item that it precedes."""
    top = thresholds.dtype.type(levels.size - 2)
    one = np.uint64(1)
    for start in range(0, scores.size, _CHUNK):
        chunk = scores[start : start + _CHUNK]
        for place in range(chunk.size):
            buckets[place] = _bucket(chunk[place], low, scale, top)
        for place in range(chunk.size):
            bucket = np.uint64(buckets[place])  # unsigned: spares the check for negative indices
            begin, end = np.int64(levels[bucket + one]), np.int64(levels[bucket])
            if begin < end:
                begin = _search(
                    chunk[place], first + start + place, indices, thresholds, begin, end
                )
            found[np.uint64(begin)] += 1


@_kernel
def _search(
    score: Scalar, index: Scalar, indices: Integers, thresholds: Scores, begin: Scalar, end: Scalar
) -> Scalar:
    """Find the first listed item in `begin : end` that (score, index) is ranked before."""
    while begin < end:
        middle = (begin + end) >> 1
        if _precedes(score, index, thresholds[middle], indices[middle]):
            end = middle
        else:
            begin = middle + 1
    return begin
