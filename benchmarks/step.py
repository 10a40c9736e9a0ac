"""Distillation steps per second: `ram` against plain fp32 steps in torch's default memory format.

A step is: coupled views in, the teacher without gradients, the loss, backward, AdamW. It is
measured with the making of views and, on views made before, without. Limits: the forward passes of
the teacher alone, and student forward and backward alone. Then both train on the same views from
the same weights, and their losses are compared.

    python benchmarks/step.py --images FOLDER --student-size 96 --teacher-size 224
"""

import argparse
import copy
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from extraction import CPU, network
from peers import find_images, machine, print_table, take_turns
from torch import Tensor, nn
from torch.utils.data import DataLoader
from views import PlainViews

from ram_cli.datasets import ImageSet
from ram_cli.engine import CoupledObjective, Runtime, build_optimiser
from ram_cli.engine.inference import Embed, fast_inference
from ram_cli.evaluation.extract import place
from ram_cli.losses import coupled_loss
from ram_cli.models import Embedder, freeze_batchnorm_statistics

WEIGHTS = {"lambda_ts": 0.7, "lambda_ss": 0.7}
Views = tuple[Tensor, Tensor]
Optimiser = Callable[[nn.Module], torch.optim.Optimizer]


def plain_optimiser(student: nn.Module) -> torch.optim.Optimizer:
    """AdamW as torch gives it."""
    return torch.optim.AdamW(student.parameters(), lr=1e-4, weight_decay=1e-6)


def ram_optimiser(student: nn.Module) -> torch.optim.Optimizer:
    """AdamW as `ram distill` builds it."""
    groups = [{"params": list(student.parameters())}]
    return build_optimiser(groups, "adamw", 1e-4, 1e-6, 0.9)


class Training:
    """A student, its optimiser and a teacher; `step` takes normalised views of both sides."""

    def __init__(self, student: Embedder, teacher: Embed, views: int, optimiser: Optimiser) -> None:
        freeze_batchnorm_statistics(student.train())
        self.student, self.teacher, self.views = student, teacher, views
        self.optimiser = optimiser(student)

    def step(self, student_views: Tensor, teacher_views: Tensor) -> float:
        with torch.no_grad():
            teacher = self.teacher(teacher_views)
        shape = (-1, self.views, teacher.shape[-1])
        student = self.student(student_views)
        loss = coupled_loss(student.view(shape), teacher.view(shape), **WEIGHTS)["loss"]
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())


class Peers:
    """The plain training and that of `ram`, from the same weights."""

    def __init__(self, images: ImageSet, arguments: argparse.Namespace) -> None:
        self.workers, self.images = arguments.workers, images
        self.sizes = (arguments.student_size, arguments.teacher_size)
        self.views, self.batch = arguments.views, arguments.batch_size
        student, teacher = (network(arguments.model, size) for size in self.sizes)
        # copies, for `place` changes the memory format
        self.plain = Training(
            copy.deepcopy(student), copy.deepcopy(teacher), self.views, plain_optimiser
        )
        runtime = Runtime(CPU, "fp32", "onnxruntime")
        fast = fast_inference(place(teacher, runtime), runtime, size=self.sizes[1], images=1)
        self.ram = Training(place(student, runtime), fast, self.views, ram_optimiser)
        self.objective = CoupledObjective(
            images,
            fast,
            student.spec,
            teacher.spec,
            coupled_loss,
            WEIGHTS,
            views=self.views,
            batch_size=self.batch,
            images_per_epoch=self.batch * arguments.steps,
            mixup_alpha=0.2,
            seed=0,
            runtime=runtime,
        )

    def loader(self, dataset: Any, collate: Any = None) -> DataLoader:
        plan = self.objective.batches(0, {})
        return DataLoader(dataset, batch_sampler=plan, num_workers=self.workers, collate_fn=collate)

    def plain_views(self) -> Iterator[Views]:
        for student, teacher in self.loader(PlainViews(self.images, *self.sizes, self.views)):
            yield student.flatten(0, 1), teacher.flatten(0, 1)

    def ram_views(self) -> Iterator[Views]:
        objective = self.objective
        for batch in self.loader(objective.dataset, objective.collate):
            yield batch.inputs(objective.student_spec, objective.teacher_spec, CPU)

    def runs(self) -> dict[str, dict[str, Callable[[], object]]]:
        made = list(self.ram_views())
        plain = [(student.contiguous(), teacher.contiguous()) for student, teacher in made]
        return {
            "with the making of views": {
                "plain fp32 step": lambda: train(self.plain, self.plain_views()),
                "ram": lambda: train(self.ram, self.ram_views()),
            },
            "views made before": {
                "plain fp32 step": lambda: train(self.plain, plain),
                "ram": lambda: train(self.ram, made),
                "teacher alone, plain": lambda: embed(self.plain.teacher, plain),
                "teacher alone, ram": lambda: embed(self.ram.teacher, made),
                "student and AdamW alone, plain": lambda: learn(self.plain, plain),
                "student and AdamW alone, ram": lambda: learn(self.ram, made),
            },
        }


def train(training: Training, views: Any) -> list[float]:
    return [training.step(*pair) for pair in views]


def embed(teacher: Embed, views: list[Views]) -> None:
    with torch.no_grad():
        for _, teacher_views in views:
            teacher(teacher_views)


def learn(training: Training, views: list[Views]) -> None:
    known = nn.functional.normalize(torch.randn(len(views[0][0]), training.student.dimension))
    student_only = copy.copy(training)
    student_only.teacher = lambda _: known
    for pair in views:
        student_only.step(*pair)


def compare(peers: Peers, epochs: int) -> None:
    """Print both losses over so many passes through the same views."""
    made = list(peers.ram_views())
    plain = [(student.contiguous(), teacher.contiguous()) for student, teacher in made]
    curves = {
        "plain": [loss for _ in range(epochs) for loss in train(peers.plain, plain)],
        "ram": [loss for _ in range(epochs) for loss in train(peers.ram, made)],
    }
    for name, curve in curves.items():
        print(f"loss of {name}:", " ".join(f"{loss:.5f}" for loss in curve))
    pairs = zip(*curves.values(), strict=True)
    print(f"largest relative difference: {max(abs(a - b) / a for a, b in pairs):.1e}", flush=True)


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    """Options, of the command line if none are given."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=Path, required=True, help="folder of images")
    parser.add_argument("--model", default="efficientnet-lite0", help="student and teacher")
    parser.add_argument("--student-size", type=int, default=96)
    parser.add_argument("--teacher-size", type=int, default=224)
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=2, help="images per step")
    parser.add_argument("--steps", type=int, default=4, help="steps per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--epochs", type=int, default=5, help="passes that compare losses")
    return parser.parse_args(words)


def main() -> None:
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    print(machine())
    print(
        f"{arguments.model}, {arguments.student_size} / {arguments.teacher_size} px, "
        f"{arguments.batch_size} images x {arguments.views} views, {arguments.workers} workers, "
        f"median of {arguments.rounds} rounds of {arguments.steps} steps"
    )
    images = find_images(arguments.images, most=64)
    compare(Peers(images, arguments), arguments.epochs)
    for title, runs in Peers(images, arguments).runs().items():
        print(f"\n{title}\n")
        print_table(take_turns(runs, arguments.rounds), arguments.steps, "step")


if __name__ == "__main__":
    main()
