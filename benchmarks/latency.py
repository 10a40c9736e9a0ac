"""Latency and mAP of engines on a CPU: PyTorch in fp32 and bf16, ONNX Runtime in fp32 and int8.

    python benchmarks/latency.py --teacher ram-demo/teacher --student ram-demo/student

Engines take turns, call by call, in one process with as many threads each. The forward pass alone
is timed: decoding and resizing are the same for all. mAP is symmetric on the furniture test
classes, and for the student asymmetric too, in the gallery of the teacher in fp32.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ram_cli.datasets import ImageSet, load_dataset
from ram_cli.engine import resolve_runtime
from ram_cli.evaluation import embed_images, label_metrics
from ram_cli.export.onnx import write_onnx
from ram_cli.export.onnx_int8 import CALIBRATION_IMAGES, write_int8
from ram_cli.export.onnx_session import Engine
from ram_cli.models import Embedder, load_model
from ram_cli.views import EvaluationViews
from ram_cli.views.tensors import normalise

Call = Callable[[], object]


def sample(images: ImageSet, size: int, count: int) -> torch.Tensor:
    views = EvaluationViews(images, size)
    places = np.linspace(0, len(images) - 1, count).round().astype(int)
    return torch.stack([views[int(place)] for place in places])


def engines(model: Embedder, folder: Path, train: ImageSet, threads: int) -> dict[str, Engine]:
    graph = write_onnx(model, folder)
    int8 = write_int8(graph, sample(train, model.spec.size, CALIBRATION_IMAGES))
    return {
        name: Engine(file.path, threads)
        for name, file in (("ONNX fp32", graph), ("ONNX int8", int8))
    }


def calls(model: Embedder, opened: dict[str, Engine], views: torch.Tensor) -> dict[str, Call]:
    inputs = normalise(views, model.spec)
    plain = inputs.contiguous().numpy()

    def torch_fp32() -> object:
        with torch.inference_mode():
            return model(inputs)

    def torch_bf16() -> object:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            return model(inputs)

    return {
        "PyTorch fp32": torch_fp32,
        "PyTorch bf16": torch_bf16,
        **{name: (lambda engine=engine: engine.run(plain)) for name, engine in opened.items()},
    }


def medians(contenders: dict[str, Call], rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds of each, and the median over the rounds of each one's share of the first's."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 2):
        for name, call in contenders.items():
            start = time.perf_counter()
            call()
            if number >= 2:  # the first rounds warm up
                times[name].append(1000 * (time.perf_counter() - start))
    first = next(iter(times.values()))
    ratios = {
        name: statistics.median(base / value for base, value in zip(first, values, strict=True))
        for name, values in times.items()
    }
    return {name: statistics.median(values) for name, values in times.items()}, ratios


def vectors(model: Embedder, opened: dict[str, Engine], test: ImageSet) -> dict[str, torch.Tensor]:
    found = {
        f"PyTorch {precision}": embed_images(model, test, runtime=resolve_runtime("cpu", precision))
        for precision in ("fp32", "bf16")
    }
    return found | {name: engine.embed(test) for name, engine in opened.items()}


def mean_ap(query: torch.Tensor, gallery: torch.Tensor, test: ImageSet) -> float:
    return 100 * label_metrics(query, gallery, test.labels, test.labels, (1,), same_set=True).map


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--student", required=True)
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, nargs=2, default=(50, 9), help="of batch 1 and 32")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = load_dataset("furniture", arguments.data_root, verify=False)
    gallery = None
    print(f"{arguments.threads} threads")
    print("| network | engine | batch 1 | | batch 32 | | sym mAP | asym mAP |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for role, name in (("teacher", arguments.teacher), ("student", arguments.student)):
        model = load_model(name)
        with tempfile.TemporaryDirectory() as folder:
            opened = engines(model, Path(folder), data.train_val, arguments.threads)
            timed = [
                medians(calls(model, opened, sample(data.test, model.spec.size, batch)), rounds)
                for batch, rounds in zip((1, 32), arguments.rounds, strict=True)
            ]
            found = vectors(model, opened, data.test)
        gallery = found["PyTorch fp32"] if gallery is None else gallery
        for engine, own in found.items():
            cells = [f"{times[engine]:.1f} ms | {ratios[engine]:.2f} ×" for times, ratios in timed]
            asym = f"{mean_ap(own, gallery, data.test):.1f}" if role == "student" else ""
            size, sym = model.spec.size, mean_ap(own, own, data.test)
            print(f"| {role} {size} px | {engine} | {' | '.join(cells)} | {sym:.1f} | {asym} |")


if __name__ == "__main__":
    main()
