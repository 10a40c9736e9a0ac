"""Every distillation method on the furniture images, with one budget: mAP on unseen classes.

python benchmarks/methods.py --teacher ram-demo/teacher

The student starts from the teacher's own weights and sees small images; each run shows as many
anchors in as many steps at the same learning rate. Methods differ in what an anchor costs, which
the table shows beside the result. One seed: differences of a point or two mean nothing.
"""

import argparse
import time
from pathlib import Path

from ram_cli.engine import resolve_runtime
from ram_cli.losses import METHODS
from ram_cli.models import load_model
from ram_cli.progress import SILENT
from ram_cli.recipes.common import open_dataset
from ram_cli.recipes.comparison import Comparison, Side
from ram_cli.recipes.distill import run_distill
from ram_cli.recipes.features import keep_vectors
from ram_cli.settings import DistillSettings


def distill_settings(options: argparse.Namespace, output: Path, **more: object) -> DistillSettings:
    return DistillSettings.load(
        {
            "dataset": "furniture",
            "data_root": options.work / "data",
            "teacher": options.teacher,
            "student": options.student or options.teacher,
            "image_size": options.size,
            "val": False,
            "epochs": 1,
            "images_per_epoch": options.anchors,
            "batch_size": options.batch,
            "accumulate": 1,
            "lr": options.lr,
            "views": 4,
            "loss_margin": options.margin,
            "seed": options.seed,
            "precision": "fp32",
            "device": options.device,
            "log_with": "none",
            "output": output,
            **more,
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--student", default="")
    parser.add_argument("--work", type=Path, default=Path("methods"))
    parser.add_argument("--size", type=int, default=80)
    parser.add_argument("--anchors", type=int, default=2400)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--margin", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--sides", default="teacher,student")
    options = parser.parse_args()
    runtime = resolve_runtime(options.device, "fp32")
    settings = distill_settings(options, options.work / "unused")
    dataset = open_dataset("furniture", settings, SILENT)
    teacher = load_model(options.teacher)
    keep_vectors(teacher, dataset, options.work / "data", runtime=runtime)
    gallery = Side("teacher", teacher, teacher.spec.size)
    comparison = Comparison(runtime)

    def report(name: str, side: str, query: Side, seconds: float) -> None:
        asym = comparison.row(query, gallery, dataset.test).metrics
        sym = comparison.row(query, query, dataset.test).metrics
        numbers = (asym.map, asym.recall_at[0], sym.map, sym.recall_at[0])
        shown = " | ".join(f"{100 * float(number):.1f}" for number in numbers)
        print(f"| {name} | {side} | {shown} | {seconds:.0f} |", flush=True)

    print("| method | others | asym mAP | asym R@1 | sym mAP | sym R@1 | s |")
    print("|---|---|---|---|---|---|---|")
    before = load_model(options.student or options.teacher)
    report("before", "", Side("student", before, options.size), 0)
    for name in options.methods.split(","):
        method = METHODS[name]
        for side in options.sides.split(","):
            symmetric = side == "student"
            if symmetric and not method.runs_symmetric:
                continue
            output = options.work / f"{name}-{side}"
            wanted = {"method": name, "symmetric": symmetric}
            started = time.monotonic()
            if method.kind == "coupled":  # four views of an image count as four anchors
                wanted |= {"images_per_epoch": options.anchors // 4, "batch_size": 4}
            result = run_distill(distill_settings(options, output, **wanted))
            seconds = time.monotonic() - started
            trained = Side("student", load_model(result.model), options.size)
            report(name, side, trained, seconds)


if __name__ == "__main__":
    main()
