from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from losses_golden import PRECISIONS, assert_golden, golden, leaf, seeded, unit

from ram_cli.errors import ConfigError, ModelError
from ram_cli.losses import (
    PUBLISHED_EPSILON,
    absolute_loss,
    contrastive_plus_loss,
    cosine_regression_loss,
    coupled_loss,
    multi_similarity_loss,
    regression_loss,
    relational_loss,
)

PUBLISHED = {"reduction": "sum", "epsilon": PUBLISHED_EPSILON}
SIZES = list(product((1, 2, 5), (1, 2, 3, 8), (2, 16)))  # B, K, D


@pytest.mark.parametrize(("dtype", "tag"), PRECISIONS)
@pytest.mark.parametrize(("case", "vectors"), [("reg_pn5", "so"), ("reg_pn1", "reg1")])
def test_absolute_meets_raml(dtype, tag, case, vectors):
    numbers = golden("raml_losses")
    student = leaf(numbers[f"{vectors}_s"], dtype)
    value = absolute_loss(student, numbers[f"{vectors}_t"].to(dtype), **PUBLISHED)
    assert_golden(value, numbers[f"{case}_value_{tag}"], dtype)
    (grad,) = torch.autograd.grad(value, student)
    assert_golden(grad, numbers[f"{case}_grad_s_{tag}"], dtype)


@pytest.mark.parametrize(("dtype", "tag"), PRECISIONS)
@pytest.mark.parametrize("case", range(5))
def test_coupled_meets_raml(dtype, tag, case):
    numbers = golden("raml_losses")
    student, teacher = leaf(numbers["so_s"], dtype), leaf(numbers["so_t"], dtype)
    weights = numbers[f"so{case}_lam"].tolist()
    published = coupled_loss(student, teacher, *weights, **PUBLISHED)
    expected = numbers[f"so{case}_value_{tag}"]
    assert_golden(published["loss"], expected, dtype)
    (grad,) = torch.autograd.grad(published["loss"], student)
    assert_golden(grad, numbers[f"so{case}_grad_s_{tag}"], dtype)
    # Ours beside it: a mean over the 4 images and no epsilon, which is worth about 1e-5 of it.
    ours = coupled_loss(student, teacher, *weights)["loss"].item()
    assert ours == pytest.approx(expected.item() / 4, rel=3e-5)
    assert ours != pytest.approx(expected.item() / 4, rel=1e-6)


@pytest.mark.parametrize(("dtype", "tag"), PRECISIONS)
def test_published_training_steps_are_met(dtype, tag):
    numbers = golden("raml_losses")
    student, teacher = leaf(numbers["ts_S"], dtype), numbers["ts_T"].to(dtype)
    coupled = coupled_loss(
        student.view(3, 4, 16), teacher.view(3, 4, 16), 0.7718, 0.6684, **PUBLISHED
    )
    regression = cosine_regression_loss(student.unsqueeze(1), teacher.unsqueeze(1), **PUBLISHED)
    for case, parts in (("tsaug", coupled), ("tsreg", regression)):
        assert_golden(parts["loss"], numbers[f"{case}_value_{tag}"], dtype)
        (grad,) = torch.autograd.grad(parts["loss"], student)
        assert_golden(grad, numbers[f"{case}_grad_S_{tag}"], dtype)


def slow_parts(student, teacher):
    """The three terms of one image [K, D], written from the paper's formula."""
    views = range(len(student))
    pairs = [(i, j) for i in views for j in views if i != j]
    count = max(len(pairs), 1)
    return (
        sum(float(1 - student[i] @ teacher[i]) ** 2 for i in views) / len(student),
        sum(float(student[i] @ teacher[j] - teacher[i] @ teacher[j]) ** 2 for i, j in pairs)
        / count,
        sum(float(student[i] @ student[j] - teacher[i] @ teacher[j]) ** 2 for i, j in pairs)
        / count,
    )


@pytest.mark.parametrize("size", SIZES)
def test_parts_equal_slow_loops(size):
    generator = seeded(sum(size))
    student, teacher = unit(generator, *size), unit(generator, *size)
    slow = torch.tensor(
        [slow_parts(s, t) for s, t in zip(student, teacher, strict=True)], dtype=torch.float64
    )
    parts = coupled_loss(student, teacher, 0.7, 0.3, "none")
    assert set(parts) == {"loss", "absolute", "relational_ts", "relational_ss"}
    close = {"rtol": 1e-10, "atol": 1e-13}
    for column, name in enumerate(("absolute", "relational_ts", "relational_ss")):
        torch.testing.assert_close(parts[name], slow[:, column], **close)
    torch.testing.assert_close(parts["loss"], slow @ slow.new_tensor([1.0, 0.7, 0.3]), **close)
    for reduction in ("mean", "sum"):
        whole = coupled_loss(student, teacher, 0.7, 0.3, reduction)["loss"]
        torch.testing.assert_close(whole, getattr(parts["loss"], reduction)(), **close)


def test_one_view_has_no_relation():
    assert torch.isnan(golden("raml_losses")["so_pn1_value_f64"])  # the published code divides by 0
    student = unit(seeded(), 3, 1, 8).requires_grad_()
    parts = coupled_loss(student, unit(seeded(1), 3, 1, 8), 0.7, 0.7)
    parts["loss"].backward()
    assert parts["relational_ts"].item() == 0
    assert parts["relational_ss"].item() == 0
    assert parts["loss"].item() == parts["absolute"].item() > 0
    assert torch.isfinite(student.grad).all()


def test_teacher_is_detached_and_parts_carry_no_graph():
    student = unit(seeded(), 2, 3, 8).requires_grad_()
    teacher = unit(seeded(1), 2, 3, 8).requires_grad_()
    parts = coupled_loss(student, teacher, 0.7, 0.7)
    parts["loss"].backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert [name for name, part in parts.items() if part.requires_grad] == ["loss"]


@settings(deadline=None, derandomize=True, max_examples=30)
@given(
    batch=st.integers(1, 4),
    views=st.integers(1, 5),
    dimension=st.integers(2, 9),
    seed=st.integers(0, 99),
)
def test_invariances(batch, views, dimension, seed):
    generator = seeded(seed)
    student = unit(generator, batch, views, dimension)
    teacher = unit(generator, batch, views, dimension)

    def loss(s, t, reduction="mean"):
        return coupled_loss(s, t, 0.8, 0.6, reduction)["loss"]

    value = loss(student, teacher)
    assert loss(teacher, teacher).item() == pytest.approx(0, abs=1e-12)
    order = torch.randperm(views, generator=generator)
    turn, _ = torch.linalg.qr(torch.randn(dimension, dimension, generator=generator).double())
    torch.testing.assert_close(loss(student[:, order], teacher[:, order]), value)
    torch.testing.assert_close(loss(student @ turn, teacher @ turn), value)
    # The mean does not depend on the batch size; the sum grows with it.
    twice = (student.repeat(2, 1, 1), teacher.repeat(2, 1, 1))
    torch.testing.assert_close(loss(*twice), value)
    torch.testing.assert_close(loss(*twice, "sum"), 2 * loss(student, teacher, "sum"))


def nearly_aligned():
    generator = seeded(3)
    teacher = unit(generator, 4, 8, 64, dtype=torch.float32)
    noise = 2e-3 * torch.randn(4, 8, 64, generator=generator)
    return torch.nn.functional.normalize(teacher + noise, dim=-1), teacher


def test_autocast_does_not_reach_the_losses():
    student, teacher = nearly_aligned()
    student.requires_grad_()
    expected = coupled_loss(student, teacher, 0.7, 0.7)
    (expected_grad,) = torch.autograd.grad(expected["loss"], student)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = coupled_loss(student, teacher, 0.7, 0.7)
        rounded = student.flatten(0, 1) @ teacher.flatten(0, 1).T  # what autocast does otherwise
    assert rounded.dtype == torch.bfloat16
    for name, part in actual.items():
        torch.testing.assert_close(part, expected[name], rtol=0, atol=0)
    torch.testing.assert_close(torch.autograd.grad(actual["loss"], student)[0], expected_grad)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_vectors_are_raised_to_float32(dtype):
    student, teacher = (vectors.to(dtype) for vectors in nearly_aligned())
    flat, flat_teacher = student[:, 0], teacher[:, 0]
    values = [
        absolute_loss(student, teacher),
        relational_loss(student, teacher, "ss"),
        regression_loss(flat, flat_teacher),
        multi_similarity_loss(flat, teacher, teacher),
        contrastive_plus_loss(flat, flat_teacher, teacher, teacher, 0.7),
    ]
    assert {value.dtype for value in values} == {torch.float32}
    exact = absolute_loss(student.double(), teacher.double()).item()
    assert values[0].item() == pytest.approx(exact, rel=1e-4)


def test_relations_keep_their_digits_close_to_the_teacher():
    student, teacher = nearly_aligned()
    for kind in ("ts", "ss"):
        exact = relational_loss(student.double(), teacher.double(), kind).item()
        assert relational_loss(student, teacher, kind).item() == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize(
    ("student", "teacher"), [((2, 3, 4), (2, 3, 5)), ((2, 3, 4), (2, 1, 4)), ((2, 4), (2, 4))]
)
def test_shapes_that_do_not_fit_are_refused(student, teacher):
    vectors = torch.zeros(student), torch.zeros(teacher)
    for loss in (absolute_loss, relational_loss, cosine_regression_loss):
        with pytest.raises(ModelError):
            loss(*vectors)


def test_unknown_options_are_refused():
    vectors = torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)
    with pytest.raises(ConfigError):
        absolute_loss(*vectors, "median")
    with pytest.raises(ConfigError):
        relational_loss(*vectors, "tt")
