"""What each process of the jobs of `test_processes` does: trainings and more, one after the other.

Call: `job_of_processes.py FOLDER RUNS NAME...`; the runs go to `RUNS/NAME`.
"""

import os
import signal
import sys
import time
from pathlib import Path

METHODS = {
    "coupled": {"method": "coupled", "views": 2, "mixup_alpha": 0.3, "epochs": 12},
    "loaded": {
        "method": "coupled",
        "views": 2,
        "mixup_alpha": 0.3,
        "epochs": 12,
        "workers": 1,
        "save_every": 1000,
        "checkpoint_minutes": 60.0,
    },
    "relations": {"method": "rkd", "batch_size": 5},
    "tuples": {"method": "contrastive+", "symmetric": True, "negatives": 2, "fit": "whole"},
    "pool": {"mining": "pool", "negatives": 2, "backbone": "timm:test_resnet", "whitening": 16},
}


def train(name: str, folder: Path, run: Path) -> None:
    """One training: of a teacher if it mines in a pool, else of a student."""
    from ram_cli.engine import RunFolder
    from ram_cli.recipes.distill import run_distill
    from ram_cli.recipes.train import run_train
    from ram_cli.settings import DistillSettings, TrainSettings

    own = {
        "dataset": str(folder / "images"),
        "data_root": folder / "data",
        "image_size": 32,
        "epochs": 1,
        "images_per_epoch": 15,
        "batch_size": 4,
        "accumulate": 2,
        "log_every": 1,
        "checkpoint_minutes": 1e-5,
        "precision": "fp32",
        "device": "cpu",
        "engine": "torch",
        "workers": 0,
        "log_with": "none",
        "resume" if RunFolder(run).checkpoint() else "output": run,
        **METHODS[name],
    }
    if name == "pool":
        run_train(TrainSettings.model_construct(pretrained=False, **own))
    else:
        teacher = str(folder / "teacher")
        run_distill(
            DistillSettings.model_construct(
                teacher=teacher, student=teacher, teacher_image_size=64, **own
            )
        )


def compare_evaluations(folder: Path, target: Path) -> None:
    """Metrics of every query, as the first process of the job has them."""
    import numpy as np

    from ram_cli.datasets import load_dataset
    from ram_cli.engine import resolve_runtime
    from ram_cli.evaluation import label_metrics
    from ram_cli.evaluation.extract import embed_images
    from ram_cli.models import load_model
    from ram_cli.processes import is_first

    images = load_dataset(str(folder / "images"), folder / "data").train
    runtime = resolve_runtime("cpu", "fp32", "torch")
    vectors = embed_images(
        load_model(str(folder / "teacher")), images, runtime=runtime, batch_size=5
    )
    found = label_metrics(vectors, vectors, images.labels, images.labels, (1, 2), same_set=True)
    # Many strips, for one would be the work of one process.
    random = np.random.default_rng(1)
    many, labels = random.normal(size=(6000, 8)).astype(np.float32), random.integers(0, 40, 6000)
    more = label_metrics(many, many, labels, labels, (1,), same_set=True)
    if is_first():
        np.savez(
            target.with_name("evaluation.npz"), vectors=vectors.numpy(), ap=found.ap, more=more.ap
        )


def search(folder: Path, target: Path) -> None:
    """Landmarks with a page of them, for which what was found is looked up once more."""
    from ram_cli.processes import is_first
    from ram_cli.recipes.test import run_test
    from ram_cli.settings import TestSettings

    found = run_test(
        TestSettings.load(
            student=str(folder / "teacher"), dataset=("roxford5k",), data_root=folder / "data",
            report=target.with_suffix(".html"), device="cpu", engine="torch", workers=0,
        )
    )  # fmt: skip
    if is_first():
        target.write_text(repr([row.metrics.map for row in found.rows]))


def prepare(folder: Path, target: Path) -> None:
    """How many images this process has decoded, and what it knows afterwards."""
    from ram_cli.processes import process_index
    from ram_cli.recipes import prepare as recipe
    from ram_cli.settings import PrepareSettings

    decode, decoded = recipe.decode_image, []
    recipe.decode_image = lambda path: decoded.append(path) or decode(path)
    settings = PrepareSettings.model_construct(
        dataset=str(folder / "images"), data_root=folder / "data", device="cpu"
    )
    found = recipe.run_prepare(settings)
    text = f"{len(decoded)} {len(found.dataset.train)} {found.dataset.content_hash}"
    target.with_name(f"prepared-{process_index()}").write_text(text)


def meet(folder: Path, target: Path) -> None:
    """Once all have met the second process dies, if it was not started again."""
    from ram_cli.engine.collectives import gather
    from ram_cli.processes import process_index

    index, again = process_index(), started_again()
    met = gather(index)
    if index == 1 and not again:
        os.kill(os.getpid(), signal.SIGKILL)
    target.with_name(f"met-{index}").write_text(repr((again, met, gather(index))))


def started_again() -> bool:
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


if __name__ == "__main__":
    import torch

    from ram_cli.engine.collectives import leave_processes, start_processes
    from ram_cli.processes import process_index

    torch.set_num_threads(1)
    if started_again() and process_index() == 1:
        time.sleep(1)  # the first one would find what the dead had left
    start_processes(torch.device("cpu"))
    data, runs = Path(sys.argv[1]), Path(sys.argv[2])
    others = {"evaluate": compare_evaluations, "search": search, "prepare": prepare, "meet": meet}
    for word in sys.argv[3:]:
        if word in others:
            others[word](data, runs / word)
        else:
            train(word, data, runs / word)
    leave_processes()
