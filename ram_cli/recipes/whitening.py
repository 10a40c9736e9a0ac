"""Whitening of the vectors of a search: stored with a network, or learned and kept."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ram_cli.datasets import PAIRS, ImageSet, is_search_set, load_pairs, load_search_set
from ram_cli.engine.collectives import all_have, by_first, first_says
from ram_cli.errors import ConfigError, DataError
from ram_cli.evaluation import Whitening, whiten_pca, whiten_supervised
from ram_cli.models import MULTI_SCALE_FILE, is_model_folder, save_whitening, stored_whitening
from ram_cli.processes import is_first
from ram_cli.recipes.blocks import VectorBlocks, write_tensors
from ram_cli.recipes.common import open_dataset
from ram_cli.recipes.comparison import Side
from ram_cli.recipes.hashes import images_hash
from ram_cli.recipes.projection import SHRINKAGE, matching_pairs
from ram_cli.settings import TestSettings

ENOUGH_PAIRS = 10
"""Pairs per dimension that a covariance is estimated from without help."""

_PAIR_SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class WhiteningSource:
    """Images that a whitening is learned from.

    Attributes:
        images: The images, N.
        pairs: Rows of matching images `[P, 2]`; None where nothing is known of them.
    """

    images: ImageSet
    pairs: NDArray[np.int64] | None

    def shrinkage(self, dimension: int) -> float:
        """As for `whiten_supervised`: none, as published, where there are pairs enough."""
        enough = self.pairs is not None and len(self.pairs) >= ENOUGH_PAIRS * dimension
        return 0.0 if enough else SHRINKAGE


@dataclass(slots=True, eq=False)
class Whitenings:
    """The whitening of every gallery network, found or learned once.

    Attributes:
        settings: What was asked for.
        names: Name that the model of a side was loaded by, by the name of the side.
        blocks: Where vectors come from.
    """

    settings: TestSettings
    names: dict[str, str]
    blocks: VectorBlocks
    _found: dict[tuple[int, int], Whitening | None] = field(default_factory=dict)
    _source: WhiteningSource | None = None

    @property
    def label(self) -> str:
        """What is done, for people; empty for nothing."""
        if self.settings.learn_whitening:
            kind = "PCA" if self.settings.whitening_kind == "pca" else "whitened"
            return f"{kind}, {self.settings.learn_whitening}"
        return "whitened, stored" if self.settings.whiten else ""

    def of(self, side: Side) -> Whitening | None:
        """The whitening for a search in the gallery of this side; None where none is asked for.

        Raises:
            ConfigError: The network brings none.
            DataError: It cannot be learned.
        """
        key = (id(side.model), side.size)
        if key not in self._found:
            learn = self.settings.learn_whitening is not None
            self._found[key] = self._learn(side) if learn else self._stored(side)
        return self._found[key]

    def _stored(self, side: Side) -> Whitening | None:
        if not self.settings.whiten:
            return None
        name = self.names[side.name]
        stored = stored_whitening(name, scales=self.blocks.scales, reporter=self.blocks.reporter)
        if stored is None:
            raise ConfigError(
                f"whiten: {name} brings no whitening. Learn one: --learn-whitening sfm120k "
                "(with --store-whitening it is kept)."
            )
        if len(stored[0]) != side.model.dimension:
            raise ConfigError(
                f"whiten: {name} embeds in {side.model.dimension} dimensions, but its whitening is "
                f"of {len(stored[0])}."
            )
        return Whitening(*stored)

    def _learn(self, side: Side) -> Whitening:
        source, kind = self._images(), self.settings.whitening_kind
        if kind == "supervised" and source.pairs is None:
            raise ConfigError(
                f"learn_whitening: {self.settings.learn_whitening} has no matching pairs. Use "
                "--whitening-kind pca, or a dataset with labels or pairs."
            )
        asked = self.settings.whitening_shrinkage
        shrinkage = source.shrinkage(side.model.dimension) if asked is None else asked
        if shrinkage and asked is None and kind == "supervised":
            self.blocks.reporter.note(
                f"whitening: fewer than {ENOUGH_PAIRS} pairs per dimension; their covariance is "
                f"shrunk by {shrinkage:g} (--whitening-shrinkage 0 is as published)"
            )
        pairs = b"" if source.pairs is None or kind == "pca" else source.pairs.tobytes()
        metadata = self.blocks.key(side) | {
            "kind": kind,
            "images": images_hash(source.images),
            "pairs": hashlib.sha256(pairs).hexdigest(),
            "shrinkage": repr(shrinkage),
            "learned_from": source.images.name,
        }
        digest = hashlib.sha256(repr(sorted(metadata.items())).encode()).hexdigest()
        path = self.blocks.folder(side) / f"whitening-{digest[:16]}.safetensors"
        learned = _read(path, metadata)
        if not all_have(learned is not None) or learned is None:
            vectors = self.blocks.all(side, source.images)
            if kind == "pca" or source.pairs is None:
                learned = whiten_pca(vectors)
            else:
                query, positive = source.pairs.T
                learned = whiten_supervised(vectors, query, positive, shrinkage=shrinkage)
            learned = first_says(learned)  # of other machines the last bits may differ
            tensors = {"m": learned.mean, "P": learned.projection.contiguous()}
            if is_first():
                write_tensors(path, tensors, metadata)
        if self.settings.store_whitening and is_first():
            self._store(side, learned, metadata)
        return learned

    def _store(self, side: Side, learned: Whitening, metadata: dict[str, str]) -> None:
        name = self.names[side.name]
        if not is_model_folder(name):
            raise ConfigError(
                f"store_whitening: {name} is no model folder. Make one: ram export {name} --to …"
            )
        path = save_whitening(name, learned.mean, learned.projection, metadata)
        (path.parent / MULTI_SCALE_FILE).unlink(missing_ok=True)  # was published, and is replaced
        self.blocks.reporter.note(f"whitening kept in {path}")

    def _images(self) -> WhiteningSource:
        if self._source is None:
            name = self.settings.learn_whitening or ""
            self._source = self._load(name)
        return self._source

    def _load(self, name: str) -> WhiteningSource:
        settings, reporter = self.settings, self.blocks.reporter
        if name in PAIRS:
            try:
                found = by_first(lambda: load_pairs(name, settings.data_root, reporter=reporter))
            except DataError as error:
                raise DataError(
                    f"{error} A network that brings its own whitening needs none of it: --whiten."
                ) from error
            return WhiteningSource(found.images, found.pairs)
        if is_search_set(name):
            search = by_first(lambda: load_search_set(name, settings.data_root, reporter=reporter))
            return WhiteningSource(search.gallery, None)
        images = open_dataset(name, settings, reporter).train_val
        pairs = np.stack(matching_pairs(images.labels, seed=_PAIR_SEED), axis=1)
        return WhiteningSource(images, pairs if len(pairs) else None)


def _read(path: Path, wanted: dict[str, str]) -> Whitening | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as opened:
            if (opened.metadata() or {}) != wanted:
                return None
            return Whitening(opened.get_tensor("m"), opened.get_tensor("P"))
    except (SafetensorError, OSError):
        return None
