"""CUB, Cars196 and Online Products in their original layouts, and the table that names them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matlab_writer import cells, structs, text, variable, write_matlab

from ram_cli.datasets import DATASETS, LANDMARKS, Counts, load_dataset, parse_name
from ram_cli.datasets.cars import list_cars
from ram_cli.datasets.cub import list_cub
from ram_cli.datasets.listing import Listing
from ram_cli.datasets.presence import check_open_set
from ram_cli.datasets.sop import list_sop
from ram_cli.errors import DataError
from ram_cli.progress import SILENT


def counts(listing: Any) -> dict[str, tuple[int, int]]:
    return {
        split: (len(classes), sum(len(paths) for _, paths in classes))
        for split, classes in listing.splits.items()
    }


def expect(monkeypatch: pytest.MonkeyPatch, name: str, train_val: Counts, test: Counts) -> None:
    monkeypatch.setitem(DATASETS, name, replace(DATASETS[name], train_val=train_val, test=test))


@pytest.fixture
def cub(tmp_path: Path, make_image) -> Path:
    """Species 1, 2, 99, 100 (train) and 101, 200 (test), two images each."""
    root = tmp_path / "data" / "CUB_200_2011"
    rows, labels, kept = [], [], []
    for species in (1, 2, 99, 100, 101, 200):
        for number in range(2):
            image = len(rows) + 1
            path = f"{species:03d}.Some_Bird/Some_Bird_{image:04d}.jpg"
            make_image(root / "images" / path)
            rows.append(f"{image} {path}")
            labels.append(f"{image} {species}")
            kept.append(f"{image} {number}")
    (root / "images.txt").write_text("\n".join(rows) + "\n")
    (root / "image_class_labels.txt").write_text("\n".join(labels) + "\n")
    (root / "train_test_split.txt").write_text("\n".join(kept) + "\n")
    return root


def test_cub_is_split_by_species(cub: Path) -> None:
    listing = list_cub(cub)
    assert counts(listing) == {"train": (2, 4), "val": (2, 4), "test": (2, 4)}
    assert [name for name, _ in listing.splits["val"]] == ["099.Some_Bird", "100.Some_Bird"]
    assert listing.splits["test"][0] == (
        "101.Some_Bird",
        [
            "images/101.Some_Bird/Some_Bird_0009.jpg",
            "images/101.Some_Bird/Some_Bird_0010.jpg",
        ],
    )


@pytest.mark.parametrize("name", ["cub", "cub-test", "cub-train"])
def test_cub_is_loaded_by_name(cub: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    expect(monkeypatch, "cub", Counts(4, 8), Counts(2, 4))
    dataset = load_dataset(name, cub.parent)
    assert dataset.name == "cub"
    assert dataset.root == cub
    assert dataset.train_val.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert dataset.test.labels.tolist() == [4, 4, 5, 5]


@pytest.mark.parametrize("expected", [(Counts(4, 9), Counts(2, 4)), (Counts(4, 8), Counts(3, 4))])
def test_other_counts_than_published_are_refused(
    cub: Path, monkeypatch: pytest.MonkeyPatch, expected: tuple[Counts, Counts]
) -> None:
    expect(monkeypatch, "cub", *expected)
    with pytest.raises(DataError, match="published"):
        load_dataset("cub", cub.parent)


def test_a_listed_image_that_is_missing_is_named(
    cub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expect(monkeypatch, "cub", Counts(4, 8), Counts(2, 4))
    (cub / "images" / "002.Some_Bird" / "Some_Bird_0003.jpg").unlink()
    with pytest.raises(DataError, match=r"Some_Bird_0003\.jpg"):
        load_dataset("cub", cub.parent)


@pytest.mark.parametrize("labels", ["1 1\n", "x\n", "1 one\n", None])
def test_damaged_tables_of_cub_are_refused(cub: Path, labels: str | None) -> None:
    file = cub / "image_class_labels.txt"
    if labels is None:
        file.unlink()
    else:
        file.write_text(labels)
        if labels == "1 one\n":
            (cub / "images.txt").write_text("1 001.A/a.jpg\n")
    with pytest.raises(DataError):
        list_cub(cub)


@pytest.fixture
def sop(tmp_path: Path, make_image) -> Path:
    """Five products to train on (two images each), three to test on (three each)."""
    root = tmp_path / "data" / "Stanford_Online_Products"
    for part, products, images in (("train", range(1, 6), 2), ("test", range(6, 9), 3)):
        lines = ["image_id class_id super_class_id path"]
        for product in products:
            for number in range(images):
                path = f"bicycle_final/{product}_{number}.JPG"
                make_image(root / path)
                lines.append(f"{len(lines)} {product} 1 {path}")
        (root / f"Ebay_{part}.txt").write_text("\n".join(lines) + "\n")
    return root


def test_sop_keeps_its_split(sop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert counts(list_sop(sop)) == {"train": (2, 4), "val": (3, 6), "test": (3, 9)}
    expect(monkeypatch, "sop", Counts(5, 10), Counts(3, 9))
    dataset = load_dataset("sop", sop.parent)
    assert dataset.train.paths[-1] == "bicycle_final/2_1.JPG"
    assert dataset.test.class_names[dataset.test.labels[0]] == "6"


@pytest.mark.parametrize("content", [None, "", "image_id path\n1 x\n", b"\xff\xfe"])
def test_damaged_tables_of_sop_are_refused(sop: Path, content: str | bytes | None) -> None:
    file = sop / "Ebay_test.txt"
    file.unlink()
    if content is not None:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError):
        list_sop(sop)


CAR_NAMES = [f"Maker Model {number} Coupé" for number in range(1, 197)]


@pytest.fixture
def cars(tmp_path: Path, make_image) -> Path:
    """Models 1, 50, 98 (train) and 99, 196 (test), two images each, in mixed order."""
    root = tmp_path / "data" / "cars196"
    rows = []
    for image, model in enumerate([196, 1, 50, 98, 99, 1, 50, 98, 99, 196], start=1):
        path = f"car_ims/{image:06d}.jpg"
        make_image(root / path)
        box = dict(zip(("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"), (1, 2, 300, 4), strict=True))
        rows.append({"relative_im_path": path, **box, "class": model, "test": image % 2})
    write_matlab(
        root / "cars_annos.mat",
        {"annotations": structs(rows), "class_names": cells([text(name) for name in CAR_NAMES])},
    )
    return root


def test_cars_are_split_by_model(cars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = list_cars(cars)
    assert counts(listing) == {"train": (1, 2), "val": (2, 4), "test": (2, 4)}
    assert listing.splits["train"] == [
        (CAR_NAMES[0], ["car_ims/000002.jpg", "car_ims/000006.jpg"]),
    ]
    assert [name for name, _ in listing.splits["test"]] == [CAR_NAMES[98], CAR_NAMES[195]]
    expect(monkeypatch, "cars", Counts(3, 6), Counts(2, 4))
    assert load_dataset("cars-val", cars.parent).val.class_count == 2


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"annotations": structs([{"class": 1}]), "class_names": cells([text("a")])},
        {
            "annotations": structs([{"class": 9, "relative_im_path": "x"}]),
            "class_names": cells([text("a")]),
        },
        {"annotations": text("x"), "class_names": text("y")},
    ],
)
def test_annotations_of_another_shape_are_refused(
    tmp_path: Path, variables: dict[str, variable]
) -> None:
    write_matlab(tmp_path / "cars_annos.mat", variables)
    with pytest.raises(DataError, match=r"cars_annos\.mat"):
        list_cars(tmp_path)


@pytest.mark.parametrize("name", ["cub", "cars", "sop", "inshop"])
def test_a_dataset_that_is_not_there_says_where_it_belongs(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        load_dataset(name, tmp_path / "data")
    message = str(caught.value)
    assert str(tmp_path / "data" / DATASETS[name].folders[0] / DATASETS[name].markers[0]) in message
    assert "http" in message
    assert "\n" not in message


def test_an_unknown_name_lists_the_close_and_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_dataset("funiture-test", tmp_path)
    assert "furniture" in str(caught.value).partition("?")[0]
    for name in DATASETS:
        assert name in str(caught.value)
    assert "folder" in str(caught.value)


@pytest.mark.parametrize(
    ("text_", "parsed"),
    [
        ("cub", ("cub", None)),
        ("cub-test", ("cub", "test")),
        ("furniture-val", ("furniture", "val")),
        ("sop-train", ("sop", "train")),
        ("shop-test", ("shop-test", None)),
        ("cub-best", ("cub-best", None)),
    ],
)
def test_names_may_end_in_a_split(text_: str, parsed: tuple[str, str | None]) -> None:
    assert parse_name(text_) == parsed


def test_the_table_holds_the_published_figures() -> None:
    assert {n: (e.train_val.images, e.test.images) for n, e in DATASETS.items() if e.sources} == {
        "cub": (5864, 5924),
        "cars": (8054, 8131),
        "sop": (59551, 60502),
        "inshop": (25882, 26830),
    }
    for name, entry in DATASETS.items():
        assert entry.name == name
        assert entry.title
        assert entry.licence
        assert entry.content


@pytest.mark.parametrize(
    ("share", "split"), [(0.25, (3, 1, 2)), (0.5, (2, 2, 2)), (0.9, (1, 3, 2))]
)
def test_known_datasets_take_another_share_for_validation(
    cub: Path, monkeypatch: pytest.MonkeyPatch, share: float, split: tuple[int, ...]
) -> None:
    expect(monkeypatch, "cub", Counts(4, 8), Counts(2, 4))
    dataset = load_dataset("cub", cub.parent, val_ratio=share)
    assert tuple(images.class_count for images in dataset.splits.values()) == split
    assert dataset.train_val.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_folder_in_an_original_layout_is_recognised(
    cub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expect(monkeypatch, "cub", Counts(4, 8), Counts(2, 4))
    by_path, by_name = load_dataset(str(cub), cub.parent), load_dataset("cub", cub.parent)
    assert (by_path.name, by_path.content_hash) == ("cub", by_name.content_hash)


def test_a_part_of_an_original_layout_is_used_as_it_is(cub: Path) -> None:
    said: list[str] = []

    class Listening:
        task = staticmethod(SILENT.task)
        note = warn = staticmethod(said.append)

    dataset = load_dataset(str(cub), cub.parent, reporter=Listening())
    assert (dataset.name, len(dataset.test)) == ("CUB_200_2011", 4)
    assert any("cannot be compared" in message for message in said)


def test_images_txt_alone_makes_no_cub(tmp_path: Path, make_image) -> None:
    for label in range(4):
        for number in range(2):
            make_image(tmp_path / "mine" / f"class {label}" / f"{number}.jpg")
    (tmp_path / "mine" / "images.txt").write_text("my notes\n")
    assert load_dataset(str(tmp_path / "mine"), tmp_path).test.class_count == 2


def closed_set(root: Path) -> None:
    """A split of the images of every species, as some people add it to the folder."""
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.jpg"))
    classes = [paths[place : place + 2] for place in range(0, len(paths), 2)]
    split = {"train": [[first] for first, _ in classes], "test": [[last] for _, last in classes]}
    (root / "split.json").write_text(json.dumps(split))


def test_a_closed_set_split_is_never_mixed_in(cub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expect(monkeypatch, "cub", Counts(4, 8), Counts(2, 4))
    before = load_dataset("cub", cub.parent).content_hash
    closed_set(cub)
    said: list[str] = []

    class Listening:
        task = staticmethod(SILENT.task)
        note = warn = staticmethod(said.append)

    named = load_dataset("cub", cub.parent, reporter=Listening())
    assert named.content_hash == before
    assert any("split.json" in message for message in said)
    with pytest.raises(DataError, match=r"001\.Some_Bird.*train and test"):
        load_dataset(str(cub), cub.parent)


@pytest.mark.parametrize("images", [(5_994, 5_794), (8_144, 8_041)])
def test_closed_set_splits_are_known_by_their_size(tmp_path: Path, images: tuple[int, int]) -> None:
    train, test = (
        [f"{part}/{i}.jpg" for i in range(n)] for part, n in zip("ab", images, strict=True)
    )
    half = len(train) // 2
    listing = Listing(
        tmp_path,
        {"train": [("a", train[:half])], "val": [("b", train[half:])], "test": [("c", test)]},
    )
    with pytest.raises(DataError, match="closed-set"):
        check_open_set(listing)
    check_open_set(replace(listing, splits=listing.splits | {"test": [("c", test[1:])]}))


def test_a_million_distractors_come_in_a_hundred_shards():
    lists, shards = LANDMARKS["revisitop1m"].parts
    assert [file.name for file in lists.files] == ["revisitop1m.txt"]
    assert [file.name for file in shards.files] == [
        f"revisitop1m.{number}.tar.gz" for number in range(1, 101)
    ]
    assert len({url for file in shards.files for url in file.urls}) == 100
    assert all(url.endswith(f"/jpg/{f.name}") for f in shards.files for url in f.urls)
