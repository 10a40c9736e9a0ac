"""Landmark search: multi-scale extraction, and a gallery with very many distractors.

    python benchmarks/landmarks.py extract                # minutes; --size 512 takes less
    python benchmarks/landmarks.py search --size 100000   # seconds; 1000000 takes minutes

Peers take turns in one process run. Extraction: whole images of three shapes at three scales, by a
plain loop over them (torch in its default memory format) and by `embed_images` with both engines,
all with as many decoding workers; their vectors are compared. Search: 70 queries in a stream of
blocks, beside the bare product of the same blocks.
"""

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from peers import machine, print_table, take_turns
from PIL import Image
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from ram_cli.datasets import ImageSet
from ram_cli.engine import resolve_runtime
from ram_cli.evaluation import embed_images, revisited_metrics
from ram_cli.models import Embedder, load_model
from ram_cli.views import InputSpec

SCALES = (1.0, 0.5**0.5, 0.5)
SHAPES = ((768, 1024), (1024, 768), (683, 1024))
BLOCK, QUERIES = 4096, 70


class PlainImages(Dataset[torch.Tensor]):
    """Whole images as one prepares them with Pillow and torchvision."""

    def __init__(self, images: ImageSet, size: int, spec: InputSpec) -> None:
        self.images, self.size = images, size
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize(spec.mean, spec.std)]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        image = Image.open(self.images.path(index)).convert("RGB")
        image.thumbnail((self.size, self.size), Image.Resampling.LANCZOS)
        tensor: torch.Tensor = self.transform(image)
        return tensor


def plain_vectors(model: Embedder, images: ImageSet, size: int, workers: int) -> torch.Tensor:
    """One image per forward pass and scale; vectors joined by the power mean."""
    vectors, power = [], model.scale_power
    with torch.no_grad():
        for image in DataLoader(PlainImages(images, size, model.spec), num_workers=workers):
            total = torch.zeros(model.dimension)
            for scale in SCALES:
                shown = image
                if scale != 1:
                    shown = interpolate(
                        image, scale_factor=scale, mode="bilinear", align_corners=False
                    )
                total += model(shown)[0].pow(power) / len(SCALES)
            joined = total.pow(1 / power)
            vectors.append(joined / (joined.norm() + 1e-6))
    return torch.stack(vectors)


def extract(given: argparse.Namespace) -> None:
    """Time all ways of embedding whole images, and compare their vectors."""
    size, workers = given.size or 1024, given.workers
    plain, model = load_model(given.model).eval(), load_model(given.model)
    vectors: dict[str, torch.Tensor] = {}

    def by_loop(images: ImageSet) -> None:
        vectors["plain"] = plain_vectors(plain, images, size, workers)

    def by_engine(images: ImageSet, engine: str) -> None:
        vectors[engine] = embed_images(
            model,
            images,
            runtime=resolve_runtime("cpu", "fp32", engine),
            size=size,
            scales=SCALES,
            workers=workers,
            fit="whole",
        )

    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        images = noise_images(Path(folder), given.images, size)
        times = take_turns(
            {
                "plain loop, one image per pass": lambda: by_loop(images),
                "ram, `--engine torch`": lambda: by_engine(images, "torch"),
                "ram, `--engine onnxruntime`": lambda: by_engine(images, "onnxruntime"),
            },
            given.rounds,
        )
    print(
        f"{given.model}, {given.images} images of {size} px at {len(SCALES)} scales, "
        f"{workers} workers, median of {given.rounds} rounds\n"
    )
    print_table(times, given.images, "image")
    for engine in ("torch", "onnxruntime"):
        difference = (vectors[engine] - vectors["plain"]).abs().max()
        print(f"vectors of {engine} differ from the loop's by {difference:.1e} at most")


def noise_images(folder: Path, count: int, size: int) -> ImageSet:
    """Images of three shapes in turn, of smooth noise."""
    random, paths = np.random.default_rng(0), []
    for number in range(count):
        height, width = (round(side * size / 1024) for side in SHAPES[number % len(SHAPES)])
        coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        paths.append(f"{number}.jpg")
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(folder / paths[-1])
    return ImageSet("noise", folder, tuple(paths), np.zeros(count, np.int64), ("noise",))


def blocks(size: int, dimension: int, pool: torch.Tensor) -> Iterator[torch.Tensor]:
    """A gallery in blocks, all cut from one pool of vectors, so that none need be kept."""
    for first in range(0, size, BLOCK):
        start = (first // BLOCK * 97) % (len(pool) - BLOCK + 1)
        yield pool[start : start + min(BLOCK, size - first)]


def search(size: int, dimension: int, rounds: int) -> tuple[float, float, float]:
    """Medians of seconds, the bare product and the revisited protocol; and MiB of memory on top."""
    random = torch.Generator().manual_seed(0)
    pool = unit(torch.randn(4 * BLOCK, dimension, generator=random))
    query = unit(torch.randn(QUERIES, dimension, generator=random))
    truth = [
        {"easy": [number], "hard": [QUERIES + number, 200 + number], "junk": [300 + number]}
        for number in range(QUERIES)
    ]
    scores = torch.empty(QUERIES, BLOCK)

    def bare() -> None:
        for block in blocks(size, dimension, pool):
            torch.mm(query, block.T, out=scores[:, : len(block)])

    def evaluate() -> None:
        revisited_metrics(query, blocks(size, dimension, pool), truth)

    revisited_metrics(query, blocks(2 * BLOCK, dimension, pool), truth)  # compiles
    bare()
    before, times = peak_bytes(), {"bare": [], "evaluation": []}
    actions: tuple[tuple[str, Callable[[], None]], ...] = (("bare", bare), ("evaluation", evaluate))
    for _ in range(rounds):
        for name, action in actions:
            start = time.perf_counter()
            action()
            times[name].append(time.perf_counter() - start)
    product, whole = (statistics.median(values) for values in times.values())
    return product, whole, (peak_bytes() - before) / 2**20


def unit(vectors: torch.Tensor) -> torch.Tensor:
    return vectors / vectors.norm(dim=1, keepdim=True)


def peak_bytes() -> int:
    """Largest memory of the process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("extract", "search"))
    parser.add_argument("--size", type=int, help="pixels, or gallery vectors")
    parser.add_argument("--model", default="efficientnet-lite0-gem")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--dimension", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.what == "extract":
        extract(given)
    else:
        size = given.size or 1_000_000
        product, whole, memory = search(size, given.dimension, given.rounds)
        print(f"{QUERIES} queries, {size:,} gallery vectors of {given.dimension} dimensions")
        print(f"bare product {product:.2f} s, evaluation {whole:.2f} s, {whole / product:.2f} ×")
        print(f"memory on top of one block and the pool: {memory:.0f} MiB")


if __name__ == "__main__":
    main()
