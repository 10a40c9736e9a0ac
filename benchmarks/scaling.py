"""How speed grows with images, with processes that decode, and with processes of a job.

    python benchmarks/scaling.py --teacher ram-demo/teacher

Extraction and distillation run as one process of one thread, as one process of two threads and as
two processes of one thread each (`torchrun`), with 0, 1 and 2 workers per process, in turn. Rates
leave out start-up: extraction is timed after a first small one, distillation after its first steps.
Evaluation runs with one and with two threads on sets that double.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from commands import RAM, fresh
from evaluation import blend_classes, make_labels, make_vectors
from peers import machine

from ram_cli.datasets import load_dataset
from ram_cli.engine import resolve_runtime
from ram_cli.engine.collectives import start_processes
from ram_cli.evaluation import label_metrics
from ram_cli.evaluation.extract import embed_images
from ram_cli.models import load_model
from ram_cli.processes import is_first

SHAPES = ((1, 1), (1, 2), (2, 1))
"""Processes, and threads of each."""


def launched(processes: int, threads: int, command: list[str]) -> str:
    """Standard output of a command, of one process or as a job of several.

    Raises:
        SystemExit: It fails.
    """
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    started = [*launcher, *command] if processes > 1 else command
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, *started], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} fails:\n{done.stdout}{done.stderr}")
    return done.stdout


def extract(options: argparse.Namespace) -> None:
    """One measurement, in a process of its own: prints images per second."""
    runtime = resolve_runtime("cpu", "fp32", "auto")
    start_processes(runtime.device)
    dataset = load_dataset("furniture", options.work / "data")
    model, images = load_model(options.teacher), dataset.train_val
    embed_images(model, images.subset(range(16)), runtime=runtime, workers=options.workers)
    chosen = images.subset(range(options.images))
    start = time.perf_counter()
    embed_images(model, chosen, runtime=runtime, workers=options.workers)
    if is_first():
        print(json.dumps(options.images / (time.perf_counter() - start)))


def extraction_rate(
    options: argparse.Namespace, shape: tuple[int, int], workers: int, images: int
) -> float:
    """Images per second of `embed_images`."""
    command = [__file__, "--teacher", options.teacher, "--work", str(options.work)]
    command += ["--only", "extract", "--workers", str(workers), "--images", str(images)]
    return float(launched(*shape, command).splitlines()[-1])


def distillation_rate(options: argparse.Namespace, shape: tuple[int, int], workers: int) -> float:
    """Images per second of `ram distill`, four views each, after the first steps."""
    run = fresh(options.work / "run")
    command = [*RAM[1:], "distill", "--dataset", "furniture", "--teacher", options.teacher]
    command += ["--data-root", str(options.work / "data"), "--output", str(run), "--no-val"]
    command += ["--image-size", "80", "--views", "4", "--epochs", "1", "--accumulate", "1"]
    command += ["--batch-size", "8", "--images-per-epoch", str(8 * options.steps)]
    command += ["--log-every", str(max(1, options.steps // 4)), "--engine", "onnxruntime"]
    launched(*shape, [*command, "--device", "cpu", "--workers", str(workers)])
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    rates = [line["images_per_second"] for line in lines if line["kind"] == "train"]
    return statistics.median(rates[1:])


def print_rates(title: str, rates: dict[tuple[tuple[int, int], int], float]) -> None:
    """A row for each number of workers; ratios to one process of one thread."""
    print(f"\n{title}, images/s\n")
    names = [f"{p} process{'es' * (p > 1)} × {t} thread{'s' * (t > 1)}" for p, t in SHAPES]
    print("| workers per process | " + " | ".join(names) + " |\n|---:|" + "---:|" * len(names))
    for workers in dict.fromkeys(workers for _, workers in rates):
        base = rates[SHAPES[0], workers]
        cells = [
            f"{rates[shape, workers]:.1f} ({rates[shape, workers] / base:.2f} ×)"
            for shape in SHAPES
        ]
        print(f"| {workers} | {' | '.join(cells)} |", flush=True)


def evaluation_seconds(size: int, threads: int) -> float:
    """Seconds of an evaluation of so many images against each other."""
    torch.set_num_threads(threads)
    vectors, labels = make_vectors(size, 512), make_labels(size, 0)
    blend_classes(vectors, labels)
    for part in (min(size, 2048), size):  # the first compiles
        rows, known = vectors[:part], labels[:part]
        start = time.perf_counter()
        label_metrics(rows, rows, known, known, [1], same_set=True)
    return time.perf_counter() - start


def print_evaluation(sizes: list[int]) -> None:
    print("\n| images | 1 thread, s | ns per pair | 2 threads, s | ns per pair |")
    print("|---:|---:|---:|---:|---:|")
    for size in sizes:
        found = [evaluation_seconds(size, threads) for threads in (1, 2)]
        cells = [f"{seconds:.2f} | {1e9 * seconds / np.square(size):.1f}" for seconds in found]
        print(f"| {size:,} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", required=True, help="model folder")
    parser.add_argument("--work", type=Path, default=Path("scaling"), help="folder to work in")
    parser.add_argument("--steps", type=int, default=24, help="of a distillation")
    parser.add_argument("--extracted", type=int, nargs="+", default=[200, 400, 800])
    parser.add_argument("--sizes", type=int, nargs="+", default=[3000, 6000, 12000])
    parser.add_argument("--most-workers", type=int, default=2)
    parser.add_argument("--only", choices=["extract"], help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--images", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        extract(options)
        return
    print(machine(), flush=True)
    cases = [(shape, workers) for workers in range(options.most_workers + 1) for shape in SHAPES]
    for images in options.extracted:
        rates = {case: extraction_rate(options, *case, images) for case in cases}
        print_rates(f"Extraction of {images} images", rates)
    rates = {case: distillation_rate(options, *case) for case in cases}
    print_rates("Distillation", rates)
    print_evaluation(options.sizes)


if __name__ == "__main__":
    main()
