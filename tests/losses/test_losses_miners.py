import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from losses_golden import golden, seeded, unit

from ram_cli.errors import DataError, ModelError, TrainingError
from ram_cli.losses import hardest_negatives, hardest_positives, teacher_ranked_pairs


def rows_as_sets(positions):
    return [set(row) for row in positions.tolist()]


def test_hardest_positives_meet_the_published_sets():
    numbers = golden("raml_mining")
    found = hardest_positives(numbers["mh_E"], numbers["mh_cls"].numpy(), 3)
    assert rows_as_sets(found) == rows_as_sets(numbers["mh_pos3"])
    scores = numbers["mh_scores"].gather(1, torch.from_numpy(found))
    assert (scores.diff(dim=1) >= 0).all()  # the least similar first


def test_hardest_negatives_are_hardest_where_the_published_ones_are_any():
    numbers = golden("raml_mining")
    labels, scores = numbers["mh_cls"].numpy(), numbers["mh_scores"].numpy()
    vectors = numbers["mh_E"]
    found = hardest_negatives(vectors, vectors, labels, labels, 5, one_per_label=False)
    for row, (ours, published) in enumerate(zip(found, numbers["mh_neg5"].numpy(), strict=True)):
        others = np.flatnonzero(labels != labels[row])
        assert ours.tolist() == others[np.argsort(-scores[row, others])][:5].tolist()
        assert set(published) <= set(others)
        assert scores[row, ours].sum() >= scores[row, published].sum()


def test_a_duplicate_is_a_positive_and_the_image_itself_is_not():
    numbers = golden("raml_mining")
    assert 1 in numbers["mh_dup_pos3"][1]  # published: the image is its own positive
    labels = numbers["mh_cls"].numpy()
    found = hardest_positives(numbers["mh_dup_E"], labels, 3)
    for row, positives in enumerate(rows_as_sets(found)):
        assert positives == set(np.flatnonzero(labels == labels[row])) - {row}


def test_classes_too_small_for_the_positives_are_refused():
    numbers = golden("raml_mining")
    labels = numbers["mh_cls_short"].numpy()
    published = numbers["mh_pos3_short"].numpy()
    assert (labels[published] != labels[:, None]).any()  # published: silently not positives
    with pytest.raises(DataError):
        hardest_positives(numbers["mh_E"], labels, 3)


def slow_negatives(query, pool, query_labels, pool_labels, count, one_per_label):
    found = []
    for vector, label in zip(query, query_labels, strict=True):
        chosen, seen = [], {label}
        for position in (pool @ vector).argsort(descending=True).tolist():
            other = pool_labels[position]
            if other in seen if one_per_label else other == label:
                continue
            chosen.append(position)
            seen.add(other)
        found.append(chosen[:count])
    return found


@settings(deadline=None, derandomize=True, max_examples=25)
@given(
    queries=st.integers(1, 9),
    pool=st.integers(16, 30),
    classes=st.integers(5, 8),
    count=st.integers(1, 3),
    one_per_label=st.booleans(),
    block=st.integers(1, 400),
    seed=st.integers(0, 999),
)
def test_mining_equals_slow_loops_for_any_block(
    queries, pool, classes, count, one_per_label, block, seed
):
    generator, rng = seeded(seed), np.random.default_rng(seed)
    query, images = unit(generator, queries, 6), unit(generator, pool, 6)
    query_labels = rng.integers(0, classes, queries)
    pool_labels = rng.permutation(np.arange(pool) % classes)
    query_labels.flags.writeable = pool_labels.flags.writeable = False
    args = (query, images, query_labels, pool_labels, count)
    found = hardest_negatives(*args, one_per_label=one_per_label, block_scores=block)
    assert found.tolist() == slow_negatives(*args, one_per_label)

    found = hardest_positives(images, pool_labels, 1, block_scores=block)
    for row, position in enumerate(found[:, 0]):
        others = [j for j in np.flatnonzero(pool_labels == pool_labels[row]) if j != row]
        assert position == min(others, key=lambda j, i=row: float(images[i] @ images[j]))


def test_scores_are_never_held_at_once(monkeypatch):
    sizes = []
    original = torch.Tensor.__matmul__

    def watched(a, b):
        product = original(a, b)
        sizes.append(product.numel())
        return product

    monkeypatch.setattr(torch.Tensor, "__matmul__", watched)
    query, pool = unit(seeded(), 50, 4), unit(seeded(1), 40, 4)
    labels = np.arange(50)
    hardest_negatives(query, pool, labels, np.arange(40) + 100, 2, block_scores=120)
    teacher_ranked_pairs(query, pool, np.random.default_rng(0), top=5, block_scores=120)
    assert len(sizes) == 34
    assert max(sizes) <= 120


def test_a_pool_without_enough_clusters_is_refused():
    query, pool = unit(seeded(), 2, 4), unit(seeded(1), 6, 4)
    labels, clusters = np.array([0, 1]), np.array([0, 0, 1, 1, 2, 2])
    assert hardest_negatives(query, pool, labels, clusters, 2).shape == (2, 2)
    assert hardest_negatives(query, pool, labels, clusters, 4, one_per_label=False).shape == (2, 4)
    with pytest.raises(DataError):
        hardest_negatives(query, pool, labels, clusters, 3)
    with pytest.raises(DataError):
        hardest_negatives(query, pool, labels, clusters, 5, one_per_label=False)


def test_ranked_pairs_follow_the_teacher():
    pool = unit(seeded(), 60, 8)
    query, own = pool[:25], np.arange(25)
    own[20:] = -1
    query = torch.cat([query[:20], unit(seeded(2), 5, 8)])
    seen = set()
    for seed in range(60):
        positive, negative = teacher_ranked_pairs(
            query, pool, np.random.default_rng(seed), query_positions=own, top=4, block_scores=99
        )
        for row in range(25):
            scores = pool @ query[row]
            if own[row] >= 0:
                scores[own[row]] = -2
            ranking = scores.argsort(descending=True).tolist()
            ranks = ranking.index(positive[row]), ranking.index(negative[row])
            assert ranks[0] < ranks[1] < 4
            seen.add(ranks)
    assert len(seen) == 6  # every pair of four places occurs


def test_ranked_pairs_are_repeatable_and_leave_out_the_query():
    pool = unit(seeded(), 10, 8)
    draws = [
        teacher_ranked_pairs(
            pool, pool, np.random.default_rng(7), query_positions=np.arange(10), top=300
        )
        for _ in range(2)
    ]
    np.testing.assert_array_equal(draws[0], draws[1])
    for side in draws[0]:
        assert (side != np.arange(10)).all()
    with pytest.raises(DataError):
        teacher_ranked_pairs(
            pool[:2], pool[:2], np.random.default_rng(0), query_positions=np.arange(2)
        )


def test_bad_vectors_are_refused():
    good, labels = unit(seeded(), 6, 4), np.arange(6) % 2
    broken = good.clone()
    broken[3, 1] = torch.nan
    with pytest.raises(TrainingError):
        hardest_negatives(good, broken, labels, labels, 1)
    with pytest.raises(TrainingError):
        hardest_positives(broken, labels, 1)
    with pytest.raises(ModelError):
        hardest_negatives(good, good, labels, labels[:5], 1)
    with pytest.raises(ModelError):
        hardest_negatives(good, good[:, :3], labels, labels, 1)
