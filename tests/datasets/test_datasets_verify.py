import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from ram_cli.datasets import load_dataset, verify
from ram_cli.datasets.verify import find_unreadable
from ram_cli.errors import DataError, UnreadableImageError


def cut(path: Path, share: float = 0.6) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths that were decoded, in any order."""
    seen: list[str] = []
    check = verify._fault

    def note(root: Path, path: str) -> str | None:
        seen.append(path)
        return check(root, path)

    monkeypatch.setattr(verify, "_fault", note)
    return seen


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "tif", "bmp"])
def test_a_cut_file_is_found_in_every_format(tmp_path: Path, make_image, suffix: str) -> None:
    for name in ("whole", "cut"):
        make_image(tmp_path / f"{name}.{suffix}", side=150)
    cut(tmp_path / f"cut.{suffix}")
    faults = find_unreadable(tmp_path, [f"whole.{suffix}", f"cut.{suffix}"])
    assert list(faults) == [f"cut.{suffix}"]


def test_a_large_jpeg_that_lost_its_last_rows_is_found(tmp_path: Path, make_image) -> None:
    cut(make_image(tmp_path / "a.jpg", side=400), 0.97)
    assert find_unreadable(tmp_path, ["a.jpg"])


def test_what_is_no_image_is_found(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("<html>not found</html>")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    names = ["text.jpg", "empty.png", "folder.jpg", "dangling.jpg", "missing.jpg"]
    faults = find_unreadable(tmp_path, names)
    assert sorted(faults) == sorted(names)
    assert all(faults.values())
    assert len(set(faults.values())) >= 4  # folder, text, empty and missing read differently


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "1", "LA"])
def test_other_colours_are_whole(tmp_path: Path, mode: str) -> None:
    suffix = "jpg" if mode in ("L", "CMYK") else "png"
    Image.new(mode, (20, 20)).save(tmp_path / f"a.{suffix}")
    assert not find_unreadable(tmp_path, [f"a.{suffix}"])


def test_an_unreadable_image_stops_the_load_and_is_named(
    class_folders: Path, tmp_path: Path
) -> None:
    broken = [f"class {label}/1.jpg" for label in range(6)]
    for path in broken:
        cut(class_folders / path)
    with pytest.raises(UnreadableImageError) as caught:
        load_dataset(str(class_folders), tmp_path / "data")
    assert caught.value.path == class_folders / broken[0]
    assert "5 more" in str(caught.value)
    assert broken[1] in str(caught.value)


def test_unreadable_images_can_be_left_out(class_folders: Path, tmp_path: Path) -> None:
    whole = load_dataset(str(class_folders), tmp_path / "data")
    cut(class_folders / "class 3" / "1.jpg")
    dataset = load_dataset(str(class_folders), tmp_path / "data", skip_unreadable=True)
    assert dataset.skipped == ("class 3/1.jpg",)
    assert sum(map(len, dataset.splits.values())) == 23
    assert dataset.train.class_names == whole.train.class_names
    assert dataset.content_hash != whole.content_hash


def test_a_split_without_a_readable_image_is_refused(class_folders: Path, tmp_path: Path) -> None:
    for path in load_dataset(str(class_folders), tmp_path / "data").test.paths:
        (class_folders / path).write_bytes(b"")
    with pytest.raises(DataError, match="test"):
        load_dataset(str(class_folders), tmp_path / "data", skip_unreadable=True)


def test_missing_files_are_reported_without_verification(
    class_folders: Path, tmp_path: Path
) -> None:
    (class_folders / "class 0" / "3.jpg").symlink_to(tmp_path / "nowhere.jpg")
    with pytest.raises(DataError, match=r"3\.jpg"):
        load_dataset(str(class_folders), tmp_path / "data", verify=False)


def test_whole_images_are_decoded_once(
    class_folders: Path, tmp_path: Path, decoded: list[str]
) -> None:
    data_root = tmp_path / "data"
    cut(class_folders / "class 0" / "0.jpg")
    load_dataset(str(class_folders), data_root, skip_unreadable=True)
    assert len(decoded) == 24
    decoded.clear()
    os.utime(class_folders / "class 1" / "0.jpg", ns=(1, 1))
    load_dataset(str(class_folders), data_root, skip_unreadable=True)
    assert sorted(decoded) == ["class 0/0.jpg", "class 1/0.jpg"]
    assert [path.name for path in class_folders.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    "content", [b"\xff", b"[]", b'{"format": 1, "files": 3}', b'{"format": 0}']
)
def test_a_damaged_memory_only_costs_time(
    class_folders: Path, tmp_path: Path, decoded: list[str], content: bytes
) -> None:
    load_dataset(str(class_folders), tmp_path / "data")
    (memory,) = (tmp_path / "data" / ".verified").iterdir()
    memory.write_bytes(content)
    decoded.clear()
    load_dataset(str(class_folders), tmp_path / "data")
    assert len(decoded) == 24


def test_a_memory_that_cannot_be_written_is_done_without(
    class_folders: Path, tmp_path: Path, decoded: list[str]
) -> None:
    (tmp_path / "data").write_text("a file is in the way")
    for _ in range(2):
        load_dataset(str(class_folders), tmp_path / "data")
    assert len(decoded) == 48


class Recorder:
    """Reporter that writes down what it hears."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.done = 0

    @contextmanager
    def task(
        self, description: str, total: int | None, unit: str = "images", done: int = 0
    ) -> Iterator["Recorder"]:
        self.done = done
        yield self
        assert self.done == total

    def advance(self, amount: int = 1, **values: float | str) -> None:
        self.done += amount

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None:
        self.notes.append(message)


def test_odd_things_are_said_and_progress_adds_up(class_folders: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        (class_folders / "class 5" / f"{number}.jpg").unlink()
    (class_folders / "class 6" / "notes.txt").touch()
    cut(class_folders / "class 4" / "0.jpg")
    reporter = Recorder()
    load_dataset(str(class_folders), tmp_path / "d", skip_unreadable=True, reporter=reporter)
    assert len(reporter.notes) == 3
    assert any("class 4/0.jpg" in note for note in reporter.notes)
