import math
from itertools import product

import pytest
import torch
from losses_golden import PRECISIONS, assert_golden, golden, leaf, seeded, unit

from ram_cli.errors import ConfigError, ModelError
from ram_cli.losses import (
    contrastive_distance_loss,
    contrastive_loss,
    contrastive_plus_loss,
    distance_cross_entropy_loss,
    multi_similarity_loss,
    regression_loss,
    triplet_loss,
    vector_cross_entropy_loss,
)

EPSILON = 1e-6
SIZES = list(product((1, 2, 5), (1, 3), (1, 4), (2, 16)))  # B, P, N, D


def tuples(columns, dtype, positives=1):
    """Published layout [D, B (1 + P + N)] with 7 columns per tuple, and its three tensors."""
    whole = leaf(columns, dtype)
    rows = whole.T.reshape(-1, 7 if columns.shape[1] % 7 == 0 else columns.shape[1], whole.shape[0])
    return whole, rows[:, 0], rows[:, 1 : 1 + positives], rows[:, 1 + positives :]


def check_case(case, value, whole, dtype, tag):
    numbers = golden("aml_losses")
    assert_golden(value, numbers[f"{case}_value_{tag}"], dtype)
    expected = numbers[f"{case}_grad_{tag}"]
    (grad,) = torch.autograd.grad(value, whole)
    assert_golden(grad[:, : expected.shape[1]] if expected.dim() == 2 else grad, expected, dtype)


@pytest.mark.parametrize(("dtype", "tag"), PRECISIONS)
@pytest.mark.parametrize("margin", [0.1, 0.7])
def test_triplet_meets_raml(dtype, tag, margin):
    numbers = golden("raml_losses")
    case = f"tri_m{int(margin * 10):02d}"
    anchor, positive, negative = (leaf(numbers[f"tri_{k}"], dtype) for k in "xpn")
    value = triplet_loss(anchor[:, 0], positive, negative, margin, "sum")
    assert_golden(value, numbers[f"{case}_value_{tag}"], dtype)
    for grad, name in zip(
        torch.autograd.grad(value, (anchor, positive, negative)), "xpn", strict=True
    ):
        assert_golden(grad, numbers[f"{case}_grad_{name}_{tag}"], dtype)
    mean = triplet_loss(anchor[:, 0], positive, negative, margin)
    assert_golden(mean * 4, numbers[f"{case}_value_{tag}"], dtype)


@pytest.mark.parametrize(("dtype", "tag"), PRECISIONS)
@pytest.mark.parametrize(
    ("case", "margin"),
    [
        ("triplet_q1_m10", 0.1),
        ("triplet_q1_m50", 0.5),
        ("triplet_q3_m10", 0.1),
        ("triplet_q3_m50", 0.5),
        ("triplet_ts_m10", 0.1),
    ],
)
def test_triplet_meets_aml(dtype, tag, case, margin):
    whole, *parts = tuples(golden("aml_losses")[f"{case}_x"], dtype)
    value = triplet_loss(*parts, margin, "sum", pairs="sum")
    check_case(case, value, whole, dtype, tag)


@pytest.mark.parametrize(("dtype", "tag"), PRECISIONS)
@pytest.mark.parametrize(
    ("case", "margin"),
    [
        ("contr_q1_m70", 0.7),
        ("contr_q1_m85", 0.85),
        ("contr_q3_m70", 0.7),
        ("contr_q3_m85", 0.85),
        ("contr_ts_m70", 0.7),
    ],
)
def test_contrastive_meets_aml(dtype, tag, case, margin):
    whole, *parts = tuples(golden("aml_losses")[f"{case}_x"], dtype)
    value = contrastive_loss(*parts, margin, "sum", epsilon=EPSILON)
    check_case(case, value, whole, dtype, tag)
    plain = contrastive_loss(*parts, margin, "sum")
    assert 0 < abs((plain - value).item()) < 2e-5  # what the published epsilon amounts to


@pytest.mark.parametrize(("dtype", "tag"), PRECISIONS)
def test_contrastive_plus_meets_aml(dtype, tag):
    columns = golden("aml_losses")["contrplus_m70_x"]
    whole = leaf(columns, dtype)
    rows = whole.T.unsqueeze(0)
    value = contrastive_plus_loss(
        rows[:, 0], rows[:, 1], rows[:, 2:3], rows[:, 3:], 0.7, "sum", epsilon=EPSILON
    )
    check_case("contrplus_m70", value, whole, dtype, tag)


@pytest.mark.parametrize(("dtype", "tag"), PRECISIONS)
def test_regression_meets_aml(dtype, tag):
    whole = leaf(golden("aml_losses")["reg_contr_x"], dtype)
    value = regression_loss(whole.T[:1], whole.T[1:], "sum", epsilon=EPSILON)
    check_case("reg_contr", value, whole, dtype, tag)


@pytest.mark.parametrize(("dtype", "tag"), PRECISIONS)
@pytest.mark.parametrize("case", ["contr_dist_q1", "contr_dist_q3"])
def test_contrastive_distance_meets_aml(dtype, tag, case):
    numbers = golden("aml_losses")
    whole, *parts = tuples(numbers[f"{case}_x"], dtype)
    distances = numbers[f"{case}_dists"].reshape(-1, 6)[:, 1:].to(dtype)
    value = contrastive_distance_loss(*parts, distances, "sum", epsilon=EPSILON)
    check_case(case, value, whole, dtype, tag)


@pytest.mark.parametrize(("dtype", "tag"), PRECISIONS)
@pytest.mark.parametrize(
    ("case", "positives"), [("multisim", 1), ("multisim_plus", 2), ("multisim_noneg", 6)]
)
def test_multi_similarity_meets_aml(dtype, tag, case, positives):
    whole, *parts = tuples(golden("aml_losses")[f"{case}_x"], dtype, positives)
    check_case(case, multi_similarity_loss(*parts, "sum"), whole, dtype, tag)


@pytest.mark.parametrize(("dtype", "tag"), PRECISIONS)
def test_distance_cross_entropy_meets_aml(dtype, tag):
    whole, *parts = tuples(golden("aml_losses")["xent_dist_q1_T10_x"], dtype)
    value = distance_cross_entropy_loss(*parts, 0.1, "sum", epsilon=EPSILON)
    check_case("xent_dist_q1_T10", value, whole, dtype, tag)


def test_distance_cross_entropy_keeps_tuples_apart():
    numbers = golden("aml_losses")
    _, *parts = tuples(numbers["xent_dist_q3_T10_x"], torch.float64)
    distances = (parts[0].unsqueeze(1) - torch.cat(parts[1:], 1) + EPSILON).norm(dim=-1)
    published = -torch.log_softmax(-distances.flatten() / 0.1, dim=0).view_as(distances)[:, 0].sum()
    assert_golden(published, numbers["xent_dist_q3_T10_value_f64"], torch.float64)
    ours = distance_cross_entropy_loss(*parts, 0.1, "none", epsilon=EPSILON)
    alone = [
        distance_cross_entropy_loss(*(p[i : i + 1] for p in parts), 0.1, epsilon=EPSILON)
        for i in range(3)
    ]
    torch.testing.assert_close(ours, torch.stack(alone), rtol=1e-12, atol=0)
    assert ours.sum().item() < published.item() - 1


@pytest.mark.parametrize(("dtype", "tag"), PRECISIONS)
@pytest.mark.parametrize(
    ("case", "temperature"), [("xent_T10", 0.1), ("xent_T100", 1.0), ("xent1d_T10", 0.1)]
)
def test_vector_cross_entropy_meets_aml(dtype, tag, case, temperature):
    numbers = golden("aml_losses")
    target = numbers["xent1d_target" if "1d" in case else "xent_target"].to(dtype)
    whole = leaf(numbers[f"{case}_x"], dtype)
    rows = whole if whole.dim() == 2 else whole.unsqueeze(0)
    value = vector_cross_entropy_loss(rows, target.view_as(rows), temperature, "sum")
    check_case(case, value, whole, dtype, tag)


def draw(size):
    batch, positives, negatives, dimension = size
    generator = seeded(hash(size) % 1000)
    return (
        unit(generator, batch, dimension),
        unit(generator, batch, positives, dimension),
        unit(generator, batch, negatives, dimension),
    )


def slow_triplet(a, p, n, margin):
    hinges = [
        max(0.0, float((a - x) @ (a - x)) - float((a - y) @ (a - y)) + margin) for x in p for y in n
    ]
    return sum(hinges), len(hinges)


@pytest.mark.parametrize("size", SIZES)
def test_losses_equal_slow_loops(size):
    anchor, positive, negative = draw(size)
    rows = list(zip(anchor, positive, negative, strict=True))
    triplets = [slow_triplet(*row, 0.3) for row in rows]
    contrastive = [
        0.5 * sum(float((a - x) @ (a - x)) for x in p)
        + 0.5 * sum(max(0.0, 1.3 - float((a - y).norm())) ** 2 for y in n)
        for a, p, n in rows
    ]
    multi = [
        float((1 + sum(torch.exp(-3 * (a @ x - 0.2)) for x in p)).log()) / 3
        + float((1 + sum(torch.exp(20 * (a @ y - 0.2)) for y in n)).log()) / 20
        for a, p, n in rows
    ]
    entropy = [
        sum(
            float((a - x).norm()) / 0.2
            + float(sum(torch.exp(-(a - z).norm() / 0.2) for z in (*p, *n)).log())
            for x in p
        )
        for a, p, n in rows
    ]
    sharp = {"alpha": 3.0, "beta": 20.0, "threshold": 0.2}
    args = (anchor, positive, negative)
    for actual, expected in [
        (triplet_loss(*args, 0.3, "none"), [total / pairs for total, pairs in triplets]),
        (triplet_loss(*args, 0.3, "none", pairs="sum"), [total for total, _ in triplets]),
        (contrastive_loss(*args, 1.3, "none"), contrastive),
        (multi_similarity_loss(*args, "none", **sharp), multi),
        (distance_cross_entropy_loss(*args, 0.2, "none"), entropy),
    ]:
        wanted = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(actual, wanted, rtol=1e-10, atol=1e-12)
    for reduction, whole in (("mean", sum(contrastive) / len(rows)), ("sum", sum(contrastive))):
        assert float(contrastive_loss(*args, 1.3, reduction)) == pytest.approx(whole, rel=1e-10)


@pytest.mark.parametrize("loss", [triplet_loss, contrastive_loss])
def test_masked_positives_do_not_count(loss):
    anchor, positive, negative = draw((3, 4, 2, 8))
    mask = torch.tensor([[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]]).bool()
    values = loss(anchor, positive, negative, 0.7, "none", positive_mask=mask)
    for row in range(2):
        alone = loss(
            anchor[row : row + 1],
            positive[row : row + 1, mask[row]],
            negative[row : row + 1],
            0.7,
        )
        torch.testing.assert_close(values[row], alone)
    if loss is triplet_loss:
        assert float(values[2]) == 0


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, p, n: contrastive_loss(a, p, n, 0.7),
        lambda a, p, n: distance_cross_entropy_loss(a, p, n, 0.1),
        lambda a, p, n: contrastive_distance_loss(a, p, n, torch.full((2, 3), 0.4)),
    ],
)
def test_coinciding_vectors_have_a_finite_gradient(loss):
    anchor = unit(seeded(), 2, 8, dtype=torch.float32).requires_grad_()
    same = anchor.detach().unsqueeze(1)
    loss(anchor, same, same.repeat(1, 3, 1)).backward()
    assert torch.isfinite(anchor.grad).all()


def test_teacher_anchor_is_detached():
    anchor, positive, negative = draw((2, 1, 1, 4))
    teacher = unit(seeded(9), 2, 4).requires_grad_()
    student = anchor.requires_grad_()
    for value in (
        contrastive_plus_loss(student, teacher, positive, negative, 0.7),
        regression_loss(student, teacher),
        vector_cross_entropy_loss(student, teacher, 0.1),
    ):
        value.backward()
    assert teacher.grad is None


def test_multi_similarity_does_not_overflow():
    anchor = unit(seeded(), 1, 4, dtype=torch.float32).requires_grad_()
    others = anchor.detach().unsqueeze(1)
    value = multi_similarity_loss(anchor, others, others, beta=1e4)
    value.backward()
    assert value.item() == pytest.approx(0.5 * math.log1p(math.exp(-1)) + 0.5, rel=1e-5)
    assert torch.isfinite(anchor.grad).all()


@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 4), (2, 1, 5), (2, 1, 4)),
        ((2, 4), (3, 1, 4), (2, 1, 4)),
        ((2, 4), (2, 4), (2, 1, 4)),
        ((2, 1, 4), (2, 1, 4), (2, 1, 4)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes):
    tensors = [torch.zeros(shape) for shape in shapes]
    for loss in (triplet_loss, contrastive_loss, distance_cross_entropy_loss):
        with pytest.raises(ModelError):
            loss(*tensors, 0.7)
    with pytest.raises(ModelError):
        regression_loss(torch.zeros(2, 4), torch.zeros(2, 5))


def test_unknown_options_are_refused():
    args = draw((1, 1, 1, 2))
    with pytest.raises(ConfigError):
        triplet_loss(*args, 0.7, "median")
    with pytest.raises(ConfigError):
        triplet_loss(*args, 0.7, pairs="median")
