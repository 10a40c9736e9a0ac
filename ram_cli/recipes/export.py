"""`ram export`: a model folder that others can load."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ram_cli.errors import OutputError
from ram_cli.export import public_record
from ram_cli.models import (
    copy_whitening,
    is_model_folder,
    load_model,
    model_hash,
    read_provenance,
    save_model,
)
from ram_cli.progress import SILENT, Reporter, TableData
from ram_cli.recipes.common import model_folder
from ram_cli.settings import ExportSettings


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written.

    Attributes:
        source: Model folder or name it came from.
        folder: Where it is now.
        hash: Content hash of the model.
        dimension: D of its vectors.
        image_size: Side of its input in pixels.
    """

    source: str
    folder: Path
    hash: str
    dimension: int
    image_size: int

    def to_json(self) -> dict[str, Any]:
        """The result as one JSON document."""
        return {
            "source": self.source,
            "folder": str(self.folder),
            "hash": self.hash,
            "dimension": self.dimension,
            "image_size": self.image_size,
        }

    def tables(self) -> list[TableData]:
        """None."""
        return []

    def notes(self) -> list[str]:
        """Where it is, and how to use it."""
        return [
            f"{self.source} → {self.folder}: {self.dimension} dimensions, {self.image_size} px",
            f"use it: --student {self.folder}, or ram_cli.load_model({str(self.folder)!r})",
        ]


def run_export(settings: ExportSettings, reporter: Reporter = SILENT) -> ExportResult:
    """Write the best, else the final model of a run, or any other model, as a model folder.

    Raises:
        RamError: The model cannot be loaded, or the folder is taken.
    """
    source, target = model_folder(settings.run), settings.to
    if target.exists() and not settings.force and (target.is_file() or any(target.iterdir())):
        raise OutputError(f"{target} exists. Choose another --to, or replace it with --force.")
    if target.is_dir() and any(target.iterdir()) and not is_model_folder(target):
        raise OutputError(f"{target} is no model folder, so it is not replaced. Choose another.")
    if target.is_file():
        raise OutputError(f"{target} is a file. Choose another --to.")
    if target.resolve() == Path(source).resolve():
        raise OutputError(f"{target} is the model itself. Choose another --to.")
    model = load_model(source)
    record = public_record(read_provenance(source)) if is_model_folder(source) else {}
    save_model(model, target, provenance=record)
    if is_model_folder(source) and copy_whitening(source, target):
        reporter.note("the whitening that was learned for it goes with it")
    written = load_model(target)
    if model_hash(written) != model_hash(model):
        raise OutputError(f"{target} does not read back as it was written. Try another disk.")
    return ExportResult(source, target, model_hash(model), model.dimension, model.spec.size)
