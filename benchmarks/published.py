"""The published recipe (Suma & Tolias, WACV 2023, `ts_aug`) in plain PyTorch, for comparison.

Coupled views by Pillow and torchvision, both sides normalised as the teacher wants it; fp32 in
torch's default memory format; the teacher embeds the views of every batch; the loss, image by
image, is summed over a batch; AdamW, one cycle, gradients of several batches in a step. Where the
published code wastes more (it keeps the teacher in the autograd graph), this does not.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from views import PlainViews

from ram_cli.datasets import ImageSet
from ram_cli.models import Embedder, freeze_batchnorm_statistics
from ram_cli.views import ViewKey, instance_plan


@dataclass(frozen=True, slots=True)
class Budget:
    """What both trainings get: an epoch shows some images, each in several coupled views."""

    epochs: int
    images_per_epoch: int
    batch_size: int
    accumulate: int
    views: int
    lr: float
    seed: int
    lambda_ts: float = 0.7
    lambda_ss: float = 0.7
    weight_decay: float = 1e-6


def published_loss(student: Tensor, teacher: Tensor, budget: Budget) -> Tensor:
    """Sum over the images of the loss of their views: `[B, K, D]` and `[B, K, D]` → scalar."""
    total = student.new_zeros(())
    for s, t in zip(student, teacher, strict=True):
        total = total + (1 - (s * t).sum(dim=1)).pow(2).mean()
        if len(s) > 1:
            others = ~torch.eye(len(s), dtype=torch.bool)
            known = t @ t.T
            mixed, own = (s @ t.T - known + 1e-6)[others], (s @ s.T - known + 1e-6)[others]
            total = total + budget.lambda_ts * mixed.pow(2).mean()
            total = total + budget.lambda_ss * own.pow(2).mean()
    return total


def train_as_published(
    student: Embedder,
    teacher: Embedder,
    images: ImageSet,
    budget: Budget,
    workers: int,
    after_epoch: Callable[[nn.Module, int], None],
) -> None:
    """Train `student`, in place.

    Args:
        student: Its input size is that of the student's views.
        teacher: In eval mode; left as it is.
        images: Images to train on.
        budget: How long, and how.
        workers: Processes that make views.
        after_epoch: Called with the student and the number of epochs done.
    """
    freeze_batchnorm_statistics(student.train())
    groups = student.parameter_groups(budget.lr, budget.weight_decay)
    optimiser = torch.optim.AdamW(groups, lr=budget.lr, weight_decay=budget.weight_decay)
    shown = min(len(images), budget.images_per_epoch)
    batches = -(-shown // budget.batch_size)
    steps = budget.epochs * -(-batches // budget.accumulate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=budget.lr, total_steps=steps, div_factor=10
    )
    for epoch in range(budget.epochs):
        for number, (student_views, teacher_views) in enumerate(
            loader(student, teacher, images, budget, epoch, workers), start=1
        ):
            with torch.no_grad():
                known = teacher(teacher_views.flatten(0, 1))
            vectors = student(student_views.flatten(0, 1))
            shape = (*student_views.shape[:2], -1)
            published_loss(vectors.view(shape), known.view(shape), budget).backward()
            if number % budget.accumulate == 0 or number == batches:
                optimiser.step()
                optimiser.zero_grad()
                schedule.step()
        after_epoch(student, epoch + 1)


def loader(
    student: Embedder, teacher: Embedder, images: ImageSet, budget: Budget, epoch: int, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Views of both sides `[B, K, 3, Q, Q]` and `[B, K, 3, R, R]`; the images `ram` shows, too."""
    keys: list[list[ViewKey]] = instance_plan(
        len(images),
        budget.batch_size,
        seed=budget.seed,
        epoch=epoch,
        images_per_epoch=budget.images_per_epoch,
    )
    views = PlainViews(
        images,
        student.spec.size,
        teacher.spec.size,
        budget.views,
        teacher.spec.mean,
        teacher.spec.std,
    )
    made: DataLoader[tuple[Tensor, Tensor]] = DataLoader(
        views, batch_sampler=keys, num_workers=workers
    )
    return iter(made)
