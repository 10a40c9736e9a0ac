"""Vectors of any image set, kept on disk in blocks and named by all that they depend on.

A block that is there is never computed again, so that an extraction of a million images goes on at
the last finished block, and only one block need be in memory at a time. Letters: N images, D
dimensions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ram_cli.datasets import ImageSet
from ram_cli.engine import Runtime
from ram_cli.engine.collectives import all_have, wait_for_all
from ram_cli.errors import OutputError
from ram_cli.evaluation.extract import SINGLE_SCALE, arithmetic, embed_images
from ram_cli.files import atomic_file
from ram_cli.models import model_hash
from ram_cli.processes import is_first
from ram_cli.progress import SILENT, Reporter
from ram_cli.recipes.comparison import Side
from ram_cli.recipes.hashes import images_hash
from ram_cli.recipes.prepared import PREPARED
from ram_cli.views import Fit

BLOCK = 4096
"""Images of a block."""

_FORMAT = "1"
_DIGITS = 16


@dataclass(slots=True, eq=False)
class VectorBlocks:
    """Embeds image sets block by block and keeps every block.

    Attributes:
        data_root: Folder of the datasets; blocks lie in `prepared/vectors` below it.
        runtime: Where and in which precision to compute.
        scales: Factors on the size whose vectors are combined.
        fit: What a network sees of an image.
        batch_size: Images in a batch.
        workers: Processes that decode.
        block: Images of a block.
        reporter: Told of the progress.
    """

    data_root: Path
    runtime: Runtime
    scales: Sequence[float] = SINGLE_SCALE
    fit: Fit = "whole"
    batch_size: int = 64
    workers: int = 0
    block: int = BLOCK
    reporter: Reporter = SILENT
    _hashes: dict[int, str] = field(default_factory=dict)

    def all(self, side: Side, images: ImageSet) -> Tensor:
        """Unit vectors `[N, D]` of the images, in their order."""
        blocks = list(self.each(side, images))
        return torch.cat(blocks) if blocks else torch.empty(0, side.model.dimension)

    def each(self, side: Side, images: ImageSet) -> Iterator[Tensor]:
        """Blocks of unit vectors `[*, D]` of the images, in their order.

        Raises:
            UnreadableImageError: A file is missing or cannot be decoded.
            ModelError: A vector is not finite.
            OutputError: The disk is full or cannot be written.
        """
        count = -(-len(images) // self.block)
        for number in range(count):
            first = number * self.block
            part = images.subset(range(first, min(first + self.block, len(images))))
            title = f"embed {images.name}, {side.label}"
            yield self._block(side, part, f"{title}, {number + 1}/{count}" if count > 1 else title)

    def _block(self, side: Side, images: ImageSet, description: str) -> Tensor:
        wanted = self.key(side) | {
            "images": images_hash(images),
            "precision": arithmetic(
                self.runtime, images=len(images), size=side.size, scales=self.scales
            ),
        }
        path = self.folder(side) / f"{wanted['images'][:_DIGITS]}.safetensors"
        kept = _read(path, wanted)
        usable = kept is not None and kept.shape == (len(images), side.model.dimension)
        if all_have(usable) and kept is not None:
            return kept
        vectors = embed_images(
            side.model,
            images,
            runtime=self.runtime,
            size=side.size,
            scales=self.scales,
            batch_size=self.batch_size,
            workers=self.workers,
            reporter=self.reporter,
            description=description,
            fit=self.fit,
        )
        if is_first():
            write_tensors(path, {"vectors": vectors}, wanted)
        wait_for_all()
        return vectors

    def key(self, side: Side) -> dict[str, str]:
        """All that vectors depend on besides the images."""
        if id(side.model) not in self._hashes:
            self._hashes[id(side.model)] = model_hash(side.model)
        return {
            "format": _FORMAT,
            "model": self._hashes[id(side.model)],
            "size": str(side.size),
            "scales": ",".join(repr(float(scale)) for scale in self.scales),
            "precision": self.runtime.precision,
            "fit": self.fit,
        }

    def folder(self, side: Side) -> Path:
        """Folder of all blocks of one network, size, scales and precision."""
        key = self.key(side)
        scales = "_".join(f"{scale:g}" for scale in self.scales)
        name = f"{key['model'][:_DIGITS]}-{side.size}-{self.fit}-{scales}-{key['precision']}"
        return self.data_root / PREPARED / "vectors" / name


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a file of tensors, atomically.

    Raises:
        OutputError: The disk is full or cannot be written.
    """
    with atomic_file(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=metadata)
        except SafetensorError as error:  # a full disk, told in safetensors' own way
            raise OutputError(f"cannot write {path}: {error}. Is the disk full?") from error


def _read(path: Path, wanted: dict[str, str]) -> Tensor | None:
    """The vectors of a file; None where there is none, or a damaged one, or of something else."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as opened:
            if (opened.metadata() or {}) != wanted:
                return None
            vectors: Tensor = opened.get_tensor("vectors")
    except (SafetensorError, OSError):
        return None
    return vectors if vectors.dtype == torch.float32 else None
