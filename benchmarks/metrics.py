"""Exact evaluation by `ram` and by other libraries: time, memory, and whether they agree.

Every image is a query against all others, as in the zero-shot protocol. Each library works in a
process of its own, under a limit of memory and one of time, so that "does not finish" is a result.
Imports and a first small evaluation do not count. Other libraries may live in an environment of
their own; one of them wants an older NumPy than `ram` does:

    python -m venv --system-site-packages peers
    peers/bin/pip install pytorch-metric-learning faiss-cpu torchmetrics \
        open-metric-learning omegaconf
    python benchmarks/metrics.py --python peers/bin/python --sizes 6000 12000 60000

Definitions. "AP" is the mean over the positives of the precision at their ranks, "mAP@R" that of
Musgrave et al. (ECCV 2020): libraries agree on both. The mAP that `ram` shows is the area by the
trapezoidal rule (Oxford protocol), which lies a little lower; it gives all three at once. An image
whose class has no other is left out by `ram` and pytorch-metric-learning, and counts as 0 by the
defaults of the others; the synthetic classes here have at least two.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from evaluation import blend_classes, make_labels, make_vectors
from peers import machine

CHILD = Path(__file__).with_name("metrics_child.py")
TITLES = {
    "ram": "ram: all metrics, whole ranking",
    "pml-r": 'pytorch-metric-learning, k="max_bin_count"',
    "pml-full": "pytorch-metric-learning, whole ranking",
    "torchmetrics": "torchmetrics, RetrievalMAP",
    "torchmetrics-rows": "torchmetrics, functions, query by query",
    "oml": "open-metric-learning, whole ranking",
}
METRICS = ("AP", "mAP@R", "R@1")
AGREE = 1e-4
"""Values within this of each other are equal: scores near each other may swap by rounding."""


def measure(name: str, folder: Path, options: argparse.Namespace) -> dict[str, object]:
    """What the child says, or what became of it."""
    python = sys.executable if name == "ram" else options.python
    command = [python, str(CHILD), name, "vectors.npy", "labels.npy", str(options.gib)]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=60 * options.minutes
        )
    except subprocess.TimeoutExpired:
        return {"fault": f"takes more than {options.minutes:g} min"}
    if done.returncode < 0:
        return {"fault": f"needs more than {options.gib:g} GiB (signal {-done.returncode})"}
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return {"fault": said[-1] if said else f"ends with code {done.returncode}"}
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def median_of(results: list[dict[str, object]]) -> dict[str, object]:
    """The result of median time; a fault counts."""
    faults = [result for result in results if "fault" in result]
    if faults:
        return faults[0]
    return sorted(results, key=lambda result: result["seconds"])[len(results) // 2]  # type: ignore[arg-type,return-value]


def row(size: int, name: str, result: dict, ram: dict) -> str:
    """A line of the table; ratios are to `ram`."""
    start = f"| {size:,} | {TITLES[name]} |"
    if "fault" in result:
        return f"{start} {result['fault']} | | | | | | |"
    values = [
        f"{100 * result['values'][key]:.2f}" if key in result["values"] else "" for key in METRICS
    ]
    times = [f"{result['seconds']:.1f} s", f"{result['cpu']:.1f} s"]
    ratios = "1 ×"
    if name != "ram" and "fault" not in ram:
        ratios = f"{result['seconds'] / ram['seconds']:.1f} ×"
    memory = f"{result['bytes'] / 2**20:,.0f} MiB"
    return " | ".join([f"{start} {times[0]}", ratios, times[1], memory, *values]) + " |"


def compared(
    size: int, names: list[str], options: argparse.Namespace
) -> dict[str, dict[str, object]]:
    """Results by library, for so many synthetic images; all take turns, several rounds."""
    vectors, labels = make_vectors(size, options.dim), make_labels(size, 0)
    labels[-1] = labels[-2]  # no class of one, which libraries count in different ways
    blend_classes(vectors, labels)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "vectors.npy"), vectors.numpy())
        np.save(Path(folder, "labels.npy"), torch.from_numpy(labels).numpy())
        found: dict[str, list[dict]] = {name: [] for name in names}
        for _ in range(options.rounds):
            for name in names:
                found[name].append(measure(name, Path(folder), options))
    return {name: median_of(found[name]) for name in names}


def disagreement(results: dict[str, dict]) -> list[str]:
    """Libraries whose values are not those of `ram`."""
    known = results["ram"].get("values", {})
    return [
        f"{TITLES[name]}: {key} differs by {abs(value - known[key]):.1e}"
        for name, result in results.items()
        for key, value in result.get("values", {}).items()
        if key in known and abs(value - known[key]) > AGREE
    ]


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    """Options, of the command line if none are given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[6000], help="images")
    parser.add_argument("--dim", type=int, default=512, help="dimensions of a vector")
    parser.add_argument("--python", default=sys.executable, help="that has the other libraries")
    parser.add_argument(
        "--libraries", default=",".join(TITLES), help="some of " + ", ".join(TITLES)
    )
    parser.add_argument("--rounds", type=int, default=1, help="runs of each, in turn")
    parser.add_argument("--gib", type=float, default=16, help="address space of each, on top")
    parser.add_argument("--minutes", type=float, default=30, help="time of each")
    options = parser.parse_args(words)
    # An absolute path, without following the link that makes an environment of an interpreter.
    options.python = str(Path(options.python).absolute())
    return options


def main() -> None:
    options = parsed()
    names = list(dict.fromkeys(["ram", *options.libraries.split(",")]))
    print(f"{machine()}; limits {options.gib:g} GiB, {options.minutes:g} min\n")
    print(
        "| images | library | time | against ram | CPU time | memory | "
        + " | ".join(METRICS)
        + " |"
    )
    print("|---:|---|---:|---:|---:|---:|---:|---:|---:|")
    notes = []
    for size in options.sizes:
        results = compared(size, names, options)
        for name in names:
            print(row(size, name, results[name], results["ram"]), flush=True)
        notes += [f"{size:,} images: {line}" for line in disagreement(results)]
    print("\n" + ("\n".join(notes) or f"values agree to {AGREE:g} wherever a library gives them"))


if __name__ == "__main__":
    main()
