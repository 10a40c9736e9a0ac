"""`ram prepare`: every image checked once, the split written down, a teacher's vectors kept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ram_cli.datasets import LANDMARKS, Dataset, load_dataset, write_manifest
from ram_cli.datasets.extraction import remove_tree
from ram_cli.datasets.split_file import SPLIT_FILE
from ram_cli.engine.collectives import by_first
from ram_cli.errors import UnreadableImageError
from ram_cli.models import Embedder, load_model
from ram_cli.processes import process_count
from ram_cli.progress import SILENT, Reporter, TableData
from ram_cli.recipes.common import chosen_fit, fit_with, model_folder, open_runtime, worker_count
from ram_cli.recipes.copies import Copies, make_copies
from ram_cli.recipes.features import keep_vectors
from ram_cli.recipes.prepare_landmarks import PreparedLandmarks, prepare_landmarks
from ram_cli.recipes.prepared import MANIFEST, changed_files, prepared_folder, record_files
from ram_cli.settings import PrepareSettings
from ram_cli.transfer import in_units
from ram_cli.views import decode_image


@dataclass(frozen=True, slots=True)
class PrepareResult:
    """A dataset of which every image can be decoded.

    Attributes:
        dataset: The images.
        manifest: File that names them, with labels and split.
        features: File of the teacher's vectors, if one was named.
        copies: Smaller copies for trainings, if a size was named.
    """

    dataset: Dataset
    manifest: Path
    features: Path | None
    copies: Copies | None = None

    def to_json(self) -> dict[str, Any]:
        """The result as one JSON document."""
        return {
            "name": self.dataset.name,
            "root": str(self.dataset.root),
            "content_hash": self.dataset.content_hash,
            "splits": {
                split: {"classes": images.class_count, "images": len(images)}
                for split, images in self.dataset.splits.items()
            },
            "skipped": list(self.dataset.skipped),
            "manifest": str(self.manifest),
            "features": None if self.features is None else str(self.features),
            "copies": None
            if self.copies is None
            else {
                "folder": str(self.copies.folder),
                "size": self.copies.size,
                "images": len(self.copies.files),
                "bytes": self.copies.bytes,
            },
        }

    def tables(self) -> list[TableData]:
        """One row per split."""
        rows = [
            [split, f"{images.class_count:,}", f"{len(images):,}"]
            for split, images in self.dataset.splits.items()
        ]
        columns = ["split", "classes", "images"]
        return [TableData(self.dataset.name, columns, rows, numeric={1, 2})]

    def notes(self) -> list[str]:
        """What was left out, and what was written."""
        lines = [f"left out, unreadable: {path}" for path in self.dataset.skipped]
        lines.append(f"manifest: {self.manifest}")
        if self.features is not None:
            lines.append(f"vectors of the teacher, which ram distill will use: {self.features}")
        if self.copies is not None:
            total = sum(map(len, self.dataset.splits.values()))
            lines.append(
                f"copies of {len(self.copies.files)} of {total} images, which are larger than "
                f"{self.copies.size} px, {in_units(self.copies.bytes)}: {self.copies.folder}. "
                "Trainings read them; tests read the images themselves"
            )
        return lines


def run_prepare(
    settings: PrepareSettings, reporter: Reporter = SILENT
) -> PrepareResult | PreparedLandmarks:
    """Decode every image of a dataset, write its manifest, and keep a teacher's vectors.

    Raises:
        UnreadableImageError: An image cannot be decoded, and they are not to be left out.
        RamError: Anything else that cannot be used or done.
    """
    teacher = _teacher(settings) if settings.teacher else None
    runtime = open_runtime(settings, reporter) if teacher or process_count() > 1 else None
    if (entry := LANDMARKS.get(settings.dataset)) is not None:
        return prepare_landmarks(entry, settings, teacher, runtime, check=_fault, reporter=reporter)
    dataset, copies = by_first(lambda: _checked(settings, reporter))
    features = None
    if teacher is not None and runtime is not None:
        features = keep_vectors(
            teacher,
            dataset,
            settings.data_root,
            runtime=runtime,
            fit=chosen_fit(fit_with(teacher, settings.fit), dataset),
            workers=worker_count(settings.workers, runtime),
            reporter=reporter,
        )
    manifest = prepared_folder(settings.data_root, dataset) / MANIFEST
    return PrepareResult(dataset, manifest, features, copies)


def _checked(settings: PrepareSettings, reporter: Reporter) -> tuple[Dataset, Copies | None]:
    """The dataset, every image decoded, written down; and copies of its images if asked for."""
    dataset = load_dataset(
        _folder_of(settings.dataset),
        settings.data_root,
        split_seed=settings.split_seed,
        test_ratio=settings.test_ratio,
        val_ratio=settings.val_ratio,
        skip_unreadable=settings.skip_unreadable,
        check=_fault,
        reporter=reporter,
    )
    folder = prepared_folder(settings.data_root, dataset)
    _forget_changed(dataset, folder, reporter)
    write_manifest(dataset, folder / MANIFEST)
    record_files(dataset, folder, reporter)
    if settings.cache_size is None:
        return dataset, None
    return dataset, make_copies(dataset, settings.data_root, settings.cache_size, reporter)


def _forget_changed(dataset: Dataset, folder: Path, reporter: Reporter) -> None:
    """Remove vectors and copies of images that have been replaced by others of the same size."""
    changed = changed_files(dataset, folder)
    if changed:
        reporter.note(f"{len(changed)} images changed: their vectors and copies are made anew")
        for place in (folder / "features", *folder.glob("images-*")):
            remove_tree(place)


def _teacher(settings: PrepareSettings) -> Embedder:
    teacher = load_model(model_folder(settings.teacher or ""))
    if settings.teacher_image_size is not None:
        teacher.set_input_size(settings.teacher_image_size)
    return teacher


def _folder_of(dataset: str) -> str:
    """Read the path of a split file as that of its folder."""
    path = Path(dataset).expanduser()
    return str(path.parent) if path.name == SPLIT_FILE and path.is_file() else dataset


def _fault(path: Path) -> str | None:
    """Decode all of an image, as training will; return why that fails."""
    try:
        decode_image(path)
    except UnreadableImageError as error:
        return error.reason
    return None
