import math
from itertools import product

import pytest
import torch
from losses_golden import PRECISIONS, assert_golden, golden, leaf, seeded, unit

from ram_cli.errors import ModelError
from ram_cli.losses import darkrank_loss, rkd_loss, rkd_parts
from ram_cli.losses.numerics import pairwise_distances

SIZES = list(product((2, 3, 6), (2, 8)))  # B, D


@pytest.mark.parametrize(("dtype", "tag"), PRECISIONS)
@pytest.mark.parametrize(
    ("case", "loss"),
    [
        ("rkdad", rkd_loss),
        ("darkrank", darkrank_loss),
        ("darkrank_a2b1p6", lambda s, t: darkrank_loss(s, t, alpha=2, beta=1, length=6)),
    ],
)
def test_relations_meet_aml(dtype, tag, case, loss):
    numbers = golden("aml_losses")
    student = leaf(numbers[f"{case}_x"], dtype)
    value = loss(student, numbers["rel_teacher"].to(dtype))
    assert_golden(value, numbers[f"{case}_value_{tag}"], dtype)
    (grad,) = torch.autograd.grad(value, student)
    assert_golden(grad, numbers[f"{case}_grad_{tag}"], dtype)


def test_pairwise_distances_meet_aml():
    numbers = golden("aml_losses")
    distances = pairwise_distances(numbers["pdist_in"])
    assert_golden(distances, numbers["pdist_out"], torch.float64)
    assert_golden(distances.square(), numbers["pdist_sq_out"], torch.float64)


def smooth_l1(a, b):
    gap = abs(a - b)
    return 0.5 * gap**2 if gap < 1 else gap - 0.5


def slow_rkd(student, teacher):
    rows = range(len(student))

    def distances(x):
        table = [[float((x[i] - x[j]).norm()) for j in rows] for i in rows]
        mean = sum(map(sum, table)) / sum(d > 0 for row in table for d in row)
        return [d / mean for row in table for d in row]

    def angles(x):
        def cosine(i, j, k):
            if i in (j, k):
                return 0.0
            a, b = x[j] - x[i], x[k] - x[i]
            return float(a @ b / (a.norm() * b.norm()))

        return [cosine(*corner) for corner in product(rows, rows, rows)]

    def compare(measure):
        values = [smooth_l1(a, b) for a, b in zip(measure(student), measure(teacher), strict=True)]
        return sum(values) / len(values)

    return compare(distances), compare(angles)


def slow_darkrank(student, teacher, alpha, beta, length):
    total = 0.0
    for i in range(len(student)):
        others = [j for j in range(len(student)) if j != i]
        others.sort(key=lambda j, i=i: float((teacher[i] - teacher[j]).norm()))
        scores = [-alpha * float((student[i] - student[j]).norm()) ** beta for j in others[:length]]
        for k in range(len(scores)):
            total += math.log(sum(math.exp(score) for score in scores[k:])) - scores[k]
    return total / len(student)


@pytest.mark.parametrize("size", SIZES)
def test_relations_equal_slow_loops(size):
    generator = seeded(sum(size))
    student, teacher = unit(generator, *size), unit(generator, *size)
    distance, angle = slow_rkd(student, teacher)
    parts = rkd_parts(student, teacher, angle_weight=1.5, distance_weight=0.5)
    assert set(parts) == {"loss", "angle", "distance"}
    assert parts["distance"].item() == pytest.approx(distance, rel=1e-10)
    assert parts["angle"].item() == pytest.approx(angle, rel=1e-10)
    assert parts["loss"].item() == pytest.approx(1.5 * angle + 0.5 * distance, rel=1e-10)
    for alpha, beta, length in ((3, 3, 4), (1.5, 2, 2)):
        expected = slow_darkrank(student, teacher, alpha, beta, length)
        actual = darkrank_loss(student, teacher, alpha=alpha, beta=beta, length=length)
        assert actual.item() == pytest.approx(expected, rel=1e-10, abs=1e-14)


@pytest.mark.parametrize("loss", [rkd_loss, darkrank_loss])
def test_duplicates_and_single_images_stay_finite(loss):
    images = unit(seeded(), 4, 8, dtype=torch.float32)
    for rows in (images[:1], images[:1].repeat(3, 1), torch.cat([images, images[:2]])):
        student = rows.clone().requires_grad_()
        value = loss(student, rows)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(student.grad).all()


def test_darkrank_leaves_out_the_image_not_its_duplicate():
    teacher = unit(seeded(), 5, 8)
    teacher[1] = teacher[0]
    student = unit(seeded(1), 5, 8)
    expected = slow_darkrank(student, teacher, 3, 3, 4)
    assert darkrank_loss(student, teacher).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("loss", [rkd_loss, darkrank_loss])
def test_teacher_is_detached_and_shapes_are_checked(loss):
    student, teacher = unit(seeded(), 4, 8).requires_grad_(), unit(seeded(1), 4, 8).requires_grad_()
    loss(student, teacher).backward()
    assert teacher.grad is None
    with pytest.raises(ModelError):
        loss(student, teacher[:, :6])


@pytest.mark.parametrize("loss", [rkd_loss, darkrank_loss])
def test_autocast_does_not_reach_the_losses(loss):
    student, teacher = (unit(seeded(i), 6, 32, dtype=torch.float32) for i in range(2))
    expected = loss(student, teacher)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = loss(student, teacher)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)
