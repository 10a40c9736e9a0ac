import hashlib
import json
import os
import unicodedata
from pathlib import Path

import pytest

from ram_cli.datasets import list_folder, load_dataset
from ram_cli.datasets.listing import Listing
from ram_cli.errors import ConfigError, DataError


def names(listing: Listing, split: str) -> list[str]:
    return [name for name, _ in listing.splits[split]]  # type: ignore[index]


def all_paths(listing: Listing) -> list[str]:
    return sorted(p for classes in listing.splits.values() for _, paths in classes for p in paths)


def expected_order(classes: list[str], seed: int) -> list[str]:
    return sorted(classes, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).hexdigest())


@pytest.mark.parametrize(
    ("test_ratio", "val_ratio", "sizes"),
    [
        (0.5, 0.5, (2, 2, 4)),
        (0.25, 0.0, (6, 0, 2)),
        (0.01, 0.99, (1, 6, 1)),
        (0.99, 0.5, (1, 0, 7)),
    ],
)
def test_classes_are_split_in_the_order_of_their_hashes(
    class_folders: Path, test_ratio: float, val_ratio: float, sizes: tuple[int, int, int]
) -> None:
    order = expected_order([f"class {label}" for label in range(8)], 3)
    listing = list_folder(class_folders, seed=3, test_ratio=test_ratio, val_ratio=val_ratio)
    train, val, _ = sizes
    assert names(listing, "train") == order[:train]
    assert names(listing, "val") == order[train : train + val]
    assert names(listing, "test") == order[train + val :]


def test_another_seed_gives_another_split(class_folders: Path) -> None:
    splits = {tuple(sorted(names(list_folder(class_folders, seed=s), "test"))) for s in range(6)}
    assert len(splits) > 1


def test_a_composed_and_a_decomposed_accent_fall_on_the_same_side() -> None:
    from ram_cli.datasets.listing import order_by_hash

    plain = [("café", []), ("b", []), ("c", []), ("d", [])]
    apart = [(unicodedata.normalize("NFD", name), paths) for name, paths in plain]
    for seed in range(5):
        order = [name for name, _ in order_by_hash(apart, seed)]
        assert [unicodedata.normalize("NFC", name) for name in order] == [
            name for name, _ in order_by_hash(plain, seed)
        ]


@pytest.mark.parametrize(("test_ratio", "val_ratio"), [(0, 0.5), (1, 0.5), (0.5, 1), (0.5, -0.1)])
def test_ratios_out_of_range_are_refused(
    class_folders: Path, test_ratio: float, val_ratio: float
) -> None:
    with pytest.raises(ConfigError):
        list_folder(class_folders, test_ratio=test_ratio, val_ratio=val_ratio)


def test_what_is_no_image_of_a_class_is_passed_over(class_folders: Path, make_image) -> None:
    before = all_paths(list_folder(class_folders))
    (class_folders / "class 0" / "notes.txt").write_text("x")
    (class_folders / "class 0" / ".hidden.jpg").write_text("x")
    (class_folders / ".git").mkdir()
    make_image(class_folders / ".git" / "0.jpg")
    make_image(class_folders / "loose.jpg")
    (class_folders / "empty").mkdir()
    listing = list_folder(class_folders)
    assert all_paths(listing) == before
    assert sorted(int(note.split()[-1]) for note in listing.notes) == [1, 1, 1]


def test_deep_files_upper_case_endings_and_odd_names_belong(
    class_folders: Path, make_image
) -> None:
    make_image(class_folders / "class 0" / "deep" / "er" / "0.JPG")
    make_image(class_folders / "žluťoučký kůň 🐎" / "ob raz.PNG")
    paths = all_paths(list_folder(class_folders))
    assert "class 0/deep/er/0.JPG" in paths
    assert "žluťoučký kůň 🐎/ob raz.PNG" in paths


def test_links_are_followed_and_circles_end(
    class_folders: Path, tmp_path: Path, make_image
) -> None:
    make_image(tmp_path / "elsewhere" / "0.jpg")
    (class_folders / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (class_folders / "class 0" / "file.jpg").symlink_to(tmp_path / "elsewhere" / "0.jpg")
    (class_folders / "class 0" / "up").symlink_to(class_folders / "class 0")
    paths = all_paths(list_folder(class_folders))
    assert "linked/0.jpg" in paths
    assert "class 0/file.jpg" in paths
    assert len(paths) == 8 * 3 + 2


def test_a_folder_of_images_beside_its_credits_is_entered(class_folders: Path) -> None:
    outer = class_folders.parent / "outer"
    outer.mkdir()
    class_folders.rename(outer / "images")
    (outer / "credits.csv").write_text("class,name\n")
    listing = list_folder(outer)
    assert listing.root == outer
    assert "class 0" in [name for classes in listing.splits.values() for name, _ in classes]
    assert all_paths(listing)[0] == "images/class 0/0.jpg"


@pytest.mark.parametrize("val", ["val", "valid", None])
def test_given_splits_are_kept(tmp_path: Path, make_image, val: str | None) -> None:
    for folder, first in (("train", 0), (val, 4), ("Test", 6)):
        for label in range(first, first + (4 if first == 0 else 2)):
            if folder:
                make_image(tmp_path / folder / f"{label}" / "0.jpg")
    listing = list_folder(tmp_path, val_ratio=0.5)
    assert names(listing, "test") == ["6", "7"]
    if val:
        assert names(listing, "train") == ["0", "1", "2", "3"]
        assert names(listing, "val") == ["4", "5"]
    else:
        assert names(listing, "train") + names(listing, "val") == expected_order(list("0123"), 0)
        assert len(names(listing, "val")) == 2


def test_a_closed_set_is_refused(tmp_path: Path, make_image) -> None:
    for split in ("train", "test"):
        for label in "abcd":
            make_image(tmp_path / split / label / f"{split}.jpg")
    with pytest.raises(DataError, match=r"split\.json"):
        list_folder(tmp_path)


def test_a_train_and_a_val_folder_alone_are_refused(tmp_path: Path, make_image) -> None:
    for label in "abcdefgh":
        make_image(tmp_path / ("train" if label < "e" else "val") / label / "0.jpg")
    with pytest.raises(DataError, match="no test folder"):
        list_folder(tmp_path)


def test_train_may_be_a_class_of_vehicles(tmp_path: Path, make_image) -> None:
    for label in ("train", "bus", "car", "tram"):
        make_image(tmp_path / label / "0.jpg")
    listing = list_folder(tmp_path)
    assert sum(len(classes) for classes in listing.splits.values()) == 4


def test_folders_without_a_use_are_refused(tmp_path: Path, make_image) -> None:
    data_root, shop = tmp_path / "data", tmp_path / "shop"
    with pytest.raises(DataError):
        load_dataset(str(shop), data_root)  # missing
    shop.mkdir()
    with pytest.raises(DataError, match="0 classes"):
        load_dataset(str(shop), data_root)  # empty
    make_image(shop / "0.jpg")
    with pytest.raises(DataError, match="no class folders"):
        load_dataset(str(shop), data_root)
    for count, label in enumerate("abc", start=1):
        make_image(shop / label / "0.jpg")
        with pytest.raises(DataError, match=f"{count} class"):
            load_dataset(str(shop), data_root)
    with pytest.raises(DataError):
        load_dataset(str(shop / "0.jpg"), data_root)  # a file
    make_image(shop / "d" / "0.jpg")
    assert len(load_dataset(str(shop), data_root).train_val) == 2


def write_split(root: Path, content: object) -> None:
    (root / "split.json").write_text(json.dumps(content))


def three(label: int) -> list[str]:
    return [f"class {label}/{number}.jpg" for number in range(3)]


def test_a_written_split_is_honoured(class_folders: Path) -> None:
    content = {"train": [three(5), three(1)], "val": [], "test": [three(0)[:2], three(2)]}
    write_split(class_folders, content)
    listing = list_folder(class_folders)
    assert names(listing, "train") == ["class 5", "class 1"]
    assert names(listing, "val") == []
    assert listing.splits["test"][0] == ("class 0", three(0)[:2])


def test_a_written_split_without_val_gets_one(class_folders: Path) -> None:
    write_split(class_folders, {"train": [three(n) for n in range(4)], "test": [three(4)]})
    listing = list_folder(class_folders, val_ratio=0.25)
    assert len(names(listing, "train")) == 3
    assert len(names(listing, "val")) == 1


def test_classes_that_share_folders_are_numbered(class_folders: Path) -> None:
    mixed = [[a, b] for a, b in zip(three(0), three(1), strict=True)]
    write_split(class_folders, {"train": mixed, "test": [three(2), three(3)]})
    listing = list_folder(class_folders, val_ratio=0)
    assert sorted(names(listing, "train")) == ["train 0", "train 1", "train 2"]


def test_all_faults_of_a_written_split_are_named_together(class_folders: Path) -> None:
    absent, above = "class 0/9.jpg", "../x.jpg"
    write_split(
        class_folders,
        {
            "train": [[*three(0), absent], three(1)[:1]],
            "test": [[above, three(0)[0]], three(1)[1:]],
        },
    )
    with pytest.raises(DataError) as caught:
        list_folder(class_folders)
    for fault in (absent, above, three(0)[0]):
        assert fault in str(caught.value)


def test_a_class_in_two_splits_is_refused(class_folders: Path) -> None:
    content = {"train": [three(0)[:1], three(1)], "test": [three(0)[1:], three(2)]}
    write_split(class_folders, content)
    with pytest.raises(DataError, match="class 0"):
        list_folder(class_folders)


@pytest.mark.parametrize(
    "content",
    [[], {"train": []}, {"train": [[]], "test": [[1]]}, {"train": 1, "test": [], "x": []}],
)
def test_a_written_split_of_another_shape_is_refused(class_folders: Path, content: object) -> None:
    write_split(class_folders, content)
    with pytest.raises(DataError):
        list_folder(class_folders)


def test_a_written_split_that_is_no_json_is_refused(class_folders: Path) -> None:
    (class_folders / "split.json").write_bytes(b"\xff{")
    with pytest.raises(DataError):
        list_folder(class_folders)


def test_labels_follow_the_class_names(class_folders: Path, tmp_path: Path) -> None:
    dataset = load_dataset(str(class_folders), tmp_path / "data", verify=False)
    assert dataset.name == "shop"
    for images in dataset.splits.values():
        for path, label in zip(images.paths, images.labels, strict=True):
            assert path.startswith(dataset.train.class_names[label] + "/")
    label_sets = [set(images.labels.tolist()) for images in dataset.splits.values()]
    assert sum(map(len, label_sets)) == len(set.union(*label_sets)) == 8


def test_the_current_folder_has_its_own_name(
    class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(class_folders)
    assert load_dataset(".", tmp_path / "data").name == "shop"
    assert load_dataset(f".{os.sep}", tmp_path / "data").test.name == "shop/test"
