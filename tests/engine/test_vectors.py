"""Plain views against the teacher's vectors: the published losses, through the objective."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ram_cli.datasets import ImageSet
from ram_cli.engine import VectorsObjective, resolve_runtime
from ram_cli.engine.shaped import ShapedItem, collate_shaped
from ram_cli.losses import METHODS
from ram_cli.views import InputSpec

sys.path.insert(0, str(Path(__file__).parents[1] / "losses"))
from losses_golden import assert_golden, golden

SPEC = InputSpec(32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class Rows(nn.Module):
    """A "network" whose embedding of a view is the row of a table that its red value names."""

    def __init__(self, table):
        super().__init__()
        self.table = nn.Parameter(table.clone())

    def forward(self, images):
        return self.table[(images[:, 0, 0, 0] * 255).round().long()]


@pytest.mark.parametrize(
    ("case", "method", "teacher", "images", "weights"),
    [
        ("rkdad", "rkd", "rel_teacher", 1, {}),
        ("darkrank", "darkrank", "rel_teacher", 1, {}),
        ("xent_T10", "cross-entropy", "xent_target", 5, {"temperature": 0.1}),  # published: sums
    ],
)
def test_objective_meets_the_published_loss(case, method, teacher, images, weights):
    numbers = golden("aml_losses")
    model = Rows(numbers[f"{case}_x"])
    count = len(model.table)
    labels = np.zeros(count, dtype=np.int64)
    image_set = ImageSet("toy", Path(), tuple(map(str, range(count))), labels, ("a",))
    made = VectorsObjective(
        image_set, numbers[teacher], SPEC, METHODS[method].function, weights,
        batch_size=count, images_per_epoch=count, seed=3, runtime=resolve_runtime("cpu", "fp32"),
    )  # fmt: skip
    (keys,) = made.batches(0, {})
    assert [key.image for key in keys] != list(range(count))  # the order must not matter
    items = [ShapedItem(k.position, k.image, torch.full((3, 2, 2), k.image)) for k in keys]
    parts = made.loss(model, collate_shaped(items))
    parts["loss"].backward()
    assert_golden(images * parts["loss"], numbers[f"{case}_value_f64"], torch.float64)
    assert_golden(images * model.table.grad, numbers[f"{case}_grad_f64"], torch.float64)
