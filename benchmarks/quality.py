"""Quality at equal cost: `ram distill` against a plain transcription of the published recipe.

Both train the same student, from the same weights, on the same images in the same order, with the
same seeds. They are measured at the same points of the training on classes that neither has seen;
the time of measuring counts on neither side, everything else does: loading the teacher, handing it
over to ONNX Runtime, workers, checkpoints.

    ram demo                                             # makes the teacher
    python benchmarks/quality.py --teacher ram-demo/teacher --seeds 1,2,3

Results are kept in --work after every training; the same command goes on where it was stopped.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import torch
from peers import machine, tree_cpu_seconds
from published import Budget, train_as_published
from torch import Tensor, nn

from ram_cli.datasets import ImageSet
from ram_cli.engine import Runtime, resolve_runtime
from ram_cli.evaluation import label_metrics
from ram_cli.evaluation.extract import embed_images
from ram_cli.files import write_text
from ram_cli.models import Embedder, load_model
from ram_cli.progress import SILENT
from ram_cli.recipes import distill
from ram_cli.recipes.common import open_dataset, worker_count
from ram_cli.recipes.training import seed_everything
from ram_cli.settings import DistillSettings

PLAIN = "published recipe, plain PyTorch"
OURS: dict[str, dict[str, object]] = {
    "`ram distill`, the same settings": {},
    "`ram distill --views 2 --batch-size 4 --lr 2e-4`": {"views": 2, "batch_size": 4, "lr": 2e-4},
    "`ram distill --method cosine-regression`, 5 × the images": {
        "method": "cosine-regression",
        "views": None,
        "images": 5,
    },
}
"""Rows of the table, and the settings in which they differ from the published ones; "images" is a
factor on their number. The second shows as many images in a quarter of the views, in twice as many
steps. The third shows one plain view of an image; the teacher embeds all images once, within its
time."""


class Curve:
    """Points of one training; wall and CPU time stand still while one is taken.

    Args:
        images: Classes that were not trained on.
        gallery: The teacher's vectors of them `[N, D]`.
    """

    def __init__(self, images: ImageSet, gallery: Tensor) -> None:
        self.images, self.gallery = images, gallery
        self.points: list[dict[str, float]] = []
        self.wall, self.cpu = -time.perf_counter(), -tree_cpu_seconds()
        self.total = (0.0, 0.0)

    def take(self, network: Embedder, epoch: int) -> dict[str, float]:
        """Asymmetric and symmetric mAP of a student, and what was spent on it."""
        with self.stopped() as (wall, cpu):
            # a plain runtime: what measures must be the same on both sides
            query = embed_images(network, self.images, runtime=Runtime(torch.device("cpu"), "fp32"))
            asym, sym = (100 * self.mean_ap(query, side) for side in (self.gallery, query))
            self.points.append({"epoch": epoch, "wall": wall, "cpu": cpu, "asym": asym, "sym": sym})
        return {"score": asym, "mAP": asym}

    def mean_ap(self, query: Tensor, gallery: Tensor) -> float:
        labels = self.images.labels
        return label_metrics(query, gallery, labels, labels, (1,), same_set=True).map

    @contextmanager
    def stopped(self) -> Iterator[tuple[float, float]]:
        """Time spent so far; what is spent inside does not count."""
        wall, cpu = time.perf_counter(), tree_cpu_seconds()
        yield self.wall + wall, self.cpu + cpu
        self.wall -= time.perf_counter() - wall
        self.cpu -= tree_cpu_seconds() - cpu

    def end(self) -> dict[str, object]:
        """All of it, as it is kept."""
        wall, cpu = self.wall + time.perf_counter(), self.cpu + tree_cpu_seconds()
        return {"points": self.points, "wall": wall, "cpu": cpu}


class Quality:
    """Trains by one row of the table and one seed."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.runtime = resolve_runtime("cpu", "fp32", "auto")
        self.dataset = open_dataset("furniture", self.settings(0, Path("unused")), SILENT)
        self.gallery = embed_images(
            load_model(options.teacher), self.dataset.test, runtime=self.runtime
        )

    def settings(self, seed: int, output: Path, **more: object) -> DistillSettings:
        options = self.options
        return DistillSettings.load(
            {
                "dataset": "furniture",
                "data_root": options.work / "data",
                "teacher": options.teacher,
                "student": options.student,
                "image_size": options.size,
                "epochs": options.points,
                "images_per_epoch": options.images // options.points,
                "batch_size": options.batch,
                "accumulate": options.accumulate,
                "lr": options.lr,
                "views": options.views,
                "seed": seed,
                "device": "cpu",
                "output": output,
                **more,
            }
        )

    def ours(self, seed: int, changes: Mapping[str, object], output: Path) -> dict[str, object]:
        """`ram distill` itself; only what it validates by is exchanged."""
        options, changes = self.options, dict(changes)
        factor = int(changes.pop("images", 1))  # type: ignore[call-overload]
        changes["images_per_epoch"] = factor * options.images // options.points
        settings = self.settings(seed, output, **changes)
        curve = Curve(self.dataset.test, self.gallery)

        def validate(network: nn.Module) -> Mapping[str, float]:
            assert isinstance(network, Embedder)
            return curve.take(network, len(curve.points) + 1)

        # all classes train, as in the published final run; those of the test validate
        settings = settings.model_copy(update={"val": False})
        with patch.object(distill, "_validation", lambda _: validate):
            distill.run_distill(settings)
        return curve.end()

    def plain(self, seed: int) -> dict[str, object]:
        """The transcription, from the weights that `ram distill` starts from."""
        options = self.options
        settings = self.settings(seed, Path("unused"))
        curve = Curve(self.dataset.test, self.gallery)
        teacher = load_model(options.teacher).requires_grad_(False).eval()
        seed_everything(seed)
        student = distill._student(settings, teacher)

        def take(network: nn.Module, epoch: int) -> None:
            copied = distill._student(settings, teacher)
            copied.load_state_dict(network.state_dict())
            curve.take(copied, epoch)

        train_as_published(
            student,
            teacher,
            self.dataset.train_val,
            Budget(
                options.points,
                settings.images_per_epoch,
                options.batch,
                options.accumulate,
                options.views,
                options.lr,
                seed,
            ),
            worker_count(None, self.runtime),
            take,
        )
        return curve.end()


def untrained(quality: Quality) -> dict[str, float]:
    """What a student scores before any training."""
    settings = quality.settings(1, Path("unused"))
    seed_everything(1)
    student = distill._student(settings, load_model(quality.options.teacher))
    return Curve(quality.dataset.test, quality.gallery).take(student, 0)


def run_all(options: argparse.Namespace) -> dict[str, list[dict[str, object]]]:
    """Results by row and seed; those of an earlier run are taken over."""
    quality, kept = Quality(options), options.work / "results.json"
    print(f"before training: asym mAP {untrained(quality)['mAP']:.1f}", flush=True)
    budget = {name: str(value) for name, value in vars(options).items() if name not in PLACE}
    known = json.loads(kept.read_text()) if kept.exists() else {"budget": budget, "runs": {}}
    if known["budget"] != budget:
        raise SystemExit(f"{kept} was made with other options: choose another --work")
    rows: dict[str, Callable[[int], dict[str, object]]] = {PLAIN: quality.plain}
    for number, (name, changes) in enumerate(OURS.items()):
        rows[name] = lambda seed, changes=changes, number=number: quality.ours(
            seed, changes, options.work / f"run-{number}-{seed}"
        )
    wanted = [name for name in rows if options.rows is None or options.rows in name]
    for seed in options.seeds:
        for name in dict.fromkeys([PLAIN, *wanted]):
            key = f"{name} / {seed}"
            if key not in known["runs"]:
                known["runs"][key] = rows[name](seed)
                write_text(kept, json.dumps(known, indent=1))
            last = known["runs"][key]["points"][-1]
            print(
                f"seed {seed}, {name}: asym {last['asym']:.1f}, sym {last['sym']:.1f}, "
                f"{known['runs'][key]['wall']:.0f} s",
                flush=True,
            )
    names = dict.fromkeys([PLAIN, *wanted])
    return {name: [known["runs"][f"{name} / {seed}"] for seed in options.seeds] for name in names}


PLACE = ("work", "seeds", "rows")
"""Options that no result depends on."""


def seconds_until(run: Mapping[str, object], target: float, clock: str) -> float | None:
    """Time at which the line through the points first is at an asymmetric mAP, if it ever is."""
    before: Mapping[str, float] | None = None
    for point in run["points"]:  # type: ignore[attr-defined]
        if point["asym"] >= target:
            if before is None:
                return float(point[clock])
            share = (target - before["asym"]) / (point["asym"] - before["asym"])
            return float(before[clock] + share * (point[clock] - before[clock]))
        before = point
    return None


def spread(values: list[float]) -> str:
    """Mean and sample standard deviation."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def ratio(runs: list[dict[str, object]], plain: list[dict[str, object]], clock: str) -> str:
    """How many times sooner the final mAP of the plain training is reached; median of the seeds.

    The plain training may have reached it before its end; then that is what counts.
    """
    found = []
    for run, reference in zip(runs, plain, strict=True):
        target = reference["points"][-1]["asym"]  # type: ignore[index]
        reached, known = (seconds_until(one, target, clock) for one in (run, reference))
        if reached is not None and known is not None:
            found.append(known / reached)
    if len(found) < len(runs):
        return f"{len(found)} of {len(runs)} seeds reach it"
    return f"{statistics.median(found):.1f} ×"


def print_table(rows: Mapping[str, list[dict[str, object]]]) -> None:
    print(
        "\n| training | asym mAP | sym mAP | wall, s | CPU, s | sooner at the published final mAP, "
        "wall | CPU |\n|---|---:|---:|---:|---:|---:|---:|"
    )
    for name, runs in rows.items():
        last = [run["points"][-1] for run in runs]  # type: ignore[index]
        asym, sym = (spread([point[side] for point in last]) for side in ("asym", "sym"))
        wall, cpu = (statistics.median([run[clock] for run in runs]) for clock in ("wall", "cpu"))  # type: ignore[type-var]
        sooner = " | ".join(ratio(runs, rows[PLAIN], clock) for clock in ("wall", "cpu"))
        print(f"| {name} | {asym} | {sym} | {wall:.0f} | {cpu:.0f} | {sooner} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--teacher", required=True, help="model folder, such as ram-demo/teacher")
    parser.add_argument("--student", default="efficientnet-lite0", help="backbone, or a folder")
    parser.add_argument("--work", type=Path, default=Path("quality"), help="folder of the runs")
    parser.add_argument("--size", type=int, default=80, help="pixels of the student's views")
    parser.add_argument("--images", type=int, default=1200, help="images shown in all")
    parser.add_argument("--points", type=int, default=6, help="measurements on the way")
    parser.add_argument("--views", type=int, default=8, help="views of an image")
    parser.add_argument("--batch", type=int, default=8, help="images in a batch")
    parser.add_argument("--accumulate", type=int, default=1, help="batches in a step")
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument("--rows", help="only rows whose name contains this, and the published one")
    parser.set_defaults(seeds=[1, 2, 3])
    options = parser.parse_args()
    print(machine(), flush=True)
    print_table(run_all(options))


if __name__ == "__main__":
    main()
