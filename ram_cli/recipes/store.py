"""Where the vectors of a large test are kept, so that it can go on and need not fit into memory."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ram_cli.datasets import ImageSet
from ram_cli.errors import OutputError
from ram_cli.evaluation.stored import map_vectors, store_vectors
from ram_cli.progress import SILENT, Reporter
from ram_cli.recipes.hashes import images_hash
from ram_cli.recipes.prepared import PREPARED
from ram_cli.settings.choices import KeepVectors

LARGE = 1 << 30
"""Bytes of vectors from which on they are kept on disk unless a person says otherwise."""

_FORMAT = "1"


@dataclass(frozen=True, slots=True)
class VectorStore:
    """Keeps vectors in `prepared/vectors` below the folder of the datasets.

    Attributes:
        data_root: Folder of the datasets.
        keep: Whether to: "yes", "no", or "auto" for what is `LARGE`.
        reporter: Told where they are.
    """

    data_root: Path
    keep: KeepVectors = "auto"
    reporter: Reporter = SILENT

    def wants(self, shape: Sequence[int]) -> bool:
        """Whether vectors `[N, D]` belong on disk."""
        count, dimension = shape
        return 4 * count * dimension > LARGE if self.keep == "auto" else self.keep == "yes"

    def vectors(
        self,
        images: ImageSet,
        shape: tuple[int, int],
        dependence: Mapping[str, str],
        sections: Callable[..., Iterator[tuple[Tensor, Tensor, int]]],
    ) -> Tensor:
        """Vectors `[N, D]` of the images, mapped from the file that they are in afterwards.

        Args:
            images: The images, N.
            shape: N and D.
            dependence: All that the vectors depend on besides the images.
            sections: Computes them, from the batches `done` on.

        Raises:
            OutputError: The disk is full or cannot be written.
        """
        metadata = {"format": _FORMAT, **dependence, "images": images_hash(images)}
        name = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()[:32]
        path = self.data_root / PREPARED / "vectors" / f"{name}.safetensors"
        store_vectors(path, shape, metadata, lambda done: sections(done=done), self.reporter)
        found = map_vectors(path, metadata)
        if found is None:
            raise OutputError(f"{path} was changed while it was in use. Run again.")
        self.reporter.note(f"{images.name}: vectors are in {path}")
        return found
