"""What each process of the jobs of `test_processes` does: trainings, one after the other.

Call: `job_of_processes.py FOLDER RUNS NAME...`; the runs go to `RUNS/NAME`.
"""

import sys
from pathlib import Path

METHODS = {
    "coupled": {"method": "coupled", "views": 2, "mixup_alpha": 0.3, "epochs": 12},
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
        np.savez(target, vectors=vectors.numpy(), ap=found.ap, more=more.ap)


if __name__ == "__main__":
    import torch

    from ram_cli.engine.collectives import leave_processes, start_processes

    torch.set_num_threads(1)
    start_processes(torch.device("cpu"))
    data, runs = Path(sys.argv[1]), Path(sys.argv[2])
    for word in sys.argv[3:]:
        if word == "evaluate":
            compare_evaluations(data, runs / "evaluation.npz")
        else:
            train(word, data, runs / word)
    leave_processes()
