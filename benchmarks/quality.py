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
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from curves import Curve, print_table
from peers import machine
from published import Budget, train_as_published
from torch import nn

from ram_cli.engine import resolve_runtime
from ram_cli.evaluation.extract import embed_images
from ram_cli.files import write_text
from ram_cli.models import Embedder, load_model
from ram_cli.progress import SILENT
from ram_cli.recipes import distill
from ram_cli.recipes.common import open_dataset, worker_count
from ram_cli.recipes.training import seed_everything
from ram_cli.settings import DistillSettings

PLAIN = "published recipe, plain PyTorch"
OURS = (
    "",
    "views=4 batch_size=4 lr=2e-4",
    "method=cosine-regression images=5",
)
"""Trainings by `ram distill`, by the settings that differ from the published ones; "images" is a
factor on their number. The second shows as many images in half of the views, in twice as many
steps; of four such it had the best mAP on validation classes (`--measure val`). The third shows one
plain view of an image; the teacher embeds all images once, within its time. `--try` adds others."""


def row_name(changes: str) -> str:
    """How the table calls a training with these settings."""
    pairs = [part.split("=") for part in changes.split()]
    flags = " ".join(
        f"--{key.replace('_', '-')} {value}" for key, value in pairs if key != "images"
    )
    factor = "".join(f", {value} × the images" for key, value in pairs if key == "images")
    return f"`ram distill {flags}`{factor}" if flags else "`ram distill`, the same settings"


class Quality:
    """Trains by one row of the table and one seed."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.runtime = resolve_runtime("cpu", "fp32", "auto")
        self.dataset = open_dataset("furniture", self.settings(0, Path("unused")), SILENT)
        if options.measure == "test":
            # all other classes train, as in the published final run; those of the test validate
            known = self.dataset
            none = known.val.subset([])
            self.dataset = replace(known, train=known.train_val, val=known.test, test=none)
        self.gallery = embed_images(
            load_model(options.teacher), self.dataset.val, runtime=self.runtime
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

    def ours(self, seed: int, changes: str, output: Path) -> dict[str, object]:
        """`ram distill` itself; only what it trains on and validates by is exchanged."""
        options = self.options
        given: dict[str, object] = dict(part.split("=") for part in changes.split())
        if "method" in given:
            given.setdefault("views", None)
        factor = int(str(given.pop("images", 1)))
        given["images_per_epoch"] = factor * options.images // options.points
        settings = self.settings(seed, output, **given)
        curve = Curve(self.dataset.val, self.gallery)

        def validate(network: nn.Module) -> Mapping[str, float]:
            assert isinstance(network, Embedder)
            return curve.take(network, len(curve.points) + 1)

        with ExitStack() as exchanged:
            for name, other in (
                ("_validation", lambda _: validate),
                ("open_dataset", lambda *_: self.dataset),
            ):
                exchanged.enter_context(patch.object(distill, name, other))
            distill.run_distill(settings)
        return curve.end()

    def plain(self, seed: int) -> dict[str, object]:
        """The transcription, from the weights that `ram distill` starts from."""
        options = self.options
        settings = self.settings(seed, Path("unused"))
        curve = Curve(self.dataset.val, self.gallery)
        teacher = load_model(options.teacher).requires_grad_(False).eval()
        seed_everything(seed)
        student = distill.build_student(settings, teacher)

        def take(network: nn.Module, epoch: int) -> None:
            copied = distill.build_student(settings, teacher)
            copied.load_state_dict(network.state_dict())
            curve.take(copied, epoch)

        train_as_published(
            student,
            teacher,
            self.dataset.train,
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
    student = distill.build_student(settings, load_model(quality.options.teacher))
    return Curve(quality.dataset.val, quality.gallery).take(student, 0)


def run_all(options: argparse.Namespace) -> dict[str, list[dict[str, object]]]:
    """Results by row and seed; those of an earlier run are taken over."""
    quality, kept = Quality(options), options.work / "results.json"
    print(f"before training: asym mAP {untrained(quality)['mAP']:.1f}", flush=True)
    budget = {name: str(value) for name, value in vars(options).items() if name not in PLACE}
    known = json.loads(kept.read_text()) if kept.exists() else {"budget": budget, "runs": {}}
    if known["budget"] != budget:
        raise SystemExit(f"{kept} was made with other options: choose another --work")
    rows: dict[str, Callable[[int], dict[str, object]]] = {PLAIN: quality.plain}
    for changes in (*OURS, *options.tried):
        folder = changes.replace(" ", "-").replace("=", "-") or "same"
        rows[row_name(changes)] = lambda seed, changes=changes, folder=folder: quality.ours(
            seed, changes, options.work / f"{folder}-{seed}"
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


PLACE = ("work", "seeds", "rows", "tried")
"""Options that no result depends on."""


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
    parser.add_argument(
        "--measure", choices=("test", "val"), default="test", help="classes; val to choose settings"
    )
    parser.add_argument(
        "--try",
        dest="tried",
        action="append",
        default=[],
        metavar="'VIEWS=2 LR=2e-4'",
        help="one more training by `ram distill`, with these settings; repeat for others",
    )
    parser.add_argument("--rows", help="only rows whose name contains this, and the published one")
    parser.set_defaults(seeds=[1, 2, 3])
    options = parser.parse_args()
    print(machine(), flush=True)
    print_table(run_all(options), PLAIN)


if __name__ == "__main__":
    main()
