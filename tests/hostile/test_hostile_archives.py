"""Archives that strangers made: nothing but plain files, nothing outside, never too much."""

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest
from guard import fuzz, mutated, refused_or_fine
from hypothesis import given
from hypothesis import strategies as st

from ram_cli.datasets.extraction import Limits, unpack
from ram_cli.errors import DataError

LIMITS = Limits(files=30, size=200_000)
NAMES = st.sampled_from([
    "a", "b/a", "a/b", "./a", "a//b", "a/./b", "../x", "a/../../x", "/etc/x", "//x", "..", ".", "",
    "/", "a\\..\\x", "C:/x", "\\\\host\\x",
    "a\nb", "a\x00b", "a\x1b[31m", "\u202ex", "\u00e9", "e\u0301",
    "A", "a/", "._a", "__MACOSX/a", "a" * 300, "d/" * 120 + "x", "con", "\udcff",
]) | st.text(max_size=8)  # fmt: skip
TARGETS = st.sampled_from([
    "a", "b/a", "../x", "../../../../etc/passwd", "/etc/passwd", "/", "..", ".", "", "a/../../x",
    "\x00", "//x", "a\nb",
])  # fmt: skip
KINDS = st.sampled_from([
    tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE,
    tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK, tarfile.GNUTYPE_SPARSE, tarfile.XHDTYPE, tarfile.XGLTYPE, b"Z",
])  # fmt: skip
SIZES = st.sampled_from([0, 1, 600, 5000, 150_000, 10**7, 2**33, 2**62])
DAMAGE = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 4), st.integers(0, 255)), max_size=3
)
TAR_MEMBERS = st.lists(
    st.tuples(NAMES, KINDS, TARGETS, SIZES, st.binary(max_size=600), st.sampled_from([0, 1, 2])),
    max_size=6,
)
ZIP_MEMBERS = st.lists(
    st.tuples(
        NAMES,
        st.sampled_from([0, stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR]),
        TARGETS,
        st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]),
        st.binary(max_size=400) | st.sampled_from([b"0" * 150_000, b"0" * 300_000]),
    ),
    max_size=6,
)


def packed_tar(members) -> bytes:
    """Headers that say what they like: sizes are not those of the contents."""
    file = io.BytesIO()
    for name, kind, target, size, content, form in members:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        member.size = len(content) if size < 700 else size
        try:
            header = member.tobuf(format=form, errors="surrogateescape")
        except (ValueError, UnicodeError):
            continue
        file.write(header + content + bytes(-len(content) % 512))
    return file.getvalue() + bytes(1024)


def packed_zip(members) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, kind, target, compression, content in members:
            member = zipfile.ZipInfo("x")
            member.filename = name
            member.external_attr = (kind | 0o777) << 16
            member.compress_type = compression
            try:
                archive.writestr(member, target if kind == stat.S_IFLNK else content)
            except (ValueError, UnicodeError):
                continue
    return file.getvalue()


def check(folder: Path, content: bytes) -> None:
    """Unpack in a folder of its own; whatever comes of it is plain, inside and bounded."""
    shutil.rmtree(folder, ignore_errors=True)
    out = folder / "out"
    out.mkdir(parents=True)
    (folder / "x.bin").write_bytes(content)
    with refused_or_fine(out):
        unpack(folder / "x.bin", out, limits=LIMITS)
    assert {path.name for path in folder.iterdir()} == {"out", "x.bin"}
    total = 0
    for place, folders, files in os.walk(out):
        for name in (*folders, *files):
            told = os.lstat(os.path.join(place, name))  # noqa: PTH118
            assert stat.S_ISREG(told.st_mode) or stat.S_ISDIR(told.st_mode)
            assert told.st_mode & (stat.S_ISUID | stat.S_ISGID) == 0
            total += told.st_size if stat.S_ISREG(told.st_mode) else 0
    assert total <= LIMITS.size + (1 << 20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("archives") / "case"


@fuzz(2)
@given(
    TAR_MEMBERS,
    DAMAGE,
    st.sampled_from([bytes, gzip.compress, bz2.compress, lzma.compress]),
    st.booleans(),
)
def test_any_tar(folder, members, damage, compress, inner):
    content = packed_tar(members)
    content = compress(mutated(content, damage)) if inner else mutated(compress(content), damage)
    check(folder, content)


@fuzz(2)
@given(ZIP_MEMBERS, DAMAGE)
def test_any_zip(folder, members, damage):
    check(folder, mutated(packed_zip(members), damage))


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_member_without_end_that_is_passed_over(folder, compress):
    """Its name is none, so nothing is written of it; what follows would come after 2^62 bytes."""
    member = tarfile.TarInfo("")
    member.size = 1 << 62
    check(folder, compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(2048)))
    assert not list((folder / "out").iterdir())


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_bombs_stop_early(folder, compress):
    """Thirty megabytes of zeros in a few kilobytes, as content and as an endless header."""
    member = tarfile.TarInfo("a")
    member.size = 30 << 20
    header = tarfile.TarInfo("a")
    header.type, header.size = tarfile.XHDTYPE, 30 << 20
    for start in (member, header):
        content = compress(start.tobuf() + bytes(30 << 20))
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "out").mkdir(parents=True)
        (folder / "x.bin").write_bytes(content)
        with pytest.raises(DataError):
            unpack(folder / "x.bin", folder / "out", limits=LIMITS)
        assert sum(path.stat().st_size for path in (folder / "out").rglob("*")) <= LIMITS.size
