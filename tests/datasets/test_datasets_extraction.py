"""Archives that try to write elsewhere, or to fill the disk."""

import io
import stat
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest
from archive_maker import tgz, zipped
from hypothesis import given, settings
from hypothesis import strategies as st

from ram_cli.datasets.extraction import Limits, unpack
from ram_cli.errors import DataError, OutputError
from ram_cli.transfer import disk

FILES = {"a/one.jpg": b"1" * 500, "a/b/two.jpg": b"2", "./c.txt": b"", "a/._x": b"mac"}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def write(out: Path, content: bytes, name: str = "x.bin") -> Path:
    path = out.parent / name
    path.write_bytes(content)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def special(name: str, kind: bytes, target: str = "") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        archive.addfile(member)
    return file.getvalue()


def linked_zip(name: str, target: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, target)
    return file.getvalue()


def twice(name: str, other: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr(name, b"1")
        archive.writestr(other, b"2")
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [zipped(FILES), *(tgz(FILES, mode) for mode in ("w", "w:gz", "w:bz2", "w:xz"))],
    ids=["zip", "tar", "gz", "bz2", "xz"],
)
def test_every_kind_of_archive_is_unpacked(out: Path, content: bytes) -> None:
    unpack(write(out, content), out)
    assert tree(out) == {"a/one.jpg": b"1" * 500, "a/b/two.jpg": b"2", "c.txt": b""}


BAD_NAMES = ["/etc/x", "../x", "a/../../x", "..", "a\\..\\x", "C:/x", "a\nb"]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("pack", [zipped, tgz])
def test_paths_that_lead_out_are_refused(out: Path, name: str, pack) -> None:
    with pytest.raises(DataError):
        unpack(write(out, pack({"ok.jpg": b"1", name: b"2"})), out)
    assert {path.name for path in out.parent.iterdir()} == {"out", "x.bin"}


@pytest.mark.parametrize(
    "content",
    [
        special("a", tarfile.SYMTYPE, "/etc/passwd"),
        special("a/b", tarfile.SYMTYPE, "../../x"),
        special("a", tarfile.LNKTYPE, "../x"),
        special("a", tarfile.CHRTYPE),
        special("a", tarfile.BLKTYPE),
        special("a", tarfile.FIFOTYPE),
        linked_zip("a", "/etc"),
        linked_zip("a", "../out2"),
        twice("a", "a"),
        twice("a", "./a"),
        twice("a", "a/b"),
        twice("a/b", "a"),
        tgz({"\u00e9": b"1", "e\u0301": b"2"}),
    ],
)
def test_what_no_archive_of_images_holds_is_refused(out: Path, content: bytes) -> None:
    with pytest.raises(DataError) as caught:
        unpack(write(out, content), out)
    assert "\n" not in str(caught.value)


def test_links_inside_are_passed_over(out: Path) -> None:
    unpack(write(out, special("a/b", tarfile.SYMTYPE, "../c")), out)
    unpack(write(out, linked_zip("a", "c")), out)
    assert tree(out) == {}


@pytest.mark.parametrize("pack", [zipped, tgz])
def test_bombs_are_refused(out: Path, pack) -> None:
    bomb = write(out, pack({str(number): b"0" * 1000 for number in range(100)}))
    unpack(bomb, out, limits=Limits(files=100, size=100_000))
    for place, limits in enumerate((Limits(99, 100_000), Limits(100, 99_999))):
        folder = out / f"again {place}"
        folder.mkdir()
        with pytest.raises(DataError):
            unpack(bomb, folder, limits=limits)
    assert Limits.of(bomb).size < 80 << 20


def test_a_zip_that_understates_its_sizes_is_refused(out: Path) -> None:
    content = bytearray(zipped({"a": b"0" * 5000}))
    place = content.rindex((5000).to_bytes(4, "little"))
    content[place : place + 4] = (10).to_bytes(4, "little")
    with pytest.raises(DataError):
        unpack(write(out, bytes(content)), out)


def test_endless_headers_are_refused(out: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        member = tarfile.TarInfo("a")
        member.pax_headers = {"comment": "x" * 300_000}
        archive.addfile(member)
    with pytest.raises(DataError):
        unpack(write(out, file.getvalue()), out, limits=Limits(files=2, size=1000))


@pytest.mark.parametrize("cut", [0, 5, 100, -1, -30])
@pytest.mark.parametrize("pack", [zipped, tgz])
def test_damaged_archives_are_refused(out: Path, cut: int, pack) -> None:
    content = pack({str(number): bytes(range(256)) * 9 for number in range(9)})
    with pytest.raises(DataError):
        unpack(write(out, content[:cut]), out)


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=600))
def test_rubbish_is_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("rubbish")
    (folder / "x.bin").write_bytes(content)
    (folder / "out").mkdir()
    with pytest.raises(DataError):
        unpack(folder / "x.bin", folder / "out")


@pytest.mark.parametrize("pack", [zipped, tgz])
def test_space_is_looked_at_first(out: Path, monkeypatch: pytest.MonkeyPatch, pack) -> None:
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 10)
    with pytest.raises(OutputError):
        unpack(write(out, pack(FILES)), out)
    assert tree(out) == {}
