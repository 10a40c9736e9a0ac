"""Numbers must not depend, to the last bit, on how the work is divided."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_reference import assert_same_bits
from numpy.typing import NDArray

from ram_cli.errors import DataError
from ram_cli.evaluation import RetrievalMetrics, label_metrics, ranking, retrieval_metrics
from ram_cli.evaluation.products import TILE_ITEMS, cut_tiles

KS = (1, 5, 100)
QUERIES, CORE, DIMENSION = 450, 900, 23


@pytest.fixture(scope="module")
def vectors() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Queries and a gallery; the items behind the first `CORE` are distractors."""
    rng = np.random.default_rng(0)
    query = rng.normal(size=(QUERIES, DIMENSION)).astype(np.float32)
    gallery = rng.normal(size=(CORE + 2 * TILE_ITEMS + 100, DIMENSION)).astype(np.float32)
    gallery[1000:1300] = gallery[:300]
    return query, gallery


@pytest.fixture(scope="module")
def lists() -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    rng = np.random.default_rng(1)
    positives = [rng.permutation(CORE)[: rng.integers(0, 60)] for _ in range(QUERIES)]
    return positives, [rng.permutation(CORE)[:9] for _ in range(QUERIES)]


@pytest.fixture
def whole(vectors: Any, lists: Any) -> RetrievalMetrics:
    return retrieval_metrics(*vectors, *lists, KS)


@pytest.mark.parametrize("strip_bytes", [1, 3 << 20, 1 << 30])
@pytest.mark.parametrize("widest_bytes", [1, 1 << 30])
@pytest.mark.parametrize("stretch", [1, 2, 64])
def test_height_and_width_of_strips(
    vectors: Any, lists: Any, whole: RetrievalMetrics, monkeypatch: pytest.MonkeyPatch,
    strip_bytes: int, widest_bytes: int, stretch: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(ranking, "_STRIP_BYTES", strip_bytes)
    monkeypatch.setattr(ranking, "_WIDEST_BYTES", widest_bytes)
    monkeypatch.setattr(ranking, "_STRETCH_TILES", stretch)
    assert_same_bits(retrieval_metrics(*vectors, *lists, KS), whole)


@pytest.mark.parametrize("sizes", [[1], [TILE_ITEMS], [100, 0, 700, 900], [7, 1, 2000]])
def test_blocks_of_a_gallery(
    vectors: Any, lists: Any, whole: RetrievalMetrics, sizes: list[int]
) -> None:
    query, gallery = vectors
    blocks = np.split(gallery, np.cumsum(sizes))
    assert_same_bits(retrieval_metrics(query, blocks, *lists, KS), whole)
    tensors = tuple(torch.from_numpy(block) for block in blocks)
    assert_same_bits(retrieval_metrics(query, tensors, *lists, KS), whole)


@pytest.mark.parametrize("first", [CORE, CORE + 1, TILE_ITEMS + CORE])
def test_stream_of_distractors(
    vectors: Any, lists: Any, whole: RetrievalMetrics, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "_STRETCH_TILES", 1)
    query, gallery = vectors

    def blocks() -> Iterator[Any]:
        yield gallery[:first]
        for start in range(first, len(gallery), 333):
            yield gallery[start : start + 333]

    assert_same_bits(retrieval_metrics(query, blocks(), *lists, KS), whole)


def test_positive_behind_the_first_block_of_a_stream(vectors: Any, lists: Any) -> None:
    query, gallery = vectors
    with pytest.raises(DataError, match="first block"):
        retrieval_metrics(query, iter([gallery[:100], gallery[100:]]), *lists, KS)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_number_of_threads(vectors: Any, lists: Any, whole: RetrievalMetrics, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_same_bits(retrieval_metrics(*vectors, *lists, KS), whole)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_labels_of_a_gallery_in_stretches(vectors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    query, labels = vectors[0], np.arange(QUERIES) // 50
    whole = label_metrics(query, query, labels, labels, KS, same_set=True)
    monkeypatch.setattr(ranking, "_WIDEST_BYTES", 1)
    divided = label_metrics(query, query, labels, labels, KS, same_set=True)
    assert_same_bits(divided, whole)


def test_tiles_hold_every_vector_once() -> None:
    vectors = torch.arange(3.0 * TILE_ITEMS + 5)[:, None]
    for sizes in ([len(vectors)], [5, 2 * TILE_ITEMS, TILE_ITEMS], [0, TILE_ITEMS + 1, 1, 0]):
        blocks = vectors.tensor_split(np.cumsum(sizes).tolist())
        tiles = list(cut_tiles(blocks))
        assert [tile.first for tile in tiles] == [0, 768, 1536, 2304]
        assert {len(tile.vectors) for tile in tiles} == {TILE_ITEMS}
        assert torch.equal(torch.cat([tile.vectors[: tile.size] for tile in tiles]), vectors)
        assert not tiles[-1].vectors[5:].any()


@pytest.mark.parametrize("faulty", [False, True])
def test_settings_of_the_process_are_put_back(
    vectors: Any, faulty: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    during: set[tuple[int, bool]] = set()
    multiply = torch.mm

    def product(*arguments: Any, **options: Any) -> torch.Tensor:
        during.add((torch.get_num_threads(), torch.backends.mkldnn.enabled))
        if faulty:
            raise DataError("gone")
        return multiply(*arguments, **options)

    monkeypatch.setattr(torch, "mm", product)
    threads, enabled = torch.get_num_threads(), torch.backends.mkldnn.enabled
    lists = [[0]] * QUERIES
    if faulty:
        with pytest.raises(DataError, match="gone"):
            retrieval_metrics(*vectors, lists, None, KS)
    else:
        retrieval_metrics(*vectors, lists, None, KS)
    assert during == {(1, False)}
    assert torch.get_num_threads() == threads
    assert torch.backends.mkldnn.enabled == enabled
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [threads]
