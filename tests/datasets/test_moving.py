"""Files end at their places whether folders are moved whole or file by file."""

from pathlib import Path

import pytest

from ram_cli.datasets.moving import move_files


def write(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"new {name}")


def texts(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): path.read_text()
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def renamed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Folders that were moved whole."""
    seen: list[str] = []
    replace = Path.replace

    def watched(path: Path, target: Path) -> Path:
        if path.is_dir():
            seen.append(path.name)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", watched)
    return seen


def test_folders_are_moved_whole_where_nothing_is_in_the_way(tmp_path, renamed):
    work, there = tmp_path / "work", tmp_path / "there"
    names = ("ims/aa/bb/1", "ims/aa/bb/2", "ims/aa/cc/3", "ims/dd/4")
    write(work, *names)
    write(there, "ims/aa/bb/1", "ims/aa/bb/9")
    (there / "ims/aa/bb/1").write_text("old")
    move_files({work / name: there / name for name in names}, work)
    assert texts(there) == {name: f"new {name}" for name in (*names, "ims/aa/bb/9")}
    assert sorted(renamed) == ["cc", "dd"]
    assert texts(work) == {}


def test_a_whole_tree_takes_one_move_and_may_get_another_name(tmp_path, renamed):
    work, there = tmp_path / "work", tmp_path / "there"
    write(work, "archive/ims/a/1", "archive/ims/b/2")
    targets = {work / f"archive/ims/{name}": there / "jpg" / name for name in ("a/1", "b/2")}
    move_files(targets, work)
    assert set(texts(there)) == {"jpg/a/1", "jpg/b/2"}
    assert renamed == ["ims"]


@pytest.mark.parametrize(
    "places",
    [
        {"a/1": "x/1"},  # a/2 belongs nowhere
        {"a/1": "x/1", "a/2": "y/2"},
        {"a/1": "x/1", "a/2": "x/other"},
        {"a/1": "2", "a/2": "1"},
    ],
)
def test_a_folder_whose_files_part_is_not_moved_whole(tmp_path, renamed, places):
    work, there = tmp_path / "work", tmp_path / "there"
    write(work, "a/1", "a/2")
    move_files({work / source: there / place for source, place in places.items()}, work)
    assert texts(there) == {place: f"new {source}" for source, place in places.items()}
    assert renamed == []
    assert set(texts(work)) == {"a/1", "a/2"} - set(places)
