"""What the benchmarks share: images of a folder, peers that take turns, the line on the machine."""

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision

from ram_cli.datasets import ImageSet

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def find_images(folder: Path, most: int) -> ImageSet:
    """At most so many images below a folder, evenly chosen; folders are classes."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if len(found) < 2:
        raise SystemExit(f"no images under {folder}")
    chosen = found[:: max(1, len(found) // most)][:most]
    return image_set(folder, chosen)


def find_classes(folder: Path, most: int) -> ImageSet:
    """All images of at most so many folders."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir())[-most:]
    found = [path for one in folders for path in sorted(one.iterdir())]
    return image_set(folder, [path for path in found if path.suffix.lower() in SUFFIXES])


def image_set(folder: Path, chosen: list[Path]) -> ImageSet:
    names = sorted({path.parent.name for path in chosen})
    labels = np.array([names.index(path.parent.name) for path in chosen], np.int64)
    paths = tuple(path.relative_to(folder).as_posix() for path in chosen)
    return ImageSet("benchmark", folder, paths, labels, tuple(names))


def take_turns(
    runs: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, tuple[float, float]]:
    """Medians over the rounds of wall time and of CPU time in seconds, by name.

    Within a round every peer runs once, so that a busy machine slows all of them. CPU time is that
    of this process and of the workers that ended meanwhile; it hardly depends on other work.
    """
    for run in runs.values():
        run()  # starts what is started once
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), cpu_seconds()
            run()
            times[name].append((time.perf_counter() - wall, cpu_seconds() - cpu))
    return {
        name: (statistics.median(w for w, _ in pairs), statistics.median(c for _, c in pairs))
        for name, pairs in times.items()
    }


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def tree_cpu_seconds(process: int | str = "self") -> float:
    """CPU time of a process and of all its children, those that still run as well (Linux)."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        lists = [one.read_text() for one in Path(f"/proc/{process}/task").glob("*/children")]
    except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
        return 0.0
    own = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return own + sum(tree_cpu_seconds(child) for child in " ".join(lists).split())


def machine() -> str:
    """One line of what was measured with."""
    return (
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; "
        f"torch {torch.__version__} ({torch.get_num_threads()} threads), "
        f"torchvision {torchvision.__version__}, Pillow {PIL.__version__}"
    )


def print_table(times: Mapping[str, tuple[float, float]], count: int, unit: str) -> None:
    """Print rates and ratios; the first row is what others are compared with."""
    plain_wall, plain_cpu = next(iter(times.values()))
    print(f"| | {unit}s/s | against plain | CPU ms per {unit} | against plain |")
    print("|---|---:|---:|---:|---:|")
    for name, (wall, cpu) in times.items():
        print(
            f"| {name} | {count / wall:.1f} | {plain_wall / wall:.1f} × | "
            f"{1000 * cpu / count:.1f} | {plain_cpu / cpu:.1f} × |",
            flush=True,
        )
