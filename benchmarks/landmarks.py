"""Landmark search: extraction batched by shape, and a gallery with very many distractors.

    python benchmarks/landmarks.py extract                # minutes; --size 512 takes less
    python benchmarks/landmarks.py search --size 100000   # seconds; 1000000 takes minutes

Peers take turns in one process run. Extraction: whole images of three shapes at three scales, by
one image per forward pass and in batches of one shape; their vectors are compared. Search: 70
queries in a stream of blocks, beside the bare product of the same blocks.
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
from PIL import Image

from ram_cli.datasets import ImageSet
from ram_cli.engine import resolve_runtime
from ram_cli.evaluation import embed_images, revisited_metrics
from ram_cli.models import load_model

SCALES = (1.0, 0.5**0.5, 0.5)
SHAPES = ((768, 1024), (1024, 768), (683, 1024))
BLOCK, QUERIES = 4096, 70


def extract(model_name: str, size: int, count: int, rounds: int, device: str) -> None:
    """Time both ways of embedding whole images, and compare their vectors."""
    model, runtime = load_model(model_name), resolve_runtime(device, "fp32")
    with tempfile.TemporaryDirectory() as folder:
        images = noise_images(Path(folder), count, size)
        times: dict[str, list[float]] = {"one image per pass": [], "batched by shape": []}
        vectors = {}
        for _ in range(rounds):
            for name, batch_size in (("one image per pass", 1), ("batched by shape", 64)):
                start = time.perf_counter()
                vectors[name] = embed_images(
                    model,
                    images,
                    runtime=runtime,
                    size=size,
                    scales=SCALES,
                    batch_size=batch_size,
                    fit="whole",
                )
                times[name].append(time.perf_counter() - start)
    single, batched = (statistics.median(values) for values in times.values())
    difference = (vectors["one image per pass"] - vectors["batched by shape"]).abs().max()
    print(f"{model_name}, {count} images of {size} px, {len(SCALES)} scales, {device}")
    print(f"one image per pass {single / count:.3f} s, batched {batched / count:.3f} s per image")
    print(f"{single / batched:.2f} times as fast; vectors differ by {difference:.1e} at most")


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


def search(size: int, dimension: int, rounds: int) -> None:
    """Time the revisited protocol beside the bare product."""
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
    memory = (peak_bytes() - before) / 2**20
    print(f"{QUERIES} queries, {size:,} gallery vectors of {dimension} dimensions")
    print(f"bare product {product:.2f} s, evaluation {whole:.2f} s, ratio {whole / product:.2f}")
    print(f"memory on top of one block and the pool: {memory:.0f} MiB")


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
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    if given.what == "extract":
        extract(given.model, given.size or 1024, given.images, given.rounds, given.device)
    else:
        search(given.size or 1_000_000, given.dimension, given.rounds)


if __name__ == "__main__":
    main()
