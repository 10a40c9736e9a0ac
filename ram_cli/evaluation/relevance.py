"""Which gallery items count as positive or junk for which query, in compact form."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ram_cli.errors import DataError

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class IndexLists:
    """One list of gallery indices per query, stored end to end.

    Attributes:
        offsets: `[Q + 1]`; query `i` owns `indices[offsets[i] : offsets[i + 1]]`.
        indices: `[offsets[-1]]` gallery indices, ascending and without repetition in each list.
    """

    offsets: Indices
    indices: Indices

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def from_lists(cls, lists: Sequence[ArrayLike], name: str = "index") -> "IndexLists":
        """Pack `Q` lists of gallery indices; order and repetitions inside a list do not matter.

        Args:
            lists: Per query, integers (list, array or tensor); may be empty.
            name: What they are, for messages ("positive", "junk").

        Raises:
            DataError: A list holds something else than non-negative integers.
        """
        arrays = [_integers(item, name, query) for query, item in enumerate(lists)]
        lengths = np.fromiter((len(array) for array in arrays), np.int64, len(arrays))
        indices = np.concatenate(arrays) if arrays else np.empty(0, np.int64)
        return cls.from_ragged(lengths, indices, name)

    @classmethod
    def from_ragged(cls, lengths: Indices, indices: Indices, name: str = "index") -> "IndexLists":
        """Pack lists given by their lengths `[Q]` and their items end to end."""
        queries = np.repeat(np.arange(len(lengths)), lengths)
        if indices.size and indices.min() < 0:
            place = int(np.argmax(indices < 0))
            raise DataError(
                f"query {queries[place]} has the {name} {indices[place]}; "
                "gallery indices start at 0."
            )
        same_query = queries[1:] == queries[:-1]
        if np.any(same_query & (indices[1:] <= indices[:-1])):
            order = np.lexsort((indices, queries))
            queries, indices = queries[order], indices[order]
            first = np.ones(len(indices), bool)
            first[1:] = (queries[1:] != queries[:-1]) | (indices[1:] != indices[:-1])
            queries, indices = queries[first], indices[first]
            lengths = np.bincount(queries, minlength=len(lengths))
        return cls(_offsets(lengths), indices)


@dataclass(frozen=True, slots=True, eq=False)
class Relevance:
    """Positives and junk of every query; queries may share the memory of their lists.

    Query `i` has the positives `members[starts[i] : stops[i]]` and its list of junk; where
    `itself` is given, `itself[i]` is no positive but the only junk.

    Attributes:
        members: Gallery indices, ascending within every range.
        starts: `[Q]` first place of a query's range in `members`.
        stops: `[Q]` place behind the last one.
        junk: Own junk list of every query.
        itself: `[Q]` place of the query in the gallery, where it is part of it and has no list.
    """

    members: Indices
    starts: Indices
    stops: Indices
    junk: IndexLists
    itself: Indices | None = None

    def __len__(self) -> int:
        return len(self.starts)

    @classmethod
    def from_lists(
        cls,
        positives: Sequence[ArrayLike] | IndexLists,
        junk: Sequence[ArrayLike] | IndexLists | None,
    ) -> "Relevance":
        """Build from per-query lists of positives and of junk (none: no junk at all)."""
        kept = as_lists(positives, "positive")
        left_out = as_lists([[]] * len(kept) if junk is None else junk, "junk")
        if len(kept) != len(left_out):
            raise DataError(
                f"there are {len(kept)} lists of positives but {len(left_out)} of junk; "
                "give one of each per query."
            )
        return cls(kept.indices, kept.offsets[:-1], kept.offsets[1:], left_out)

    @classmethod
    def from_labels(
        cls, query_labels: ArrayLike, gallery_labels: ArrayLike, *, same_set: bool
    ) -> "Relevance":
        """Build from class labels `[Q]` and `[G]`: items of the query's class are positives.

        Memory is O(Q + G) whatever the sizes of the classes. With `same_set`, query `i` is
        gallery item `i`: junk to itself.
        """
        queries, gallery = _labels(query_labels, "query"), _labels(gallery_labels, "gallery")
        if same_set and not np.array_equal(queries, gallery):
            raise DataError(
                f"query labels [{len(queries)}] and gallery labels [{len(gallery)}] differ, but "
                "queries and gallery should be the same images in the same order."
            )
        members = np.argsort(gallery, kind="stable")
        ordered = gallery[members]
        starts = np.searchsorted(ordered, queries, side="left")
        stops = np.searchsorted(ordered, queries, side="right")
        no_junk = IndexLists(np.zeros(len(queries) + 1, np.int64), np.empty(0, np.int64))
        itself = np.arange(len(queries)) if same_set else None
        return cls(members, starts, stops, no_junk, itself)

    def positives_of(self, first: int, last: int) -> IndexLists:
        """Positives of the queries `first` to `last` (exclusive), spelled out."""
        starts, lengths = self.starts[first:last], (self.stops - self.starts)[first:last]
        offsets = _offsets(lengths)
        places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        indices = self.members[places]
        if self.itself is None:
            return IndexLists(offsets, indices)
        own = np.repeat(self.itself[first:last], lengths) == indices
        removed = np.concatenate([[0], np.cumsum(own)])[offsets]
        return IndexLists(offsets - removed, indices[~own])

    def junk_of(self, first: int, last: int) -> IndexLists:
        """Junk of the queries `first` to `last` (exclusive), spelled out."""
        if self.itself is not None:
            return IndexLists(np.arange(last - first + 1), self.itself[first:last])
        offsets = self.junk.offsets[first : last + 1]
        return IndexLists(offsets - offsets[0], self.junk.indices[offsets[0] : offsets[-1]])

    def annotated(self) -> Indices:
        """Ascending gallery indices that are positive or junk of some query."""
        parts = [self.members, self.junk.indices]
        return np.unique(np.concatenate(parts if self.itself is None else [*parts, self.itself]))


def as_lists(lists: Sequence[ArrayLike] | IndexLists, name: str) -> IndexLists:
    """Pack lists unless they are packed already; packed ones are checked and put in order."""
    if isinstance(lists, IndexLists):
        offsets = np.asarray(lists.offsets, np.int64)
        indices = np.asarray(lists.indices, np.int64)
        lengths = np.diff(offsets)
        if (
            not len(offsets)
            or offsets[0] != 0
            or offsets[-1] != len(indices)
            or np.any(lengths < 0)
        ):
            raise DataError(
                f"offsets of the packed {name} lists must rise from 0 to {len(indices)}, "
                "the number of their indices."
            )
        return IndexLists.from_ragged(lengths, indices, name)
    return IndexLists.from_lists(lists, name)


def check_range(relevance: Relevance, size: int, whole: str = "the gallery") -> None:
    """Make sure that every positive and junk index lies below `size`, the images in `whole`.

    Raises:
        DataError: One does not; the message names it and its query.
    """
    ranges = np.append(relevance.starts, len(relevance.members))
    kinds = {"junk": relevance.junk}
    if relevance.itself is None:
        kinds["positive"] = IndexLists(ranges, relevance.members)
    for name, lists in kinds.items():
        beyond = lists.indices >= size
        if beyond.any():
            place = int(np.argmax(beyond))
            query = int(np.searchsorted(lists.offsets, place, side="right")) - 1
            raise DataError(
                f"query {query} has the {name} {lists.indices[place]}, but {whole} has "
                f"{size} images, counted from 0."
            )


def _offsets(lengths: Indices) -> Indices:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def _integers(values: Any, name: str, query: int) -> Indices:
    array = np.asarray(values)
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(
            f"the {name} list of query {query} holds {array.dtype} of shape {list(array.shape)}; "
            "expected a flat list of gallery indices."
        )
    return array.astype(np.int64, copy=False)


def _labels(values: ArrayLike, name: str) -> NDArray[Any]:
    labels = np.asarray(values)
    if labels.ndim != 1:
        raise DataError(f"{name} labels have shape {list(labels.shape)}; expected one per image.")
    return labels
