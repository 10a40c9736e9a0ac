"""The commands that faults are injected into, what they leave, and how they are hurt inside."""

import contextlib
import ctypes
import hashlib
import json
import multiprocessing
import os
import random
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from archive_maker import cub_files, tgz
from file_server import FileServer, serving

_NEW_MOUNTS, _PRIVATE, _REMOUNT, _READ_ONLY = 0x20000, 0x44000, 0x20, 1
_ROOM = 1 << 30
_LOADED_ONCE = [
    "timm",
    "torchvision.models",
    "accelerate",
    "jinja2",
    "ram_cli.views.kernels",
    "ram_cli.cli.main",
    "ram_cli.cli.app",
    "ram_cli.cli.console",
    "torch._dynamo",
    "ram_cli.evaluation.report",
    "ram_cli.evaluation.counting",
    "ram_cli.export.card",
]
_CHANGING = ("ms", "seconds", "images_per_second", "time", "date")
_TRAINING = ["--epochs", "2", "--image-size", "32", "--batch-size", "4", "--precision", "fp32",
             "--device", "cpu", "--log-with", "none", "--checkpoint-minutes", "0.00001",
             "--images-per-epoch", "16", "--accumulate", "1"]  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One folder in which a command is hurt, and run again."""

    folder: Path
    problems: list[str]

    @property
    def begun(self) -> Path:
        """A file that says that the command is at work."""
        return self.folder.with_name(f"{self.folder.name}.begun")

    def problem(self, text: str) -> None:
        """Note what should not be."""
        self.problems.append(f"{self.folder}: {text}")
        print(f"    {self.folder.name}: {text}", flush=True)


@dataclass
class Place:
    """Images, a model, and what every command leaves when nothing disturbs it."""

    base: Path
    context: ForkServerContext
    wanted: dict[str, dict[str, str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    jobs: int = 0

    def job(self, name: str) -> Job:
        """A new folder for a command."""
        self.jobs += 1
        folder = self.base / f"{name}-{self.jobs}"
        set_up(self.base, folder)
        return Job(folder, self.problems)


@dataclass(frozen=True)
class Command:
    """Words of a command in a folder, and the files that count of what it leaves there."""

    words: Callable[[Path, Path, int], list[Any]]
    leaves: tuple[str, ...]


def _run_words(name: str, *more: Any) -> Callable[[Path, Path, int], list[Any]]:
    def words(base: Path, folder: Path, workers: int) -> list[Any]:
        run = folder / "run"
        if (run / "config.toml").exists():
            return [name, "--resume", run, "--workers", workers]
        common = ["--dataset", base / "images", "--data-root", folder / "data", "--output", run]
        own = [base / "teacher" if word == "TEACHER" else word for word in more]
        return [name, *common, *_TRAINING, "--workers", workers, *own]

    return words


def _tune_words(base: Path, folder: Path, workers: int) -> list[Any]:
    return ["tune", "--dataset", base / "images", "--data-root", folder / "data",
            "--output", folder / "study", "--teacher", base / "teacher",
            "--student", base / "teacher", "--teacher-image-size", "48", "--views", "2",
            "--trials", "2", "--no-prune", "--workers", workers, *_TRAINING]  # fmt: skip


def _prepare_words(base: Path, folder: Path, workers: int) -> list[Any]:
    return ["prepare", base / "images", "--data-root", folder / "data", "--teacher",
            base / "teacher", "--cache-size", "32", "--workers", workers, "--precision", "fp32",
            "--device", "cpu"]  # fmt: skip


def _test_words(base: Path, folder: Path, workers: int) -> list[Any]:
    return ["test", "--student", folder / "model", "--dataset", base / "images", "--data-root",
            folder / "data", "--save", "--report", folder / "page.html", "--workers", workers,
            "--precision", "fp32", "--device", "cpu"]  # fmt: skip


COMMANDS: dict[str, Command] = {
    "download": Command(
        lambda _base, folder, _workers: ["download", "cub", "--data-root", folder / "data"],
        ("data/CUB_200_2011/**/*",),
    ),
    "prepare": Command(
        _prepare_words,
        ("data/prepared/*/manifest.json", "data/prepared/*/features/*", "data/prepared/**/*.jpg"),
    ),
    "train": Command(
        _run_words("train", "--backbone", "timm:test_resnet", "--no-pretrained", "--whitening", 16,
                   "--negatives", 2),
        ("run/final/model.safetensors", "run/best/model.safetensors"),
    ),
    "distill": Command(
        _run_words("distill", "--teacher", "TEACHER", "--student", "TEACHER",
                   "--teacher-image-size", 48, "--views", 2),
        ("run/final/model.safetensors", "run/best/model.safetensors"),
    ),
    "tune": Command(_tune_words, ("study/best.toml", "study/trials/*/final/model.safetensors")),
    "test": Command(_test_words, ("model/results.json", "model/retrievals.png", "page.html")),
    "export": Command(
        lambda base, folder, _workers: ["export", base / "teacher", "--to", folder / "exported",
                                        "--device", "cpu", "--force"],
        ("exported/model.safetensors", "exported/config.json"),
    ),
}  # fmt: skip


def set_up(base: Path, folder: Path) -> None:
    """What a command finds in its folder."""
    folder.mkdir(exist_ok=True)
    shutil.copytree(base / "teacher", folder / "model", dirs_exist_ok=True)


@contextlib.contextmanager
def prepared(base: Path, names: list[str]) -> Iterator[Place]:
    """Make images and a model, and run every command once undisturbed."""
    import torch
    from PIL import Image

    from ram_cli.models import build_embedder, save_model

    random_pixels = __import__("numpy").random.default_rng(0)
    for label in range(12):
        for number in range(4):
            path = base / "images" / f"class {label:02d}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random_pixels.integers(0, 255, (60, 72, 3), "uint8")).save(path)
    torch.manual_seed(0)
    teacher = build_embedder("timm:test_resnet", pretrained=False, dimension=16, input_size=48)
    save_model(teacher, base / "teacher", provenance={})
    context = multiprocessing.get_context("forkserver")
    recipes = [f"ram_cli.recipes.{name}" for name in COMMANDS]
    context.set_forkserver_preload([*recipes, *_LOADED_ONCE])
    archive = tgz(cub_files() | {f"more/{n}.txt": bytes(5000) for n in range(60)})
    with serving(FileServer()) as server:
        server.files = {"CUB_200_2011.tgz": archive}
        about = {"url": server.url, "size": len(archive)}
        about["sha256"] = hashlib.sha256(archive).hexdigest()
        (base / "server.json").write_text(json.dumps(about))
        place = Place(base, context)
        for name in names:
            _calm(place, name)
        yield place


def _calm(place: Place, name: str) -> None:
    for _ in range(2):  # the first one also warms up what is cached
        job = place.job(name)
        process = place.context.Process(target=run, args=(place.base, job.folder, name, {}))
        process.start()
        while process.exitcode is None and not job.begun.exists():
            process.join(0.002)
        began = time.monotonic()
        process.join()
        if process.exitcode:
            log = job.folder.with_name(f"{job.folder.name}.log").read_text("utf-8")
            raise SystemExit(f"{name} fails undisturbed:\n{log}")
        place.seconds[name] = max(0.02, time.monotonic() - began)
    place.wanted[name] = left(job.folder, name)
    again = left(place.base / f"{name}-{place.jobs - 1}", name)
    if again != place.wanted[name] or not again:
        unlike = sorted(path for path in again if again[path] != place.wanted[name].get(path))
        raise SystemExit(f"{name} leaves {len(again)} files, not the same twice: {unlike}")


def left(folder: Path, name: str) -> dict[str, str]:
    """Hash of every file that counts, by its path."""
    found: dict[str, str] = {}
    for pattern in COMMANDS[name].leaves:
        for path in sorted(folder.glob(pattern)):
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if path.is_file() and not hidden:
                found[path.relative_to(folder).as_posix()] = _digest(path)
    return found


def _digest(path: Path) -> str:
    content = path.read_bytes()
    if path.name == "page.html":  # shows what was measured on a clock
        return str(content.rstrip().endswith(b"</html>"))
    if path.suffix == ".json":
        content = json.dumps(_timeless(json.loads(content)), sort_keys=True).encode()
    elif path.suffix == ".toml":  # names the folder
        content = re.sub(rb"tune-\d+", b"tune", content)
    elif path.suffix == ".safetensors":  # the order of its metadata is left to chance
        size = int.from_bytes(content[:8], "little")
        header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True)
        content = header.encode() + content[8 + size :]
    return hashlib.sha256(content).hexdigest()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _timeless(item)
            for key, item in value.items()
            if not any(word in key.split("_") or key == word for word in _CHANGING)
        }
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def difference(place: Place, job: Job, name: str) -> str:
    """What differs from an undisturbed run; empty for nothing."""
    copy = job.folder.with_name(f"{job.folder.name}-left")
    found, wanted = left(copy if copy.exists() else job.folder, name), place.wanted[name]
    wrong = [path for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path)]
    text = f"{len(wrong)} files differ, such as {min(wrong)}" if wrong else ""
    if text:
        job.problem(text)
    elif not job.problems:
        for folder in (copy, job.folder):
            shutil.rmtree(folder, ignore_errors=True)
    return text


def check_whole(job: Job) -> None:
    """Under its own name a file is whole, whatever happened while it was written."""
    from safetensors import safe_open

    for path in job.folder.rglob("*"):
        parts = path.relative_to(job.folder).parts
        if any(part.startswith(".") for part in parts) or not path.is_file():
            continue
        try:
            if path.suffix == ".safetensors":
                with safe_open(path, framework="np"):
                    pass
            elif path.suffix == ".json":
                json.loads(path.read_text("utf-8"))
            elif path.name == "page.html" and _digest(path) != "True":
                raise ValueError("it has no end")
        except FileNotFoundError:
            pass
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            job.problem(f"{path} is half a file: {error}")


def check_words(job: Job, *, fails: bool, silent: bool = False, log: object = "") -> bool:
    """A command that fails says why in a line, and never shows a traceback; whether it said so."""
    text = job.folder.with_name(f"{job.folder.name}.log{log}").read_text("utf-8", "replace")
    if "Traceback" in text or "internal error" in text:
        job.problem(f"it says: {text[-1500:]}")
    said = any(line.startswith(("error: ", "stopped: ")) for line in text.splitlines())
    if fails and not silent and not said:
        job.problem(f"it does not say why it failed: {text[-300:]!r}")
    return said


def children(process: int) -> list[int]:
    """Processes that a process started."""
    tasks = Path(f"/proc/{process}/task/{process}/children")
    return [int(word) for word in tasks.read_text().split()] if tasks.exists() else []


def run(base: Path, folder: Path, name: str, hurts: dict[str, Any]) -> None:
    """Run a command in this process, hurt as told; the process ends with its exit code."""
    log = folder.with_name(f"{folder.name}.log{hurts.get('log', '')}")
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    if "shm" in hurts:
        _isolate()
        _mount("/dev/shm", f"size={hurts['shm']}")
    if "clock" in hurts:
        _jump(hurts["clock"])
    if name == "download":
        _serve_small_cub(base)
    if "disk" in hurts:
        sys.exit(_on_a_disk(base, folder, name, hurts["disk"], hurts["part"]))
    sys.exit(_call(base, folder, name, hurts.get("workers", 0)))


def _call(base: Path, folder: Path, name: str, workers: int = 0) -> int:
    import torch

    from ram_cli.cli.main import main

    torch.set_num_threads(1)
    words = [str(word) for word in COMMANDS[name].words(base, folder, workers)]
    folder.with_name(f"{folder.name}.begun").touch()
    try:
        main(words)
    except SystemExit as stopped:
        sys.stdout.flush()
        sys.stderr.flush()
        return int(stopped.code or 0)
    return 0


def _on_a_disk(base: Path, folder: Path, name: str, kind: str, part: float) -> int:
    """Run on a disk of its own that refuses to be written, then again with room."""
    _isolate()
    _mount(str(folder), f"size={_ROOM}")
    set_up(base, folder)
    if kind == "full":
        spare = folder.with_name(f"{name}-1")
        used, needed = _bytes(folder), _bytes(spare) - _bytes(folder)
        size = (used + int(part * max(needed, 8192)) + 4096) // 4096 * 4096
        _mount(str(folder), f"size={size}", _REMOUNT)
    else:
        _mount(str(folder), "", _REMOUNT | _READ_ONLY)
    first = _call(base, folder, name)
    text = folder.with_name(f"{folder.name}.log").read_text("utf-8", "replace")
    told = sum(line.startswith("error: ") for line in text.splitlines())
    if first not in (0, 1) or (first == 1) != (told == 1) or "internal error" in text:
        print(f"the first time it ends with {first} and {told} lines")
        return 50 + first
    _mount(str(folder), f"size={_ROOM}", _REMOUNT)
    again = _call(base, folder, name)
    shutil.copytree(folder, folder.with_name(f"{folder.name}-left"))
    return again


def _bytes(folder: Path) -> int:
    """Room that files take on a disk of pages."""
    return sum(4096 + (path.lstat().st_size + 4095) // 4096 * 4096 for path in folder.rglob("*"))


def _isolate() -> None:
    """Mounts from here on are seen by this process alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_MOUNTS) or libc.mount(b"none", b"/", None, _PRIVATE, None):
        raise OSError(ctypes.get_errno(), "this fault needs the right to mount")


def _mount(target: str, options: str, flags: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", target.encode(), b"tmpfs", flags, options.encode()):
        raise OSError(ctypes.get_errno(), f"cannot mount {target}")


def _jump(seed: int) -> None:
    chance, true = random.Random(seed), time.time
    years = 10 * 365 * 86400
    time.time = lambda: true() + chance.uniform(-years, years)
    time.time_ns = lambda: int(time.time() * 1e9)


def _serve_small_cub(base: Path) -> None:
    """A data set of twelve images under the name of a known one, from a server on this machine."""
    from dataclasses import replace

    from ram_cli.datasets import DATASETS, Counts
    from ram_cli.datasets.remote import RemoteFile

    about = json.loads((base / "server.json").read_text())
    name = "CUB_200_2011.tgz"
    file = RemoteFile(
        name=name, urls=(f"{about['url']}/{name}",), size=about["size"], sha256=about["sha256"]
    )
    DATASETS["cub"] = replace(
        DATASETS["cub"], train_val=Counts(4, 8), test=Counts(2, 4), sources=((file,),)
    )
