"""Cars196: car_ims/*.jpg beside cars_annos.mat, or our list of the same, split by model number."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from ram_cli.datasets.listing import Listing, NamedClass
from ram_cli.datasets.matlab import read_matlab
from ram_cli.datasets.tables import class_number, halved_splits, read_columns
from ram_cli.errors import DataError

TRAIN_CLASSES = 98
CARS_LIST = "cars_list.txt"
"""What stands for cars_annos.mat where the images come from a copy without it."""
LIST_HEADER = ("class", "part", "path")

_ANNOTATIONS = "cars_annos.mat"


def list_cars(root: Path) -> Listing:
    """List the images: models 1–49 train, 50–98 val, 99–196 test.

    The field `test` of the annotations is not used: it divides the images of every model, and
    retrieval is measured on models not seen in training.

    Raises:
        DataError: cars_annos.mat is missing or damaged.
    """
    ours = not (root / _ANNOTATIONS).is_file() and (root / CARS_LIST).is_file()
    source = root / (CARS_LIST if ours else _ANNOTATIONS)
    names, images_of = _from_list(source) if ours else _annotated(source)
    if images_of and not 0 < min(images_of) <= max(images_of) <= len(names):
        raise DataError(f"{source}: models are numbered 1 to {len(names)}. Fetch it again.")
    classes: list[NamedClass] = [
        (names[number - 1], sorted(images_of[number])) for number in sorted(images_of)
    ]
    seen = sum(number <= TRAIN_CLASSES for number in images_of)
    return Listing(root, halved_splits(classes[:seen], classes[seen:]))


@cache
def car_names() -> tuple[str, ...]:
    """Names of the 196 models in their published order."""
    text = files("ram_cli.datasets").joinpath("cars_names.txt").read_text("utf-8")
    return tuple(text.splitlines())


def _annotated(path: Path) -> tuple[Sequence[str], Mapping[int, list[str]]]:
    """Names, and images by model number, of the published annotations."""
    content = read_matlab(path)
    try:
        names = [str(name) for name in content["class_names"]]
        images_of: dict[int, list[str]] = {}
        for image in content["annotations"]:
            number = int(image["class"].item())
            images_of.setdefault(number, []).append(str(image["relative_im_path"]))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} does not hold class_names and annotations as published. Fetch it again."
        ) from error
    return names, images_of


def _from_list(path: Path) -> tuple[Sequence[str], Mapping[int, list[str]]]:
    """The same, of our list."""
    images_of: dict[int, list[str]] = {}
    for number, _, image in read_columns(path, len(LIST_HEADER), header=LIST_HEADER):
        images_of.setdefault(class_number(number, path), []).append(image)
    return car_names(), images_of
