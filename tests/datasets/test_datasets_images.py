from pathlib import Path

import numpy as np
import pytest

from ram_cli.datasets import Dataset, ImageSet, join_images


@pytest.fixture
def images() -> ImageSet:
    return ImageSet(
        name="shop/test",
        root=Path("root"),
        paths=("a/0.jpg", "a/1.jpg", "c/0.jpg"),
        labels=np.array([0, 0, 2]),
        class_names=("a", "b", "c"),
        boxes=np.arange(12, dtype=np.float32).reshape(3, 4),
    )


def test_an_image_is_found_below_the_root(images: ImageSet) -> None:
    assert len(images) == 3
    assert images.path(2) == Path("root/c/0.jpg")
    assert images.class_count == 2


@pytest.mark.parametrize("chosen", [[2, 0], np.array([2, 0])])
def test_a_subset_keeps_order_labels_and_boxes(images: ImageSet, chosen: object) -> None:
    part = images.subset(chosen, name="part")
    assert part.name == "part"
    assert part.paths == ("c/0.jpg", "a/0.jpg")
    assert part.labels.tolist() == [2, 0]
    assert part.class_names == images.class_names
    assert part.boxes is not None
    assert part.boxes.tolist() == [[8, 9, 10, 11], [0, 1, 2, 3]]


def test_a_subset_by_mask_and_an_empty_subset(images: ImageSet) -> None:
    assert images.subset(images.labels == 0).paths == ("a/0.jpg", "a/1.jpg")
    assert images.subset([]).paths == ()
    assert len(images.subset(np.zeros(3, dtype=bool))) == 0


@pytest.mark.parametrize(
    ("paths", "labels", "boxes"),
    [
        (("a",), [0, 1], None),
        (("a", "b"), [0, 3], None),
        (("a", "b"), [0, -1], None),
        (("a", "b"), [0, 1], np.zeros((1, 4), dtype=np.float32)),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    paths: tuple[str, ...], labels: list[int], boxes: np.ndarray | None
) -> None:
    with pytest.raises(ValueError, match="set"):
        ImageSet("set", Path(), paths, np.array(labels), ("a", "b", "c"), boxes)


def test_train_val_is_train_followed_by_val(images: ImageSet) -> None:
    train, val, test = images.subset([1]), images.subset([0]), images.subset([2])
    dataset = Dataset("shop", images.root, train, val, test, "hash")
    assert dataset.train_val.name == "shop/train_val"
    assert dataset.train_val.paths == ("a/1.jpg", "a/0.jpg")
    assert dataset.train_val.boxes is not None
    assert dataset.train_val.boxes[:, 0].tolist() == [4, 0]
    assert list(dataset.splits) == ["train", "val", "test"]


def test_joining_with_an_empty_part_keeps_the_boxes(images: ImageSet) -> None:
    joined = join_images((images, images.subset([])), "all")
    assert joined.paths == images.paths
    assert joined.boxes is not None
    assert joined.boxes.shape == (3, 4)
