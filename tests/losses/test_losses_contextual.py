"""CSD and D3 against slow loops written from the formulas, over a grid of sizes."""

import math
from itertools import product

import pytest
import torch
from losses_golden import leaf, seeded, unit

from ram_cli.errors import ConfigError, ModelError
from ram_cli.losses import csd_loss, d3_loss, nearest, neighbour_scores

SIZES = list(product((1, 3), (1, 2), (4, 16), (6, 41), (2, 5, 100)))  # B, K, D, N, M


def vectors(batch, views, dimension, bank):
    return (
        unit(seeded(1), batch, views, dimension),
        unit(seeded(2), batch, views, dimension),
        unit(seeded(3), bank, dimension),
    )


def slow_lists(student, teacher, bank, count):
    """(student's, teacher's) cosines of every view with itself and its nearest bank vectors."""
    lists = []
    for s, t in zip(student.flatten(0, 1), teacher.flatten(0, 1), strict=True):
        by_teacher = sorted(bank, key=lambda vector: -float(t @ vector))
        entries = [t, *by_teacher[: count - 1]]
        lists.append(([float(s @ e) for e in entries], [float(t @ e) for e in entries]))
    return lists


def slow_csd(lists, student_temperature, teacher_temperature):
    total = 0.0
    for ours, theirs in lists:
        p = [math.exp((b - 1) / teacher_temperature) for b in theirs]
        q = [math.exp(a / student_temperature) for a in ours]
        p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
        total += sum(x * math.log(x / y) for x, y in zip(p, q, strict=True) if x > 0)
    return total / len(lists)


def slow_d3(lists):
    """Feature, inverted and consistent terms."""
    terms = [0.0, 0.0, 0.0]
    for ours, theirs in lists:
        terms[0] += abs(1 - ours[0])
        ours, theirs = ours[1:], theirs[1:]
        sums = [0.0, 0.0]
        for i, j in product(range(len(ours)), repeat=2):
            gap, expected = ours[i] - ours[j], theirs[i] - theirs[j]
            ratio = (gap - expected) / (0.1 + abs(expected))
            if gap * expected != 0:
                sums[int(gap * expected > 0)] += ratio**2
        for kind in (0, 1):
            terms[1 + kind] += math.sqrt(sums[kind]) / len(ours)
    return [term / len(lists) for term in terms]


@pytest.mark.parametrize(("batch", "views", "dimension", "bank", "count"), SIZES)
def test_both_equal_slow_loops(batch, views, dimension, bank, count):
    student, teacher, pool = vectors(batch, views, dimension, bank)
    lists = slow_lists(student, teacher, pool, count)
    loss = csd_loss(
        student, teacher, pool, neighbours=count, student_temperature=0.3, teacher_temperature=0.2
    )["loss"]
    assert float(loss) == pytest.approx(slow_csd(lists, 0.3, 0.2), rel=1e-9, abs=1e-12)
    parts = d3_loss(student, teacher, pool, neighbours=count)
    feature, inverted, consistent = slow_d3(lists)
    assert float(parts["feature"]) == pytest.approx(feature, rel=1e-9)
    assert float(parts["inverted"]) == pytest.approx(inverted, rel=1e-9, abs=1e-9)
    assert float(parts["consistent"]) == pytest.approx(consistent, rel=1e-9, abs=1e-9)
    expected = 3.125 * feature + 2 * inverted + consistent
    assert float(parts["loss"]) == pytest.approx(expected, rel=1e-9)


def test_published_d3_is_met_where_it_says_the_same():
    """One image and no ties: a norm over a batch of one divided by one is our mean, at α = 50."""
    student, teacher, pool = vectors(1, 1, 8, 20)
    (ours, theirs) = slow_lists(student, teacher, pool, 10)[0]
    a, b = torch.tensor(ours), torch.tensor(theirs)
    feature = 50 * torch.linalg.vector_norm(b[:1] - a[:1])
    gap, expected = a[1:, None] - a[None, 1:], b[1:, None] - b[None, 1:]
    ratio = (gap - expected) / (0.1 + expected.abs())
    inverted = torch.linalg.vector_norm(ratio[gap * expected < 0]) / 9
    consistent = torch.linalg.vector_norm(ratio[gap * expected > 0]) / 9
    loss = d3_loss(student, teacher, pool, feature_weight=50)["loss"]
    assert float(loss) == pytest.approx(float(feature + 2 * inverted + consistent), rel=1e-6)


def test_equal_scores_of_the_teacher_have_no_order():
    """The published code takes such a difference for 1; ours leaves the pair out."""
    student, teacher, pool = vectors(1, 1, 8, 1)
    twins = pool.expand(4, -1) + 0.0
    parts = d3_loss(student, teacher, twins, neighbours=5)
    assert float(parts["inverted"]) == float(parts["consistent"]) == 0.0


def test_a_bank_that_holds_the_views_does_not_list_them_twice():
    bank = unit(seeded(4), 30, 12)
    teacher = bank[[3, 17]].unsqueeze(1)
    student = unit(seeded(5), 2, 1, 12)
    found = neighbour_scores(student, teacher, bank, 8, own_in_bank=True)
    for row, own in enumerate((3, 17)):
        others = torch.cat([bank[:own], bank[own + 1 :]])
        alone = neighbour_scores(student[[row]], teacher[[row]], others, 8)
        for ours, expected in zip(found, alone, strict=True):
            torch.testing.assert_close(ours[[row]], expected)


@pytest.mark.parametrize("block", [1, 7, 64, 10_000])
def test_search_in_blocks_finds_the_same(block):
    query, bank = unit(seeded(6), 5, 8), unit(seeded(7), 57, 8)
    scores, places = nearest(query, bank, 6, block_scores=block)
    best = (query @ bank.T).topk(6, dim=1)
    assert torch.equal(places, best.indices)
    torch.testing.assert_close(scores, best.values)


@pytest.mark.parametrize("loss", [csd_loss, d3_loss])
def test_the_teacher_gets_no_gradient(loss):
    student, teacher, pool = (leaf(v, torch.float32) for v in vectors(2, 3, 8, 20))
    loss(student, teacher, pool)["loss"].backward()
    assert student.grad is not None
    assert bool(torch.isfinite(student.grad).all())
    assert student.grad.abs().sum().item() > 0
    assert teacher.grad is None
    assert pool.grad is None


@pytest.mark.parametrize("loss", [csd_loss, d3_loss])
def test_following_the_gradient_leads_to_the_teacher(loss):
    _, teacher, pool = vectors(4, 1, 8, 60)
    free = leaf(torch.randn(4, 1, 8, generator=seeded(8)), torch.float64)
    optimiser = torch.optim.Adam([free], lr=0.1)
    more = {"student_temperature": 0.1, "teacher_temperature": 0.1} if loss is csd_loss else {}
    for _ in range(600):
        optimiser.zero_grad()
        loss(torch.nn.functional.normalize(free, dim=-1), teacher, pool, **more)["loss"].backward()
        optimiser.step()
    cosines = torch.nn.functional.cosine_similarity(free.detach(), teacher, dim=-1)
    assert float(cosines.min()) > 0.99


def test_at_the_teacher_itself_nothing_is_left():
    _, teacher, pool = vectors(2, 2, 8, 20)
    student = leaf(teacher, torch.float64)
    parts = d3_loss(student, teacher, pool)
    assert parts["loss"].item() == pytest.approx(0, abs=1e-12)
    parts["loss"].backward()
    assert bool(torch.isfinite(student.grad).all())
    same = csd_loss(teacher, teacher, pool, student_temperature=0.1, teacher_temperature=0.1)
    assert float(same["loss"]) == pytest.approx(0, abs=1e-12)
    assert float(same["agreement"]) == 1


def test_half_precision_is_computed_in_full():
    student, teacher, pool = vectors(2, 2, 8, 20)
    half = csd_loss(student.bfloat16(), teacher.bfloat16(), pool.float())["loss"]
    assert half.dtype == torch.float32


def test_what_does_not_fit_is_refused():
    student, teacher, pool = vectors(2, 1, 8, 20)
    with pytest.raises(ModelError, match="bank"):
        csd_loss(student, teacher, pool[:, :4])
    with pytest.raises(ModelError, match="dimension"):
        csd_loss(student[..., :4], teacher, pool)
    with pytest.raises(ConfigError, match="neighbours"):
        d3_loss(student, teacher, pool, neighbours=1)
    with pytest.raises(ConfigError, match="neighbours"):
        csd_loss(student, teacher, pool[:1], own_in_bank=True)
    with pytest.raises(ConfigError, match="temperature"):
        csd_loss(student, teacher, pool, teacher_temperature=0)
