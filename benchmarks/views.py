"""Coupled views per second: `ram` against a plain Pillow + torchvision pipeline of one definition.

Every pipeline gets the same images, number of worker processes and batch size. They take turns
within each round, so that a busy machine slows all of them; the table shows medians of the rounds.

    python benchmarks/views.py --images FOLDER --workers 2
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision.transforms.functional as F
from peers import find_images, machine
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import ColorJitter, RandomResizedCrop

from ram_cli.datasets import ImageSet
from ram_cli.views import (
    CoupledViews,
    InputSpec,
    ViewKey,
    collate_coupled,
    collate_deferred,
    decode_image,
    instance_plan,
)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
JITTER = ColorJitter(0.4, 0.4, 0.4, 0.1)


class PlainViews(Dataset):
    """What one writes with Pillow and torchvision: the same draws, crops, colours and mixup."""

    def __init__(
        self,
        images: ImageSet,
        student_size: int,
        teacher_size: int,
        views: int,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
    ) -> None:
        self.images, self.sizes, self.views = images, (student_size, teacher_size), views
        self.mean, self.std = mean, std

    def __getitem__(self, key: ViewKey) -> tuple[torch.Tensor, torch.Tensor]:
        pair = [
            Image.open(self.images.path(index)).convert("RGB") for index in (key.image, key.partner)
        ]
        sides: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        for _ in range(self.views):
            box = RandomResizedCrop.get_params(pair[0], (0.08, 1), (3 / 4, 4 / 3))
            colours = ColorJitter.get_params(
                JITTER.brightness, JITTER.contrast, JITTER.saturation, JITTER.hue
            )
            flip, weight = bool(torch.rand(()) < 0.5), float(np.random.beta(0.2, 0.2))  # noqa: NPY002
            for side, size in zip(sides, self.sizes, strict=True):
                first, second = (self.view(image, box, size, flip, colours) for image in pair)
                mixed = weight * first + (1 - weight) * second
                side.append(F.normalize(mixed, self.mean, self.std))
        return torch.stack(sides[0]), torch.stack(sides[1])

    @staticmethod
    def view(
        image: Image.Image, box: Any, size: int, flip: bool, colours: tuple[Any, ...]
    ) -> torch.Tensor:
        image = F.resized_crop(image, *box, [size, size])
        image = F.hflip(image) if flip else image
        order, *factors = colours
        functions = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
        for operation in order.tolist():
            image = functions[operation](image, factors[operation])
        return F.to_tensor(image)


class Decoding(Dataset):
    """The limit: both images of a sample decoded, and nothing done with them."""

    def __init__(self, images: ImageSet) -> None:
        self.images = images

    def __getitem__(self, key: ViewKey) -> int:
        return sum(decode_image(self.images.path(i)).nbytes for i in (key.image, key.partner))


def pipelines(
    images: ImageSet, sizes: tuple[int, int], arguments: argparse.Namespace
) -> dict[str, Callable[[], float]]:
    """Name → a function that runs one round and returns samples per second."""
    student, teacher = (InputSpec(size, MEAN, STD) for size in sizes)
    coupled = CoupledViews(images, *sizes, arguments.views, seed=0)
    deferred = CoupledViews(images, *sizes, arguments.views, seed=0, on_device=True)
    cached = CoupledViews(
        images, *sizes, arguments.views, seed=0, cache_bytes=arguments.cache_mb * 2**20
    )

    def to_inputs(batch: Any) -> None:
        batch.inputs(student, teacher, "cpu")

    runs: dict[str, tuple[Dataset, Any, Callable[[Any], None]]] = {
        "Pillow + torchvision": (PlainViews(images, *sizes, arguments.views), None, do_nothing),
        "ram": (coupled, collate_coupled, to_inputs),
        "ram, decoded images cached": (cached, collate_coupled, to_inputs),
        "ram, the workers' part if a GPU makes the views": (deferred, collate_deferred, do_nothing),
        "JPEG decoding alone": (Decoding(images), None, do_nothing),
    }
    return {
        name: stopwatch(dataset, collate, use, images, arguments)
        for name, (dataset, collate, use) in runs.items()
    }


def do_nothing(_batch: Any) -> None:
    pass


def stopwatch(
    dataset: Dataset,
    collate: Any,
    use: Callable[[Any], None],
    images: ImageSet,
    arguments: argparse.Namespace,
) -> Callable[[], float]:
    plan = instance_plan(
        len(images), arguments.batch_size, seed=0, epoch=0, images_per_epoch=arguments.samples
    )
    loader = DataLoader(
        dataset,
        batch_sampler=plan,
        num_workers=arguments.workers,
        collate_fn=collate,
        persistent_workers=arguments.workers > 0,
    )

    def run() -> float:
        start = time.perf_counter()
        for batch in loader:
            use(batch)
        return sum(map(len, plan)) / (time.perf_counter() - start)

    return run


def medians_of(
    images: ImageSet, sizes: tuple[int, int], arguments: argparse.Namespace
) -> dict[str, float]:
    """Samples per second by the name of a pipeline, in rounds in which all take turns."""
    runs = pipelines(images, sizes, arguments)
    for run in runs.values():
        run()  # starts the workers, fills caches
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(arguments.rounds):
        for name, run in runs.items():
            rates[name].append(run())
    return {name: statistics.median(values) for name, values in rates.items()}


def table(sizes: tuple[int, int], medians: dict[str, float]) -> Iterable[str]:
    plain = medians["Pillow + torchvision"]
    for name, rate in medians.items():
        yield f"| {sizes[0]} / {sizes[1]} | {name} | {rate:.1f} | {rate / plain:.1f} × |"


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    """Options, of the command line if none are given."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=Path, required=True, help="folder of images")
    parser.add_argument("--sizes", nargs="+", default=["224/448", "96/224"], help="student/teacher")
    parser.add_argument("--views", type=int, default=8, help="views per image")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--batch-size", type=int, default=4, help="images per batch")
    parser.add_argument("--samples", type=int, default=16, help="images per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cache-mb", type=int, default=1024, help="cache per worker, in MiB")
    return parser.parse_args(words)


def main() -> None:
    arguments = parsed()
    torch.set_num_threads(1)
    images = find_images(arguments.images, most=256)
    print(
        f"{machine()}; {arguments.workers} workers, {arguments.views} views; "
        f"median of {arguments.rounds} rounds of {arguments.samples} images\n"
    )
    print("| student / teacher, pixels | pipeline | samples/s | against plain |")
    print("|---|---|---:|---:|")
    for text in arguments.sizes:
        student, teacher = map(int, text.split("/"))
        medians = medians_of(images, (student, teacher), arguments)
        print("\n".join(table((student, teacher), medians)), flush=True)


if __name__ == "__main__":
    main()
