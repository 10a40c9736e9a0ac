"""Cars196 in its original layout: car_ims/*.jpg beside cars_annos.mat, split by model number."""

from pathlib import Path

from ram_cli.datasets.listing import Listing, NamedClass
from ram_cli.datasets.matlab import read_matlab
from ram_cli.datasets.tables import halved_splits
from ram_cli.errors import DataError

TRAIN_CLASSES = 98


def list_cars(root: Path) -> Listing:
    """List the images: models 1–49 train, 50–98 val, 99–196 test.

    The field `test` of the annotations is not used: it divides the images of every model, and
    retrieval is measured on models not seen in training.

    Raises:
        DataError: cars_annos.mat is missing or damaged.
    """
    path = root / "cars_annos.mat"
    content = read_matlab(path)
    try:
        names = [str(name) for name in content["class_names"]]
        images_of: dict[int, list[str]] = {}
        for image in content["annotations"]:
            number = int(image["class"].item())
            images_of.setdefault(number, []).append(str(image["relative_im_path"]))
        classes: list[NamedClass] = [
            (names[number - 1], sorted(images_of[number])) for number in sorted(images_of)
        ]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} does not hold class_names and annotations as published. Fetch it again."
        ) from error
    seen = sum(number <= TRAIN_CLASSES for number in images_of)
    return Listing(root, halved_splits(classes[:seen], classes[seen:]))
