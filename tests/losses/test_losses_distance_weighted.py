import math

import numpy as np
import pytest
import torch
from losses_golden import golden, seeded, unit

from ram_cli.errors import DataError, ModelError, TrainingError
from ram_cli.losses import distance_weighted_negatives, distance_weighted_probabilities


def published(dimension):
    numbers = {
        key.removeprefix(f"md_d{dimension}_"): value.numpy()
        for key, value in golden("raml_mining").items()
        if key.startswith(f"md_d{dimension}_")
    }
    return numbers, numbers["cls"][None] != numbers["qcls"][:, None]


def probabilities(distances, dimension, allowed, **options):
    tensors = torch.as_tensor(distances), torch.as_tensor(allowed)
    return distance_weighted_probabilities(tensors[0], dimension, tensors[1], **options).numpy()


@pytest.mark.parametrize("dimension", [16, 512])
def test_probabilities_meet_the_published_ones(dimension):
    numbers, allowed = published(dimension)
    distances = torch.from_numpy(numbers["dist"].T).double()
    ours = probabilities(distances, dimension, allowed)
    for row, expected, possible in zip(ours, numbers["p_f64"], allowed, strict=True):
        assert (expected[~possible] > 0).all()  # published: the anchor's own class can be drawn
        assert not row[~possible].any()
        np.testing.assert_allclose(
            row[possible], expected[possible] / expected[possible].sum(), rtol=1e-10
        )


@pytest.mark.parametrize("dimension", [2, 3, 4, 16])
@pytest.mark.parametrize("floor", [0.0, 1e-6, 0.1])
def test_probabilities_equal_the_formula(dimension, floor):
    rng = np.random.default_rng(dimension)
    distances = rng.uniform(0, 1.9, (5, 12))
    allowed = rng.random((5, 12)) < 0.6
    allowed[:, 0] = True
    ours = probabilities(distances, dimension, allowed, floor=floor)
    for row in range(5):
        weights = []
        for distance in distances[row]:
            d = max(distance, 0.5)
            density = d ** (dimension - 2) * (1 - d * d / 4) ** ((dimension - 3) / 2)
            weights.append(1 / density)
        largest = max(w for w, a in zip(weights, allowed[row], strict=True) if a)
        weights = [
            w / largest + floor if a else 0.0 for w, a in zip(weights, allowed[row], strict=True)
        ]
        expected = [w / sum(weights) for w in weights]
        np.testing.assert_allclose(ours[row], expected, rtol=1e-10)


@pytest.mark.parametrize("dimension", [1, 2, 3, 128, 512, 2048, 100_000])
def test_probabilities_are_safe_at_the_ends(dimension):
    distances = np.array([[0.0, 0.5, 1.0, math.sqrt(2), 1.99, 2.0, 2.0000001]] * 2)
    allowed = np.ones((2, 7), dtype=bool)
    allowed[1, 5:] = False
    ours = probabilities(distances, dimension, allowed)
    assert np.isfinite(ours).all()
    np.testing.assert_allclose(ours.sum(axis=1), 1, rtol=1e-12)
    assert ((ours > 0) == allowed).all()
    assert ours[0, 0] == ours[0, 1]


def test_an_anchor_without_a_possible_negative_is_refused():
    allowed = np.array([[True, False], [False, False]])
    with pytest.raises(DataError):
        probabilities(np.ones((2, 2)), 8, allowed)
    with pytest.raises(DataError, match="query 1 of class 4"):
        distance_weighted_negatives(
            unit(seeded(), 2, 8),
            unit(seeded(1), 3, 8),
            np.array([1, 4]),
            np.array([4, 4, 4]),
            2,
            np.random.default_rng(0),
        )


@pytest.mark.parametrize("dimension", [16, 512])
def test_negatives_differ_in_class_and_place(dimension):
    numbers, _ = published(dimension)
    vectors = torch.from_numpy(numbers["query"]), torch.from_numpy(numbers["pool"])
    args = (*vectors, numbers["qcls"], numbers["cls"], 4)
    for seed in range(20):
        found = distance_weighted_negatives(*args, np.random.default_rng(seed))
        assert (numbers["cls"][found] != numbers["qcls"][:, None]).all()
        assert all(len(set(row)) == 4 for row in found.tolist())
        again = distance_weighted_negatives(*args, np.random.default_rng(seed), block_scores=1)
        np.testing.assert_array_equal(found, again)


def test_frequencies_follow_the_probabilities():
    rng = np.random.default_rng(5)
    pool, labels = unit(seeded(), 12, 4, dtype=torch.float32), np.arange(12) % 3
    query = unit(seeded(8), 1, 4, dtype=torch.float32)
    distances = (query - pool).norm(dim=1).double().numpy()[None]
    expected = probabilities(distances, 4, labels[None] != 1)[0]
    draws = 5_000
    found = distance_weighted_negatives(
        query.repeat(draws, 1), pool, np.full(draws, 1), labels, 1, rng
    )
    frequencies = np.bincount(found[:, 0], minlength=12) / draws
    error = np.sqrt(expected * (1 - expected) / draws)
    assert expected.max() > 2 * expected[labels != 1].min()
    assert (np.abs(frequencies - expected) <= 5 * error + 1e-9).all()


def test_a_pool_smaller_than_the_tuple_repeats_its_images():
    pool, labels = unit(seeded(), 3, 4), np.array([0, 0, 1])
    found = distance_weighted_negatives(pool, pool, labels, labels, 5, np.random.default_rng(0))
    assert set(found[0]) == {2}
    assert set(found[2]) <= {0, 1}


def test_bad_vectors_are_refused():
    good, labels = unit(seeded(), 6, 4), np.arange(6) % 2
    rng = np.random.default_rng(0)
    with pytest.raises(TrainingError):
        distance_weighted_negatives(good, good * torch.inf, labels, labels, 1, rng)
    with pytest.raises(ModelError):
        distance_weighted_negatives(good, good, labels, labels[:5], 1, rng)
    with pytest.raises(ModelError):
        distance_weighted_negatives(good, good[:, :3], labels, labels, 1, rng)
