"""SSP against a slow loop, and the anchors it stands on."""

import math
from itertools import product

import pytest
import torch
from losses_golden import leaf, seeded, unit

from ram_cli.errors import ConfigError, ModelError
from ram_cli.losses import k_means, product_anchors, ssp_loss, subspaces_for

SIZES = list(product((1, 3), (1, 2), ((1, 4), (2, 8), (4, 16)), (1, 2, 9)))  # B, K, (P, D), A


def cosine(first, second):
    return float(first @ second / (first.norm() * second.norm()))


@pytest.mark.parametrize(("batch", "views", "cut", "count"), SIZES)
def test_loss_equals_a_slow_loop(batch, views, cut, count):
    parts, dimension = cut
    student, teacher = (
        unit(seeded(1), batch, views, dimension),
        unit(seeded(2), batch, views, dimension),
    )
    anchors = unit(seeded(3), parts, count, dimension // parts)
    total, width = 0.0, dimension // parts
    for s, t in zip(student.flatten(0, 1), teacher.flatten(0, 1), strict=True):
        for part in range(parts):
            own = slice(part * width, (part + 1) * width)
            p = [math.exp(cosine(t[own], anchor) / 0.2) for anchor in anchors[part]]
            q = [math.exp(cosine(s[own], anchor) / 0.5) for anchor in anchors[part]]
            total += sum(
                x / sum(p) * math.log(x / sum(p) / (y / sum(q))) for x, y in zip(p, q, strict=True)
            )
    found = ssp_loss(student, teacher, anchors, student_temperature=0.5, teacher_temperature=0.2)[
        "loss"
    ]
    assert float(found) == pytest.approx(total / (batch * views * parts), rel=1e-9, abs=1e-12)


def test_the_teacher_gets_no_gradient_and_is_where_the_student_ends():
    teacher = leaf(unit(seeded(1), 4, 1, 16), torch.float64)
    anchors = leaf(unit(seeded(2), 1, 40, 16), torch.float64)
    free = leaf(torch.randn(4, 1, 16, generator=seeded(3)), torch.float64)
    optimiser = torch.optim.Adam([free], lr=0.1)
    for _ in range(600):
        optimiser.zero_grad()
        ssp_loss(torch.nn.functional.normalize(free, dim=-1), teacher, anchors)["loss"].backward()
        optimiser.step()
    assert teacher.grad is None
    assert anchors.grad is None
    cosines = torch.nn.functional.cosine_similarity(free.detach(), teacher.detach(), dim=-1)
    assert float(cosines.min()) > 0.99


def test_what_does_not_fit_is_refused():
    vectors = unit(seeded(1), 2, 1, 8)
    with pytest.raises(ModelError, match="anchors"):
        ssp_loss(vectors, vectors, unit(seeded(2), 2, 5, 3))
    with pytest.raises(ConfigError, match="temperature"):
        ssp_loss(vectors, vectors, unit(seeded(2), 2, 5, 4), student_temperature=0)
    with pytest.raises(ConfigError, match="2, 4, 8"):
        product_anchors(vectors[:, 0], 2, 3)


@pytest.mark.parametrize(
    ("dimension", "wanted", "parts"),
    [(2048, None, 32), (512, None, 8), (128, None, 2), (16, None, 1), (96, None, 1), (96, 3, 3)],
)
def test_subspaces_have_64_dimensions_unless_said(dimension, wanted, parts):
    assert subspaces_for(dimension, wanted) == parts


def test_k_means_finds_clusters_that_are_there():
    middles = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    points = torch.cat(
        [middle + 0.1 * torch.randn(50, 2, generator=seeded(1)) for middle in middles]
    )
    centres = k_means(points, 4, seed=3)
    assert float(torch.cdist(middles, centres).min(dim=1).values.max()) < 0.1


def test_k_means_ends_where_rounds_change_nothing():
    points = torch.randn(300, 6, generator=seeded(2))
    centres = k_means(points, 7, seed=1, rounds=200)
    nearest = torch.cdist(points, centres).argmin(dim=1)
    for cluster in range(7):
        torch.testing.assert_close(points[nearest == cluster].mean(dim=0), centres[cluster])


def test_the_seed_alone_decides():
    points = torch.randn(400, 6, generator=seeded(2))
    first = k_means(points, 9, seed=1)
    assert torch.equal(first, k_means(points.clone(), 9, seed=1))
    assert not torch.equal(first, k_means(points, 9, seed=2))


def test_vectors_that_repeat_fill_every_cluster():
    points = torch.eye(3).repeat(5, 1)
    centres = k_means(points, 6)
    assert centres.shape == (6, 3)
    assert bool(torch.isfinite(centres).all())
    assert float(torch.cdist(torch.eye(3), centres).min(dim=1).values.max()) < 1e-6


def test_more_vectors_than_are_clustered(monkeypatch):
    from ram_cli.losses import anchors

    monkeypatch.setattr(anchors, "VECTORS_PER_ANCHOR", 20)
    monkeypatch.setattr(anchors, "BLOCK_DISTANCES", 7)
    points = torch.randn(500, 4, generator=seeded(2))
    centres = k_means(points, 3, seed=1)
    assert torch.equal(centres, k_means(points, 3, seed=1))
    assert centres.shape == (3, 4)


def test_anchors_are_unit_vectors_of_each_subspace():
    vectors = unit(seeded(1), 100, 128, dtype=torch.float32)
    anchors = product_anchors(vectors, 5, seed=2)
    assert anchors.shape == (2, 5, 64)
    torch.testing.assert_close(anchors.norm(dim=-1), torch.ones(2, 5))
    alone = k_means(vectors[:, 64:].contiguous(), 5, seed=(2, 1))
    torch.testing.assert_close(anchors[1], torch.nn.functional.normalize(alone, dim=-1))
    assert product_anchors(vectors[:3], 256).shape == (2, 3, 64)
