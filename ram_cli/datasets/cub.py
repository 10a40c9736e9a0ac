"""CUB-200-2011 in its original layout: birds, 200 species, split by species number."""

from pathlib import Path, PurePosixPath

from ram_cli.datasets.listing import Listing, NamedClass
from ram_cli.datasets.tables import class_number, halved_splits, read_columns
from ram_cli.errors import DataError

TRAIN_CLASSES = 100


def list_cub(root: Path) -> Listing:
    """List the images: species 1–50 train, 51–100 val, 101–200 test.

    The file train_test_split.txt is not used: it divides the images of every species, and
    retrieval is measured on species not seen in training.

    Raises:
        DataError: images.txt or image_class_labels.txt is missing or damaged.
    """
    labels_file = root / "image_class_labels.txt"
    path_of = _pairs(root / "images.txt")
    class_of = _pairs(labels_file)
    if path_of.keys() != class_of.keys():
        raise DataError(
            f"{root}: images.txt and image_class_labels.txt do not name the same images. "
            "Unpack the archive again."
        )
    images_of: dict[int, list[str]] = {}
    for image, path in path_of.items():
        number = class_number(class_of[image], labels_file)
        images_of.setdefault(number, []).append(f"images/{path}")
    classes: list[NamedClass] = [
        (PurePosixPath(images_of[number][0]).parent.name, images_of[number])
        for number in sorted(images_of)
    ]
    seen = sum(number <= TRAIN_CLASSES for number in images_of)
    return Listing(root, halved_splits(classes[:seen], classes[seen:]))


def _pairs(path: Path) -> dict[str, str]:
    return {row[0]: row[1] for row in read_columns(path, 2)}
