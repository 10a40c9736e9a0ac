"""A query by PyTorch and by ONNX Runtime: float32, bfloat16 and 8-bit integers, side by side.

Latency of one image and images per second of a batch, the network alone: views are made before.
Vectors of all engines search the same test images of the embedded furniture, in their own gallery
(symmetric) and in that of the teacher in fp32 (asymmetric).

    python benchmarks/latency.py --student ram-demo/student --teacher ram-demo/teacher
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from peers import machine, take_turns
from torch import Tensor

from ram_cli.datasets import ImageSet, load_dataset
from ram_cli.engine import Runtime
from ram_cli.evaluation import label_metrics
from ram_cli.evaluation.cost import machine_name
from ram_cli.evaluation.extract import embed_batch, place
from ram_cli.export.onnx import write_onnx
from ram_cli.export.onnx_int8 import CALIBRATION_IMAGES, write_int8
from ram_cli.export.onnx_session import Engine
from ram_cli.models import Embedder, load_model
from ram_cli.recipes.onnx import centre_crops
from ram_cli.views import normalise

CPU = torch.device("cpu")
PLAIN = "PyTorch fp32"

Forward = Callable[[Tensor], object]
Vectors = Callable[[Tensor], Tensor]


def by_torch(model: Embedder, precision: str) -> tuple[Vectors, Forward, Callable]:
    runtime = Runtime(CPU, precision)

    def vectors(views: Tensor) -> Tensor:
        return embed_batch(model, views, model.spec, runtime=runtime)

    def forward(inputs: Tensor) -> object:
        with torch.inference_mode(), runtime.autocast():
            return model(inputs)

    return vectors, forward, lambda views: normalise(views, model.spec)


def by_onnxruntime(path: Path, threads: int) -> tuple[Vectors, Forward, Callable]:
    engine = Engine(path, threads)
    return lambda views: torch.from_numpy(engine.vectors(views)), engine.run, engine.inputs


def engines(model: Embedder, calibration: Tensor, folder: Path, threads: int) -> dict:
    graph = write_onnx(model, folder)
    integers = write_int8(graph, calibration)
    place(model, Runtime(CPU, "fp32"))
    return {
        PLAIN: by_torch(model, "fp32"),
        "PyTorch bf16 (autocast)": by_torch(model, "bf16"),
        "ONNX Runtime fp32": by_onnxruntime(graph.path, threads),
        "ONNX Runtime int8": by_onnxruntime(integers.path, threads),
    }


def times(peers: dict, views: Tensor, repeats: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Seconds of one forward pass of these views: median wall time, and CPU time."""

    def run(forward: Forward, inputs: object) -> Callable[[], None]:
        def repeated() -> None:
            for _ in range(repeats):
                forward(inputs)

        return repeated

    runs = {name: run(forward, made(views)) for name, (_, forward, made) in peers.items()}
    found = take_turns(runs, rounds)
    return {name: (wall / repeats, cpu / repeats) for name, (wall, cpu) in found.items()}


def mean_ap(query: Tensor, gallery: Tensor, images: ImageSet) -> float:
    labels = images.labels
    return 100 * label_metrics(query, gallery, labels, labels, (1,), same_set=True).map


def embedded(vectors: Vectors, views: Tensor, batch: int) -> Tensor:
    return torch.cat([vectors(part) for part in views.split(batch)])


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    """Options, of the command line if none are given."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--student", default="efficientnet-lite0", help="any name of a model")
    parser.add_argument("--teacher", default="efficientnet-lite0", help="whose gallery is searched")
    parser.add_argument("--size", type=int, default=None, help="pixels; the student's own")
    parser.add_argument("--teacher-size", type=int, default=None)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=20, help="single queries in a round")
    parser.add_argument("--classes", type=int, default=100, help="test classes to search")
    return parser.parse_args(words)


def main() -> None:
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    student = load_model(arguments.student, input_size=arguments.size)
    teacher = load_model(arguments.teacher, input_size=arguments.teacher_size)
    with tempfile.TemporaryDirectory() as folder:
        report(student, teacher, Path(folder), arguments)


def report(student: Embedder, teacher: Embedder, folder: Path, arguments) -> None:
    dataset = load_dataset("furniture", folder, verify=False)
    labels = dataset.test.labels
    kept = np.isin(labels, np.unique(labels)[: arguments.classes])
    images = dataset.test.subset(np.flatnonzero(kept))
    views = centre_crops(images, student.spec.size, len(images))
    training = centre_crops(dataset.train_val, student.spec.size, CALIBRATION_IMAGES)
    peers = engines(student, training, folder, arguments.threads)
    one = times(peers, views[:1], arguments.repeats, arguments.rounds)
    batch = times(peers, views[: arguments.batch_size], 1, arguments.rounds)
    runtime, spec = Runtime(CPU, "fp32"), teacher.spec
    place(teacher, runtime)
    gallery = embedded(
        lambda part: embed_batch(teacher, part, spec, runtime=runtime),
        centre_crops(images, spec.size, len(images)),
        arguments.batch_size,
    )
    print(f"{machine_name(CPU)}; {machine()}, onnxruntime {onnxruntime.__version__}")
    print(
        f"{student.config.backbone}, {student.spec.size} px, {student.dimension}-d; gallery "
        f"{spec.size} px; {len(images)} images; medians of {arguments.rounds} rounds\n"
    )
    print(
        "| | one query, ms | CPU ms | × | batch of "
        f"{arguments.batch_size}, images/s | × | largest difference | least cosine | sym mAP | "
        "asym mAP |"
    )
    print("|---|" + "---:|" * 9)
    found = {name: embedded(peer[0], views, arguments.batch_size) for name, peer in peers.items()}
    for name, vectors in found.items():
        apart = (vectors - found[PLAIN]).abs().max()
        cosine = (vectors * found[PLAIN]).sum(1).min()
        (wall, cpu), (wall_batch, _) = one[name], batch[name]
        print(
            f"| {name} | {1000 * wall:.2f} | {1000 * cpu:.2f} | {one[PLAIN][0] / wall:.1f} | "
            f"{len(views[: arguments.batch_size]) / wall_batch:.0f} | "
            f"{batch[PLAIN][0] / wall_batch:.1f} | {apart:.1e} | {cosine:.4f} | "
            f"{mean_ap(vectors, vectors, images):.2f} | {mean_ap(vectors, gallery, images):.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
