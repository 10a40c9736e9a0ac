"""Distillation steps per second: `ram` against plain fp32 steps in torch's default memory format.

A step is: coupled views in, the teacher without gradients, the loss, backward, AdamW. It is
measured with the making of views and, on views made before, without. Limits: the forward passes of
the teacher alone, and student forward and backward alone. Then both train on the same views from
the same weights, and their losses are compared. On a GPU there is one more peer, in bf16 by
autocast, and `ram` computes in bf16 too.

    python benchmarks/step.py --images FOLDER --student-size 96 --teacher-size 224
    python benchmarks/step.py --images FOLDER --device cuda --model resnet50 \\
        --student-size 224 --teacher-size 448 --batch-size 8
"""

import argparse
import copy
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from extraction import network
from peers import find_images, machine, print_table, take_turns
from torch import Tensor, nn
from torch.utils.data import DataLoader
from views import PlainViews

from ram_cli.datasets import ImageSet
from ram_cli.engine import CoupledObjective, Runtime, build_optimiser
from ram_cli.engine.inference import Embed, fast_inference
from ram_cli.engine.runtime import Precision
from ram_cli.evaluation.extract import place
from ram_cli.losses import coupled_loss
from ram_cli.models import Embedder, freeze_batchnorm_statistics
from ram_cli.views import obstacle_to_device_views

WEIGHTS = {"lambda_ts": 0.7, "lambda_ss": 0.7}
PLAIN, HALF = "plain fp32 step", "plain bf16 step"
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

    def __init__(
        self, student: nn.Module, teacher: Embed, views: int, optimiser: Optimiser, runtime: Runtime
    ) -> None:
        freeze_batchnorm_statistics(student.train())
        self.student, self.teacher, self.views, self.runtime = student, teacher, views, runtime
        self.optimiser = optimiser(student)

    def step(self, student_views: Tensor, teacher_views: Tensor) -> float:
        student_views, teacher_views = self.moved(student_views), self.moved(teacher_views)
        with torch.no_grad(), self.runtime.autocast():
            teacher = self.teacher(teacher_views).float()
        shape = (-1, self.views, teacher.shape[-1])
        with self.runtime.autocast():
            student = self.student(student_views).float()
        loss = coupled_loss(student.view(shape), teacher.view(shape), **WEIGHTS)["loss"]
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())

    def moved(self, views: Tensor) -> Tensor:
        return views.to(self.runtime.device, non_blocking=True)


class Peers:
    """The plain trainings and that of `ram`, from the same weights."""

    def __init__(self, images: ImageSet, arguments: argparse.Namespace) -> None:
        self.workers, self.images = arguments.workers, images
        self.sizes = (arguments.student_size, arguments.teacher_size)
        self.views, self.batch = arguments.views, arguments.batch_size
        self.device = torch.device(arguments.device)
        student, teacher = (network(arguments.model, size).to(self.device) for size in self.sizes)
        self.plain = {
            name: self.plain_training(student, teacher, precision)
            for name, precision in self.plain_precisions().items()
        }
        runtime = self.runtime()
        fast = fast_inference(place(teacher, runtime), runtime, size=self.sizes[1], images=1)
        self.ram = Training(place(student, runtime), fast, self.views, ram_optimiser, runtime)
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
            on_device=obstacle_to_device_views(self.device) is None,
        )

    def plain_precisions(self) -> dict[str, Precision]:
        if self.device.type == "cpu":
            return {PLAIN: "fp32"}
        return {PLAIN: "fp32", HALF: "bf16"}

    def runtime(self) -> Runtime:
        if self.device.type == "cpu":
            return Runtime(self.device, "fp32", "onnxruntime")
        return Runtime(self.device, "bf16")

    def plain_training(
        self, student: Embedder, teacher: Embedder, precision: Precision
    ) -> Training:
        # copies, for `place` changes the memory format
        networks = copy.deepcopy(student), copy.deepcopy(teacher)
        runtime = Runtime(self.device, precision)
        return Training(*networks, self.views, plain_optimiser, runtime)

    def loader(self, dataset: Any, collate: Any = None) -> DataLoader:
        return DataLoader(
            dataset,
            batch_sampler=self.objective.batches(0, {}),
            num_workers=self.workers,
            collate_fn=collate,
            pin_memory=self.device.type == "cuda",
        )

    def plain_views(self) -> Iterator[Views]:
        for student, teacher in self.loader(PlainViews(self.images, *self.sizes, self.views)):
            yield student.flatten(0, 1), teacher.flatten(0, 1)

    def ram_views(self) -> Iterator[Views]:
        objective = self.objective
        for batch in self.loader(objective.dataset, objective.collate):
            yield batch.inputs(objective.student_spec, objective.teacher_spec, self.device)

    def runs(self) -> dict[str, dict[str, Callable[[], object]]]:
        made = list(self.ram_views())
        plain = [(student.contiguous(), teacher.contiguous()) for student, teacher in made]
        both = {name: (training, plain) for name, training in self.plain.items()}
        both["ram"] = (self.ram, made)
        steps: dict[str, Callable[[], object]] = {
            name: partial(train, *pair) for name, pair in both.items()
        }
        teachers = {f"teacher alone, {name}": partial(embed, *pair) for name, pair in both.items()}
        students = {
            f"student and AdamW alone, {name}": partial(learn, *pair) for name, pair in both.items()
        }
        whole: dict[str, Callable[[], object]] = {
            name: lambda training=training: train(training, self.plain_views())
            for name, training in self.plain.items()
        }
        whole["ram"] = lambda: train(self.ram, self.ram_views())
        return {
            "with the making of views": whole,
            "views made before": {**steps, **teachers, **students},
        }


def train(training: Training, views: Any) -> list[float]:
    return [training.step(*pair) for pair in views]


def embed(training: Training, views: list[Views]) -> None:
    with torch.no_grad(), training.runtime.autocast():
        for _, teacher_views in views:
            training.teacher(teacher_views)
    wait_for(training.runtime.device)


def wait_for(device: torch.device) -> None:
    """A GPU works on after the call has returned."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def learn(training: Training, views: list[Views]) -> None:
    shape = len(views[0][0]), training.student.dimension
    known = nn.functional.normalize(torch.randn(shape, device=training.runtime.device))
    student_only = copy.copy(training)
    student_only.teacher = lambda _: known
    for pair in views:
        student_only.step(*pair)


def compare(peers: Peers, epochs: int) -> None:
    """Print both losses over so many passes through the same views."""
    made = list(peers.ram_views())
    plain = [(student.contiguous(), teacher.contiguous()) for student, teacher in made]
    curves = {
        name: [loss for _ in range(epochs) for loss in train(training, plain)]
        for name, training in peers.plain.items()
    }
    curves["ram"] = [loss for _ in range(epochs) for loss in train(peers.ram, made)]
    for name, curve in curves.items():
        print(f"loss of {name}:", " ".join(f"{loss:.5f}" for loss in curve))
        pairs = zip(curves[PLAIN], curve, strict=True)
        print(
            f"largest relative difference: {max(abs(a - b) / a for a, b in pairs):.1e}", flush=True
        )


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
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--epochs", type=int, default=5, help="passes that compare losses")
    return parser.parse_args(words)


def gpu(device: str) -> str:
    return "" if device == "cpu" else torch.cuda.get_device_name(device)


def main() -> None:
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    print(machine(), gpu(arguments.device))
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
