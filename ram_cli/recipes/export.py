"""`ram export`: model folders that others can load, each with its card."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ram_cli.engine import resolve_runtime
from ram_cli.errors import ModelError, OutputError
from ram_cli.export import Push, check_name, check_repository, push_folder
from ram_cli.files import atomic_folder
from ram_cli.models import (
    GALLERY_WHITENING_FILE,
    Embedder,
    convert_whitening,
    copy_whitening,
    is_model_folder,
    load_model,
    model_hash,
    save_whitening,
    stored_whitening,
    write_model,
)
from ram_cli.progress import SILENT, Reporter, TableData
from ram_cli.recipes.common import model_folder
from ram_cli.recipes.onnx import OnnxReport, write_graphs
from ram_cli.recipes.publication import Part, keep_results_of, parts_of, repositories, text_of_card
from ram_cli.settings import ExportSettings
from ram_cli.version import __version__

TOLERANCE = 1e-6
"""Largest difference of a vector's component before and after that passes for the same."""

_PROBES = 4


@dataclass(frozen=True, slots=True)
class Exported:
    """One model that was written.

    Attributes:
        source: Model folder, file or name it came from.
        folder: Where it is now.
        hash: Content hash of the model.
        dimension: D of its vectors.
        image_size: Side of its input in pixels.
        difference: Largest difference between components of vectors before and after.
        onnx: Graphs that were written with it.
    """

    source: str
    folder: Path
    hash: str
    dimension: int
    image_size: int
    difference: float
    onnx: OnnxReport | None = None

    def to_json(self) -> dict[str, Any]:
        """The model as a JSON object."""
        return {
            "source": self.source,
            "folder": str(self.folder),
            "hash": self.hash,
            "dimension": self.dimension,
            "image_size": self.image_size,
            "difference": self.difference,
            **({} if self.onnx is None else {"onnx": self.onnx.to_json()}),
        }


@dataclass(frozen=True, slots=True)
class Pushed:
    """One folder on the Hub.

    Attributes:
        repository: `owner/name`.
        files: Names and sizes in bytes.
        commit: Its address; None where nothing was sent.
        name: What loads it from there.
    """

    repository: str
    files: list[tuple[str, int]]
    commit: str | None
    name: str

    def to_json(self) -> dict[str, Any]:
        """The folder as a JSON object."""
        files = [{"path": path, "bytes": size} for path, size in self.files]
        return {"repository": self.repository, "commit": self.commit, "files": files}


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written, and published: the model, and for a pair its teacher."""

    model: Exported
    teacher: Exported | None = None
    pushed: list[Pushed] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The result as one JSON document."""
        teacher = {} if self.teacher is None else {"teacher": self.teacher.to_json()}
        hub = {"hub": [one.to_json() for one in self.pushed]} if self.pushed else {}
        return self.model.to_json() | teacher | hub

    def tables(self) -> list[TableData]:
        """The files that would be sent, where nothing was."""
        rows = [
            [one.repository, path, f"{size:,}"]
            for one in self.pushed
            if one.commit is None
            for path, size in one.files
        ]
        columns = ["repository", "file", "bytes"]
        return [TableData("would be sent", columns, rows, numeric={2})] if rows else []

    def notes(self) -> list[str]:
        """Where it is, whether it still is the same model, and how to use it."""
        lines = []
        for one in (self.model, self.teacher):
            if one is not None:
                lines.append(
                    f"{one.source} → {one.folder}: {one.dimension} dimensions, "
                    f"{one.image_size} px; vectors before and after differ by "
                    f"{one.difference:.1e} at most"
                )
                lines += [] if one.onnx is None else one.onnx.notes()
        lines += [f"published: {one.commit}" for one in self.pushed if one.commit]
        sent = self.pushed[-1] if self.pushed and self.pushed[-1].commit else None  # student last
        name = sent.name if sent else str(self.model.folder)
        use = f"use it: --student {name}"
        if self.teacher is not None:
            use += " --asym, which finds " + (
                "its teacher there" if sent else "the teacher beside it"
            )
        return [*lines, f"{use}, or ram_cli.load_model({name!r})"]


def run_export(settings: ExportSettings, reporter: Reporter = SILENT) -> ExportResult:
    """Write the best, else the final model of a run, or any other model, as a model folder.

    Raises:
        RamError: The model cannot be loaded, the folder is taken, or the copy is not the model.
    """
    source, target = model_folder(settings.run), settings.to
    _check_target(source, target, force=settings.force)
    pushes = _pushes(settings)
    for push in pushes:
        check_name(push.repository)
        if not settings.dry_run:
            check_repository(push)
    parts = parts_of(source, settings, reporter)
    with atomic_folder(target) as staging:
        done = [_write(part, staging, settings, reporter) for part in parts]
    pushed = [_push(push, settings, reporter) for push in pushes]
    return ExportResult(done[0], done[1] if len(done) > 1 else None, pushed)


def _pushes(settings: ExportSettings) -> list[Push]:
    """What goes where on the Hub; the teacher first, so that a student never lacks its own."""
    known = [
        Push(settings.to / place, repository, settings.revision, settings.private)
        for place, repository in repositories(settings).items()
    ]
    return known[::-1]


def _push(push: Push, settings: ExportSettings, reporter: Reporter) -> Pushed:
    files = push.files()
    if settings.dry_run:
        return Pushed(push.repository, files, None, push.name)
    total = sum(size for _, size in files)
    reporter.note(f"sending {len(files)} files, {total / 1e6:.1f} MB, to {push.repository}")
    commit = push_folder(push, f"Model of ram {__version__}")
    return Pushed(push.repository, files, commit, push.name)


def _check_target(source: str, target: Path, *, force: bool) -> None:
    """Refuse a place that is taken, whatever it is taken by.

    Raises:
        OutputError: It is, and may not be replaced.
    """
    if target.is_file():
        raise OutputError(f"{target} is a file. Choose another --to.")
    if target.exists() and any(target.iterdir()):
        if not force:
            raise OutputError(f"{target} exists. Choose another --to, or replace it with --force.")
        pair = all(is_model_folder(target / name) for name in ("student", "teacher"))
        if not is_model_folder(target) and not pair:
            raise OutputError(
                f"{target} is no model folder, so it is not replaced. Choose another."
            )
    if target.resolve() in (Path(source).resolve(), *Path(source).resolve().parents):
        raise OutputError(f"{target} is the model itself. Choose another --to.")


def _write(part: Part, staging: Path, settings: ExportSettings, reporter: Reporter) -> Exported:
    """Write one model with all that goes with it, and read it back.

    Raises:
        OutputError: What was written is not the model.
    """
    folder, target = staging / part.place, settings.to / part.place
    folder.mkdir(exist_ok=True)
    before = _vectors(part.model)
    write_model(part.model, folder, provenance=part.record)
    _keep_whitening(part, folder, reporter)
    keep_results_of(part, folder)
    written = load_model(folder)
    difference = float((_vectors(written) - before).abs().max())
    if model_hash(written) != model_hash(part.model) or not difference <= TOLERANCE:
        raise OutputError(
            f"{target} does not read back as it was written: vectors differ by {difference:.1e}. "
            "Try another disk."
        )
    runtime = resolve_runtime(settings.device, "fp32")
    onnx = write_graphs(folder, part.model, part.source, settings, reporter)
    graphs = None if onnx is None else onnx.on_card(part.model)
    text_of_card(part, written, runtime, folder, graphs)
    return Exported(
        part.source,
        target,
        model_hash(written),
        part.model.dimension,
        part.model.spec.size,
        difference,
        onnx,
    )


def _keep_whitening(part: Part, folder: Path, reporter: Reporter) -> None:
    """Write the whitening of a model's searches, so that `embed` gives what it gave before."""
    keep = copy_whitening if is_model_folder(part.source) else convert_whitening
    if keep(part.source, folder):
        reporter.note("the whitening that was learned for it goes with it")
    if part.gallery is None:
        return
    try:
        whitening = stored_whitening(part.gallery, reporter=reporter)
    except ModelError as error:
        if part.place:
            raise
        reporter.warn(f"the whitening of its gallery does not go with it: {error}")
        return
    if whitening is not None:
        metadata = {"published_with": Path(part.gallery).name}
        save_whitening(folder, *whitening, metadata, GALLERY_WHITENING_FILE)


def _vectors(model: Embedder) -> Tensor:
    """Vectors `[4, D]` of images that are always the same: smooth noise at the model's size."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(_PROBES, 3, 8, 8, generator=generator)
    size = model.spec.size
    images = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    with torch.inference_mode():
        vectors: Tensor = model(images)
    return vectors
