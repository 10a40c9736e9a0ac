"""Tuples: which images they are made of, what their loss is, and where gradients go."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ram_cli.datasets import ImageSet
from ram_cli.engine import LabelledTuples, RankedTuples, TuplesObjective, resolve_runtime
from ram_cli.engine.shaped import ShapedItem, collate_shaped
from ram_cli.errors import DataError
from ram_cli.losses import METHODS
from ram_cli.views import InputSpec

sys.path.insert(0, str(Path(__file__).parents[1] / "losses"))
from losses_golden import assert_golden, golden, seeded, unit

RUNTIME = resolve_runtime("cpu", "fp32")
SPEC = InputSpec(32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
LABELS = np.repeat(np.arange(12), 4)
VECTORS = unit(seeded(), len(LABELS), 6)


class Rows(nn.Module):
    """A "network" whose embedding of a view is the row of a table that its red value names."""

    def __init__(self, table):
        super().__init__()
        self.table = nn.Parameter(table.clone())

    def forward(self, images):
        return self.table[(images[:, 0, 0, 0] * 255).round().long()]


def embed_rows(model, indices):
    return model.table.detach()[list(indices)]


def image_set(count):
    labels = np.zeros(count, dtype=np.int64)
    return ImageSet("toy", Path(), tuple(map(str, range(count))), labels, ("a",))


def labelled(labels=LABELS, **more):
    options = {
        "queries": 20, "negatives": 3, "mining": "hard", "pool_size": 30, "pool_vectors": None,
        "seed": 1, "device": torch.device("cpu"), **more,
    }  # fmt: skip
    return LabelledTuples(labels, embed_rows, **options)


class Given:
    """A source of the tuples it is given."""

    def __init__(self, tuples):
        self.rows = tuples

    def count(self, epoch):
        return len(self.rows)

    def anchors(self, epoch):
        return self.rows[:, 0].numpy()

    def tuples(self, model, epoch):
        return self.rows


def objective(source, method, student, teacher, *, symmetric=False, batch_size=8, **weights):
    return TuplesObjective(
        image_set(len(student)), source, SPEC, METHODS[method].function, weights,
        teacher_vectors=teacher, symmetric=symmetric, batch_size=batch_size, seed=1,
        runtime=RUNTIME,
    )  # fmt: skip


def losses_of_epoch(made, model, epoch=0):
    """Parts of every batch of an epoch, with views of two shapes that name their image."""
    state = made.prepare(model, epoch)
    for keys in made.batches(epoch, state):
        items = [
            ShapedItem(key.position, key.image, torch.full((3, 2 + key.image % 2, 2), key.image))
            for key in keys
        ]
        yield made.loss(model, collate_shaped(items))


def test_mining_equals_a_slow_loop():
    model, source = Rows(unit(seeded(3), len(LABELS), 6)), labelled(pool_vectors=VECTORS)
    for epoch in (0, 1):
        tuples = source.tuples(model, epoch).numpy()
        assert tuples.shape == (20, 5)
        assert len(set(tuples[:, 0])) == 20  # no anchor twice
        pool = slow_pool(source, epoch)
        assert len(pool) == 30
        for anchor, positive, *negatives in tuples:
            assert LABELS[anchor] == LABELS[positive]
            assert anchor != positive
            scores = VECTORS[pool] @ model.table[anchor].detach()
            expected, seen = [], {LABELS[anchor]}
            for place in scores.argsort(descending=True).tolist():
                if LABELS[pool[place]] not in seen:
                    expected.append(pool[place])
                    seen.add(LABELS[pool[place]])
            assert negatives == expected[:3]


def slow_pool(source, epoch):
    from ram_cli.views.randomness import Stream, generator

    order = generator(Stream.POOL, source.seed, epoch).permutation(len(LABELS))
    return np.sort(order[: source.pool_size])


def test_symmetric_mining_ranks_by_the_student_alone():
    table = unit(seeded(5), len(LABELS), 6)
    own = labelled().tuples(Rows(table), 0)
    by_table = labelled(pool_vectors=table).tuples(Rows(table), 0)
    by_others = labelled(pool_vectors=VECTORS).tuples(Rows(table), 0)
    assert torch.equal(own, by_table)
    assert not torch.equal(own, by_others)


def test_epochs_differ_and_repeat():
    model, source = Rows(VECTORS), labelled()
    first, second = source.tuples(model, 0), source.tuples(model, 1)
    assert not torch.equal(first, second)
    assert torch.equal(first, labelled().tuples(model, 0))
    assert np.array_equal(first[:, 0].numpy(), source.anchors(0))


def test_random_negatives_are_of_other_classes_each_of_its_own():
    tuples = labelled(mining="random").tuples(Rows(VECTORS), 0)
    classes = torch.from_numpy(LABELS)[tuples]
    for row in classes.tolist():
        assert row[0] == row[1]
        assert len(set(row)) == 4
    assert not torch.equal(tuples, labelled(mining="random").tuples(Rows(VECTORS), 1))


def test_listed_pairs_are_taken_as_they_are():
    pairs = np.array([[0, 9], [0, 40], [7, 30]])
    tuples = labelled(pairs=pairs).tuples(Rows(VECTORS), 0)
    assert sorted(map(tuple, tuples[:, :2].tolist())) == [(0, 9), (0, 40), (7, 30)]


def test_classes_of_one_image_are_no_pairs():
    with pytest.raises(DataError, match="regression"):
        labelled(np.arange(8))
    lonely = np.array([0, 0, 1, 2, 2, 3])
    source = labelled(lonely, negatives=1, pool_size=6)
    assert sorted(source.anchors(0)) == [0, 1, 3, 4]
    with pytest.raises(DataError, match="--negatives 3"):
        labelled(lonely, negatives=4)
    with pytest.raises(DataError, match="one class"):
        labelled(np.zeros(5, dtype=np.int64))


def test_ranked_tuples_are_near_and_in_order():
    source = RankedTuples(
        VECTORS, queries=48, pool_size=40, top=5, seed=2, device=torch.device("cpu")
    )
    tuples = source.tuples(Rows(VECTORS), 0).tolist()
    pool = set(slow_pool(source, 0).tolist())
    for anchor, positive, negative in tuples:
        near = sorted(pool - {anchor}, key=lambda i, a=anchor: -float(VECTORS[a] @ VECTORS[i]))[:5]
        assert near.index(positive) < near.index(negative)


@pytest.mark.parametrize(
    ("case", "method", "weights"),
    [
        ("contr_ts_m70", "contrastive", {"loss_margin": 0.7}),
        ("contrplus_m70", "contrastive+", {"loss_margin": 0.7}),
        ("triplet_ts_m10", "triplet", {"loss_margin": 0.1}),
        ("multisim", "multi-similarity", {}),
        ("xent_dist_q1_T10", "distance-cross-entropy", {"temperature": 0.1}),
    ],
)
def test_objective_meets_the_published_loss(case, method, weights):
    numbers = golden("aml_losses")
    rows = numbers[f"{case}_x"].T  # anchor, [the teacher's anchor], positive, negatives
    student, teacher = rows, rows.clone()
    if method == "contrastive+":
        student, teacher = rows[[0, *range(2, 8)]], rows[1:]
    model = Rows(student)
    made = objective(Given(torch.arange(7)[None]), method, student, teacher, **weights)
    (parts,) = losses_of_epoch(made, model)
    parts["loss"].backward()
    expected = numbers[f"{case}_value_f64"]
    # The published code adds 1e-6 to every coordinate of a difference; ours does not.
    torch.testing.assert_close(parts["loss"].detach(), expected, rtol=0, atol=2e-5)
    gradient = numbers[f"{case}_grad_f64"][:, 0]
    torch.testing.assert_close(model.table.grad[0], gradient, rtol=0, atol=1e-4)
    assert not model.table.grad[1:].any()  # only the anchor goes through the student
    if method == "multi-similarity":
        assert_golden(parts["loss"], expected, torch.float64)


def test_symmetric_gradients_reach_every_image_and_meet_the_published_ones():
    numbers = golden("aml_losses")
    rows = numbers["contr_q3_m70_x"].T  # three tuples of seven
    model = Rows(rows)
    made = objective(
        Given(torch.arange(21).view(3, 7)), "contrastive", rows, None, loss_margin=0.7, batch_size=2
    )
    parts = list(losses_of_epoch(made, model))
    assert len(parts) == made.batch_count(0) == 2
    total = 2 * parts[0]["loss"] + parts[1]["loss"]
    total.backward()
    torch.testing.assert_close(total.detach(), numbers["contr_q3_m70_value_f64"], rtol=0, atol=5e-5)
    torch.testing.assert_close(
        model.table.grad.T, numbers["contr_q3_m70_grad_f64"], rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("symmetric", [False, True])
def test_teachers_distances_are_kept_also_where_negatives_go_through_the_student(symmetric):
    student, teacher = unit(seeded(7), 9, 4), unit(seeded(8), 9, 4)
    tuples = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7], [8, 7, 0, 1]])
    made = objective(
        Given(tuples), "contrastive-distance", student, teacher, symmetric=symmetric, batch_size=1
    )
    others = student if symmetric else teacher
    parts = losses_of_epoch(made, Rows(student))
    for (q, p, *negatives), found in zip(tuples.tolist(), parts, strict=True):
        expected = 0.5 * float((student[q] - others[p]).square().sum())
        for n in negatives:
            gap = (student[q] - others[n]).norm() - (teacher[q] - teacher[n]).norm()
            expected += 0.5 * float(gap) ** 2
        assert float(found["loss"].detach()) == pytest.approx(expected, rel=1e-9)


def test_counts_and_keys_of_a_symmetric_epoch():
    made = objective(labelled(), "contrastive", VECTORS, None, batch_size=6, loss_margin=0.7)
    state = made.prepare(Rows(VECTORS), 0)
    batches = made.batches(0, state)
    assert [made.count(keys) for keys in batches] == [6, 6, 6, 2]
    assert made.image_count(0) == 20
    positions = [key.position for keys in batches for key in keys]
    assert sorted(positions) == list(range(20 * 5))
    shown = {key.position: key.image for keys in batches for key in keys}
    for row, (anchor, *others) in enumerate(state["tuples"].tolist()):
        assert shown[row] == anchor
        assert [shown[20 + 4 * row + place] for place in range(4)] == others
