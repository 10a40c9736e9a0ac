"""What a parser finds in a folder: which file belongs to which class of which split."""

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ram_cli.datasets.images import SPLITS, Split
from ram_cli.errors import ConfigError, DataError

FEWEST_CLASSES = 4
PUBLISHED_VAL_RATIO = 0.5
"""Share of the training classes of known datasets: their second half."""

NamedClass = tuple[str, Sequence[str]]
"""Name of a class and the paths of its images, relative to the dataset's folder."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Classes of each split, before any image is looked at.

    Attributes:
        root: Folder that all paths start from.
        splits: For each split its classes, in the order that labels follow.
        notes: What was passed over or looks odd, one remark each.
        pairs: For splits that bring them, the paths of published queries and their positives.
        queries: Test images that search the others; none where each searches all others.
    """

    root: Path
    splits: dict[Split, list[NamedClass]]
    notes: tuple[str, ...] = ()
    pairs: Mapping[Split, Sequence[tuple[str, str]]] = field(default_factory=dict)
    queries: frozenset[str] = frozenset()


def join_within(folder: str, name: str) -> str:
    """Return `folder/name`, or `name` when `folder` is the dataset's folder itself."""
    return f"{folder}/{name}" if folder else name


def check_ratios(test_ratio: float, val_ratio: float) -> None:
    """Refuse shares that leave a split without classes.

    Raises:
        ConfigError: `test_ratio` is not inside 0..1, or `val_ratio` not in 0..1 (1 excluded).
    """
    problems = []
    if not 0 < test_ratio < 1:
        problems.append(f"the share of test classes must lie between 0 and 1, not {test_ratio:g}")
    if not 0 <= val_ratio < 1:
        problems.append(
            f"the share of validation classes must be 0 or more and less than 1, not {val_ratio:g}"
        )
    if problems:
        raise ConfigError(problems)


def order_by_hash(classes: Sequence[NamedClass], seed: int) -> list[NamedClass]:
    """Order classes by SHA-256 of `"{seed}/{name}"`: arbitrary, but the same on every machine."""

    def key(item: NamedClass) -> bytes:
        # Some file systems store accents as two characters: compose them before hashing.
        name = unicodedata.normalize("NFC", item[0])
        return hashlib.sha256(f"{seed}/{name}".encode(errors="surrogateescape")).digest()

    return sorted(classes, key=key)


def divide(
    classes: Sequence[NamedClass], share: float
) -> tuple[list[NamedClass], list[NamedClass]]:
    """Cut `classes` in two; the second part holds `share` of them, never none, never all."""
    second = min(max(round(len(classes) * share), 1), len(classes) - 1) if share > 0 else 0
    cut = len(classes) - second
    return list(classes[:cut]), list(classes[cut:])


def with_val_ratio(listing: Listing, val_ratio: float) -> Listing:
    """Return a listing of which the last `val_ratio` of the training classes are for validation."""
    train, val = divide([*listing.splits["train"], *listing.splits["val"]], val_ratio)
    return replace(listing, splits=listing.splits | {"train": train, "val": val})


def zero_shot_splits(
    classes: Sequence[NamedClass], *, seed: int, test_ratio: float, val_ratio: float
) -> dict[Split, list[NamedClass]]:
    """Divide `classes` at random, reproducibly, into train, val and test.

    Args:
        classes: All classes.
        seed: Another seed gives another split.
        test_ratio: Share of all classes that become test classes.
        val_ratio: Share of the other classes that become validation classes.
    """
    rest, test = divide(order_by_hash(classes, seed), test_ratio)
    train, val = divide(rest, val_ratio)
    return {"train": train, "val": val, "test": test}


def check_class_count(listing: Listing) -> None:
    """Refuse a listing with which nothing can be learnt or measured.

    Raises:
        DataError: Fewer than four classes, or none to train on or none to test on.
    """
    counts = {split: len(classes) for split, classes in listing.splits.items()}
    total = sum(counts.values())
    if total < FEWEST_CLASSES:
        raise DataError(
            f"{listing.root} holds {total} {'class' if total == 1 else 'classes'} of images; "
            f"at least {FEWEST_CLASSES} are needed, two to learn from and two to test on. "
            "Put the images of each class into a folder of their own."
        )
    for split in SPLITS:
        if split != "val" and not counts[split]:
            raise DataError(f"{listing.root} has no {split} classes. Move some classes there.")
