"""Every dataset as ordered lists of labelled image files, in splits of disjoint classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """An ordered list of `N` labelled images.

    Attributes:
        name: Dataset and split, as in `"furniture/test"`.
        root: Folder that the paths start from.
        paths: `N` paths relative to `root`, with forward slashes.
        labels: Class of each image, `[N]`, an index into `class_names`.
        class_names: Names of all classes of the dataset, also of its other splits.
        boxes: Regions `[N, 4]` as x1, y1, x2, y2 in pixels of the file, to be cropped before
            anything else; None means whole images.
        queries: Which images search the others, bool `[N]`; None means that each searches all
            others.
        files: Files to read instead of those that the paths name, such as smaller copies; None
            for those themselves.

    Raises:
        ValueError: The lengths differ, or a label names no class.
    """

    name: str
    root: Path
    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    boxes: NDArray[np.float32] | None = None
    queries: NDArray[np.bool_] | None = None
    files: tuple[Path, ...] | None = None

    def __post_init__(self) -> None:
        count = len(self.paths)
        if self.labels.shape != (count,):
            raise ValueError(f"{self.name}: {count} paths, labels of shape {self.labels.shape}")
        if count and not 0 <= self.labels.min() <= self.labels.max() < len(self.class_names):
            raise ValueError(f"{self.name}: a label is outside 0..{len(self.class_names) - 1}")
        if self.boxes is not None and self.boxes.shape != (count, 4):
            raise ValueError(f"{self.name}: {count} paths, boxes of shape {self.boxes.shape}")
        if self.queries is not None and self.queries.shape != (count,):
            raise ValueError(f"{self.name}: {count} paths, queries of shape {self.queries.shape}")
        if self.files is not None and len(self.files) != count:
            raise ValueError(f"{self.name}: {count} paths, {len(self.files)} files")

    def __len__(self) -> int:
        return len(self.paths)

    def path(self, index: int) -> Path:
        """Return the file of image `index`."""
        return self.root / self.paths[index] if self.files is None else self.files[index]

    def subset(self, indices: ArrayLike, name: str | None = None) -> "ImageSet":
        """Return the images at `indices` (integers, or a mask `[N]`), in that order."""
        chosen = np.arange(len(self))[np.asarray(indices)] if np.size(indices) else _NOTHING
        return ImageSet(
            name=self.name if name is None else name,
            root=self.root,
            paths=tuple(self.paths[index] for index in chosen),
            labels=self.labels[chosen],
            class_names=self.class_names,
            boxes=None if self.boxes is None else self.boxes[chosen],
            queries=None if self.queries is None else self.queries[chosen],
            files=None if self.files is None else tuple(self.files[index] for index in chosen),
        )

    @property
    def class_count(self) -> int:
        """Number of classes that have an image here."""
        return len(np.unique(self.labels))


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Three splits of disjoint classes over one folder.

    Attributes:
        name: Name in the table of datasets, or of the folder.
        root: Folder that all paths start from.
        train: Classes to learn from.
        val: Classes to choose settings and epochs by; may be empty.
        test: Classes never seen before the final figure.
        content_hash: SHA-256 (hex) over splits, relative paths, file sizes, labels, boxes,
            queries and pairs.
        skipped: Unreadable files that were left out, relative to `root`.
        pairs: For splits that bring them, published queries and their positives `[P, 2]`, indices
            into the images of the split.
    """

    name: str
    root: Path
    train: ImageSet
    val: ImageSet
    test: ImageSet
    content_hash: str
    skipped: tuple[str, ...] = ()
    pairs: Mapping[Split, NDArray[np.int64]] = field(default_factory=dict)

    @property
    def train_val(self) -> ImageSet:
        """The training images followed by the validation images."""
        return join_images((self.train, self.val), f"{self.name}/train_val")

    @property
    def splits(self) -> dict[Split, ImageSet]:
        """The three splits by name, in the order train, val, test."""
        return {"train": self.train, "val": self.val, "test": self.test}


def join_images(parts: Sequence[ImageSet], name: str) -> ImageSet:
    """Return the images of all `parts` (same root and classes), one part after the other.

    None of them is a query apart from the others any more, and all are read from their own files.
    """
    first = parts[0]
    boxes = [part.boxes for part in parts if part.boxes is not None and len(part)]
    return ImageSet(
        name=name,
        root=first.root,
        paths=tuple(path for part in parts for path in part.paths),
        labels=np.concatenate([part.labels for part in parts]),
        class_names=first.class_names,
        boxes=np.concatenate(boxes) if boxes else None,
    )


_NOTHING = np.zeros(0, dtype=np.int64)
