"""Stanford Online Products in its original layout: eBay listings, 22,634 products."""

from pathlib import Path

from ram_cli.datasets.listing import Listing, NamedClass
from ram_cli.datasets.tables import class_number, halved_splits, read_columns

HEADER = ("image_id", "class_id", "super_class_id", "path")


def list_sop(root: Path) -> Listing:
    """List the images: Ebay_train.txt holds train (first half) and val, Ebay_test.txt test.

    Raises:
        DataError: One of the two files is missing or damaged.
    """
    train_val, test = (_products(root / f"Ebay_{part}.txt") for part in ("train", "test"))
    return Listing(root, halved_splits(train_val, test))


def _products(path: Path) -> list[NamedClass]:
    images_of: dict[int, list[str]] = {}
    for _, product, _, image in read_columns(path, len(HEADER), header=HEADER):
        images_of.setdefault(class_number(product, path), []).append(image)
    return [(str(product), images_of[product]) for product in sorted(images_of)]
