"""Everything that has a peer, beside it, in one run and one Markdown table.

    python benchmarks/summary.py --images FOLDER --to RESULTS.md
    python benchmarks/summary.py --images FOLDER --to RESULTS.md --python peers/bin/python

A quarter of an hour on two cores. Sizes are smaller than those of the single scripts; `metrics.py`
says how to install the other libraries of evaluation. The table is written after every row, and
only rows that were measured are in it.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import evaluation
import extraction
import landmarks
import latency
import metrics
import mining
import numpy as np
import resume
import step
import torch
import views
from commands import RAM, run_to_end
from latency import by_onnxruntime, by_torch
from peers import find_images, machine, take_turns

from ram_cli.export.onnx import write_onnx
from ram_cli.files import write_text


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table; both figures are medians in seconds, wall time."""

    what: str
    peer: str
    ours: float
    other: float

    def __str__(self) -> str:
        times = [written(seconds) for seconds in (self.ours, self.other)]
        return f"| {self.what} | {self.peer} | {' | '.join(times)} | {self.faster:.2g} × |"

    @property
    def faster(self) -> float:
        """Time of the peer over that of `ram`."""
        return self.other / self.ours


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A peer that brings no figure, and why."""

    what: str
    peer: str
    ours: float
    fault: str

    def __str__(self) -> str:
        return f"| {self.what} | {self.peer} | {written(self.ours)} | {self.fault} | |"


Rows = Iterator[Row | Unfinished]


def written(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"


def libraries(options: argparse.Namespace) -> Rows:
    """Exact evaluation by other libraries."""
    names = ["ram", "pml-full", "torchmetrics-rows", "oml"]
    for size in options.sizes:
        words = ["--python", options.python, "--rounds", str(options.rounds), "--minutes", "10"]
        results = metrics.compared(size, names, metrics.parsed(words))
        what = f"exact evaluation, {size:,} images × 512, whole ranking"
        ours = float(str(results["ram"]["seconds"]))
        for name in names[1:]:
            result, title = results[name], metrics.TITLES[name]
            if "fault" in result:
                yield Unfinished(what, title, ours, str(result["fault"]))
            else:
                yield Row(what, title, ours, float(str(result["seconds"])))


def products(options: argparse.Namespace) -> Rows:
    """What is bound by a matrix product, beside that product."""
    size = max(options.sizes)
    probes = [evaluation.measure(size, 512, 0)[0] for _ in range(options.rounds)]
    ours, bare = (
        statistics.median(sum(getattr(probe, name)) for probe in probes)
        for name in ("evaluation", "bare")
    )
    product = "the matrix product alone"
    yield Row(f"exact evaluation, {size:,} images × 512", product, ours, bare)
    bare, ours = mining.measure(mining.parsed(["--rounds", str(options.rounds)]))
    yield Row("hard negatives, 2,000 queries, pool of 20,000 × 2,048", product, ours, bare)
    bare, ours, _ = landmarks.search(200_000, 2048, options.rounds)
    yield Row("revisited protocol, 200,000 gallery images × 2,048", product, ours, bare)


def making_views(options: argparse.Namespace) -> Rows:
    """Coupled views, per image and side."""
    words = ["--images", str(options.images), "--rounds", str(options.rounds)]
    images = find_images(options.images, most=64)
    for sizes in ((224, 448), (96, 224)):
        rates = views.medians_of(images, sizes, views.parsed(words))
        seconds = {name: 1 / rate for name, rate in rates.items()}
        what = f"8 coupled views of an image, {sizes[0]} / {sizes[1]} px"
        yield Row(what, "Pillow + torchvision", seconds["ram"], seconds["Pillow + torchvision"])


def embedding(options: argparse.Namespace) -> Rows:
    """Extraction and a distillation step."""
    words = ["--images", str(options.images), "--rounds", str(options.rounds), "--workers", "1"]
    torch.set_num_threads(options.threads)
    peers = extraction.Peers(extraction.parsed(words))
    images = find_images(options.images, 128)
    runs = peers.runs(images)
    plain, ours = "plain fp32 loop", "ram, `--engine onnxruntime`"
    times = take_turns({name: runs[name] for name in (plain, ours)}, options.rounds)
    what = f"{len(images)} images embedded, 224 px"
    yield Row(what, "plain PyTorch loop", times[ours][0], times[plain][0])
    given = step.parsed([*words, "--steps", "8"])
    training = step.Peers(find_images(options.images, most=64), given)
    times = take_turns(training.runs()["with the making of views"], options.rounds)
    ours, plain = (times[name][0] / given.steps for name in ("ram", "plain fp32 step"))
    yield Row("a distillation step, views included, 96 / 224 px", "plain PyTorch step", ours, plain)


def queries(options: argparse.Namespace) -> Rows:
    """One query of an exported student."""
    model, inputs = extraction.network("efficientnet-lite0", 80), torch.zeros(1, 3, 80, 80).byte()
    with tempfile.TemporaryDirectory() as folder:
        graph = write_onnx(model, Path(folder))
        peers = {
            "PyTorch fp32": by_torch(model, "fp32"),
            "ONNX Runtime": by_onnxruntime(graph.path, options.threads),
        }
        found = latency.times(peers, inputs, 20, options.rounds)
    ours, other = (found[name][0] for name in ("ONNX Runtime", "PyTorch fp32"))
    yield Row("a query of 80 px by `ram export --onnx`", "PyTorch fp32", ours, other)


def start_and_save(options: argparse.Namespace) -> Rows:
    """Start-up of a command, and a checkpoint."""
    times: dict[str, list[float]] = {"ours": [], "torch": []}
    for _ in range(options.rounds + 1):
        times["ours"].append(run_to_end([*RAM, "--help"]).wall)
        times["torch"].append(run_to_end([sys.executable, "-c", "import torch"]).wall)
    ours, other = (statistics.median(found[1:]) for found in times.values())
    yield Row("`ram --help`", "`import torch`", ours, other)
    with tempfile.TemporaryDirectory() as folder:
        words = ["--work", folder, "--rounds", str(options.rounds)]
        size, spent = resume.checkpoints(resume.parsed(words))
    what = f"a checkpoint of a ResNet-50, {size / 2**20:.0f} MiB, with checksums"
    yield Row(what, "the same bytes in one file", spent["write"], spent["bare"])


PARTS: dict[str, Callable[[argparse.Namespace], Rows]] = {
    "libraries": libraries,
    "products": products,
    "views": making_views,
    "embedding": embedding,
    "queries": queries,
    "start": start_and_save,
}


def document(rows: list[Row | Unfinished], options: argparse.Namespace) -> str:
    """The table and what it was measured with."""
    return "\n".join(
        [
            f"{machine()}, NumPy {np.__version__}; medians of {options.rounds} rounds, in turn\n",
            "| what | beside | ram | peer | faster |",
            "|---|---|---:|---:|---:|",
            *map(str, rows),
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=Path, required=True, help="folder of images")
    parser.add_argument("--to", type=Path, default=Path("RESULTS.md"), help="file of the table")
    parser.add_argument("--python", default=sys.executable, help="that has the other libraries")
    parser.add_argument("--sizes", type=int, nargs="+", default=[6000], help="of evaluations")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    options = parser.parse_args()
    rows: list[Row | Unfinished] = []
    started = time.perf_counter()
    for name in options.parts:
        torch.set_num_threads(options.threads)
        for row in PARTS[name](options):
            rows.append(row)
            print(row, flush=True)
            write_text(options.to, document(rows, options))
    print(f"{options.to} is written, after {(time.perf_counter() - started) / 60:.0f} min")


if __name__ == "__main__":
    main()
