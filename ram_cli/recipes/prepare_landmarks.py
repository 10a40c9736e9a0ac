"""`ram prepare` for sets that are only searched: counts, images, ground truth, vectors."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ram_cli.datasets import (
    ImageSet,
    LandmarkEntry,
    SearchSet,
    load_distractors,
    load_search_set,
)
from ram_cli.datasets.search_manifest import manifest_hash, write_search_manifest
from ram_cli.datasets.verify import Check
from ram_cli.datasets.whole import check_search_counts
from ram_cli.engine import Runtime
from ram_cli.engine.collectives import by_first
from ram_cli.models import Embedder
from ram_cli.progress import Reporter, TableData
from ram_cli.recipes.blocks import VectorBlocks
from ram_cli.recipes.common import worker_count
from ram_cli.recipes.comparison import Side
from ram_cli.recipes.prepared import PREPARED
from ram_cli.settings import PrepareSettings


@dataclass(frozen=True, slots=True)
class PreparedLandmarks:
    """A set to search, or distractors, of which every image can be decoded.

    Attributes:
        entry: Its row in the table.
        found: What it holds.
        content_hash: Hash of its names, boxes and ground truth.
        manifest: File that names them.
        left_out: Number of unreadable images that were left out.
        features: Folder of the teacher's vectors, if one was named.
    """

    entry: LandmarkEntry
    found: SearchSet | ImageSet
    content_hash: str
    manifest: Path
    left_out: int
    features: Path | None

    @property
    def counts(self) -> dict[str, int]:
        """Number of images by what they are for."""
        if isinstance(self.found, SearchSet):
            return {"queries": len(self.found.queries), "gallery": len(self.found.gallery)}
        return {"distractors": len(self.found)}

    def to_json(self) -> dict[str, Any]:
        """The result as one JSON document."""
        return {
            "name": self.entry.name,
            "protocol": self.entry.protocol,
            "content_hash": self.content_hash,
            "images": self.counts,
            "left_out": self.left_out,
            "manifest": str(self.manifest),
            "features": None if self.features is None else str(self.features),
        }

    def tables(self) -> list[TableData]:
        """One row per use."""
        rows = [[use, f"{count:,}"] for use, count in self.counts.items()]
        return [TableData(self.entry.name, ["used as", "images"], rows, numeric={1})]

    def notes(self) -> list[str]:
        """What was left out, and what was written."""
        lines = [f"left out, unreadable: {self.left_out}"] if self.left_out else []
        lines.append(f"manifest: {self.manifest}")
        if self.features is not None:
            lines.append(
                f"vectors of the teacher, which ram test will use at one scale: {self.features}"
            )
        return lines


def prepare_landmarks(
    entry: LandmarkEntry,
    settings: PrepareSettings,
    teacher: Embedder | None,
    runtime: Runtime | None,
    *,
    check: Check,
    reporter: Reporter,
) -> PreparedLandmarks:
    """Compare counts, decode every image, write the manifest, and keep a teacher's vectors.

    Raises:
        UnreadableImageError: An image cannot be decoded, and they are not to be left out.
        RamError: Anything else that cannot be used or done.
    """
    found, left_out = by_first(lambda: _checked(entry, settings, check, reporter))
    digest = manifest_hash(found)
    manifest = settings.data_root / PREPARED / f"{entry.name}-{digest[:8]}" / "manifest.json"
    features = None
    if teacher is not None and runtime is not None:
        parts = [found.queries, found.gallery] if isinstance(found, SearchSet) else [found]
        features = _keep(teacher, parts, settings, runtime, reporter)
    return PreparedLandmarks(entry, found, digest, manifest, left_out, features)


def _checked(
    entry: LandmarkEntry, settings: PrepareSettings, check: Check, reporter: Reporter
) -> tuple[SearchSet | ImageSet, int]:
    """The set, every image decoded and written down, and how many images were left out."""
    found: SearchSet | ImageSet
    if entry.protocol is None:
        whole = load_distractors(entry.name, settings.data_root)
        check_search_counts(entry, len(whole), 0, whole.root)
        found = load_distractors(
            entry.name,
            settings.data_root,
            skip_unreadable=settings.skip_unreadable,
            check=check,
            reporter=reporter,
        )
        left_out = len(whole) - len(found)
    else:
        listed = load_search_set(entry.name, settings.data_root, verify=False)
        check_search_counts(entry, len(listed.gallery), len(listed.queries), listed.root)
        found = load_search_set(
            entry.name,
            settings.data_root,
            skip_unreadable=settings.skip_unreadable,
            check=check,
            reporter=reporter,
        )
        left_out = len(listed.gallery) - len(found.gallery)
    folder = settings.data_root / PREPARED / f"{entry.name}-{manifest_hash(found)[:8]}"
    write_search_manifest(found, folder / "manifest.json")
    return found, left_out


def _keep(
    teacher: Embedder,
    parts: list[ImageSet],
    settings: PrepareSettings,
    runtime: Runtime,
    reporter: Reporter,
) -> Path:
    blocks = VectorBlocks(
        settings.data_root,
        runtime,
        workers=worker_count(settings.workers, runtime),
        reporter=reporter,
    )
    side = Side("teacher", teacher, teacher.spec.size)
    for images in parts:
        for _ in blocks.each(side, images):  # one block at a time; each is kept as it comes
            pass
    return blocks.folder(side)
