"""DeepFashion In-Shop in its original layout."""

from dataclasses import replace
from pathlib import Path

import pytest
from archive_maker import picture, zipped
from inshop_maker import inshop_files, write_inshop

from ram_cli.datasets import DATASETS, Counts, DatasetEntry, from_json, load_dataset, to_json
from ram_cli.datasets.download import obtain
from ram_cli.datasets.inshop import list_inshop
from ram_cli.errors import DataError


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> DatasetEntry:
    made = replace(DATASETS["inshop"], train_val=Counts(4, 12), test=Counts(3, 9), queries=3)
    monkeypatch.setitem(DATASETS, "inshop", made)
    return made


@pytest.mark.parametrize("prefix", ["", "Img/"])
def test_queries_stand_apart_from_the_gallery(
    entry: DatasetEntry, tmp_path: Path, prefix: str
) -> None:
    write_inshop(tmp_path / "data" / "inshop", prefix=prefix)
    dataset = load_dataset("inshop", tmp_path / "data")
    assert [dataset.train.class_count, dataset.val.class_count] == [2, 2]
    assert dataset.train.queries is None
    assert dataset.test.queries is not None
    queries = [dataset.test.paths[index] for index in dataset.test.queries.nonzero()[0]]
    assert [Path(path).name for path in queries] == ["00_query.jpg"] * 3
    assert all(path.startswith(f"{prefix}img/") for path in dataset.test.paths)
    again = from_json(to_json(dataset))
    assert again.test.queries is not None
    assert again.test.queries.tolist() == dataset.test.queries.tolist()
    assert dataset.test.subset([0, 1]).queries.tolist() == [True, False]  # type: ignore[union-attr]


def test_roles_are_part_of_the_content_hash(entry: DatasetEntry, tmp_path: Path) -> None:
    root = write_inshop(tmp_path / "data" / "inshop")
    before = load_dataset("inshop", tmp_path / "data").content_hash
    table = root / "Eval" / "list_eval_partition.txt"
    lines = table.read_text().splitlines()
    place = next(number for number, line in enumerate(lines) if line.endswith(" query"))
    lines[place], lines[place + 1] = (
        lines[place].replace(" query", " gallery"),
        lines[place + 1].replace(" gallery", " query"),
    )
    table.write_text("\n".join(lines) + "\n")
    assert load_dataset("inshop", tmp_path / "data").content_hash != before


def test_it_is_made_of_the_two_files_that_people_are_given(
    entry: DatasetEntry, tmp_path: Path
) -> None:
    files = inshop_files()
    images = {name: content for name, content in files.items() if name.startswith("img/")}
    mine = [tmp_path / "img.zip", tmp_path / "list_eval_partition.txt"]
    mine[0].write_bytes(zipped(images))
    mine[1].write_bytes(files["Eval/list_eval_partition.txt"])
    assert obtain(entry, tmp_path / "data", from_files=mine).images == 21
    assert len(load_dataset("inshop", tmp_path / "data").test) == 9


def test_it_cannot_be_fetched_and_says_what_to_do(entry: DatasetEntry, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        obtain(entry, tmp_path / "data")
    for part in ("agreement", "--from-file", "img.zip"):
        assert part in str(caught.value)
    assert not str(caught.value).startswith(" ")


@pytest.mark.parametrize("fault", ["status", "count", "shared", "queries", "header", "gone"])
def test_damaged_lists_are_refused(entry: DatasetEntry, tmp_path: Path, fault: str) -> None:
    root = write_inshop(tmp_path / "data" / "inshop")
    table = root / "Eval" / "list_eval_partition.txt"
    text = table.read_text()
    changed = {
        "status": text.replace(" query", " asked"),
        "count": text.replace("21", "22", 1),
        "shared": text.replace("id_00000005 query", "id_00000001 query"),
        "queries": text.replace("id_00000005 query", "id_00000005 gallery"),
        "header": text.replace("item_id", "item"),
    }
    if fault == "gone":
        table.write_bytes(b"\xff\xfe")
    else:
        table.write_text(changed[fault])
    with pytest.raises(DataError, match=r"list_eval_partition|inshop"):
        load_dataset("inshop", tmp_path / "data")


def test_a_query_without_its_item_in_the_gallery_is_still_listed(tmp_path: Path) -> None:
    (tmp_path / "Eval").mkdir()
    (tmp_path / "Eval" / "list_eval_partition.txt").write_text(
        "1\nimage_name item_id evaluation_status\nimg/a.jpg id_1 query\n"
    )
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "a.jpg").write_bytes(picture(1))
    assert list_inshop(tmp_path).splits["test"] == [("id_1", ["img/a.jpg"])]
