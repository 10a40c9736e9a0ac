"""Unpacking archives that strangers made: nothing leaves the folder, nothing grows without end."""

import bz2
import errno
import gzip
import lzma
import os
import re
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ram_cli.errors import DataError
from ram_cli.progress import SILENT, Reporter
from ram_cli.transfer import check_room, writing

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")

_CHUNK = 1 << 20
_COMPRESSIONS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    gzip.BadGzipFile,
    NotImplementedError,
    UnicodeError,
    ValueError,
    RuntimeError,
)
_MOST_EMPTY_READS = 1000
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f\\]|^[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an archive may unpack to.

    Attributes:
        files: Files and folders.
        size: Bytes of all files together.
    """

    files: int = 1_000_000
    size: int = 64 << 30

    @classmethod
    def of(cls, archive: Path) -> "Limits":
        """For an archive of images, which hardly grow: ten times its size, and 64 MiB."""
        return cls(size=10 * archive.stat().st_size + (64 << 20))


def unpack(
    archive: Path, folder: Path, *, limits: Limits | None = None, reporter: Reporter = SILENT
) -> None:
    """Unpack a zip or (compressed) tar archive into an empty folder.

    Plain files and folders are written with the permissions new files have here. Links that stay
    inside and what macOS adds (`__MACOSX`, `._*`) are passed over.

    Args:
        archive: The file.
        folder: An existing folder; after a failure it holds rubbish and is to be removed.
        limits: How much it may unpack to; None for ten times its size.
        reporter: Told about progress, in bytes.

    Raises:
        DataError: It is no archive, damaged, or holds what no archive of images holds: paths that
            lead out of the folder, links to outside, devices, the same name twice, or too much.
        OutputError: The disk is full.
    """
    sink = _Sink(archive, folder, limits or Limits.of(archive))
    try:
        with reporter.task(f"unpacking {archive.name}", None, "files") as task:
            for name, content in _reader(archive)(archive, sink):
                sink.write(name, content)
                task.advance()
    except _DAMAGE as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # of the disk
            raise
        # bz2 tells of damage without a number, zip files that point before their start with one
        raise _damaged(archive, error) from error


def _damaged(archive: Path, error: Exception) -> DataError:
    told = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{archive} is damaged or no archive ({told}). Fetch it again.")


def _reader(archive: Path) -> Callable[[Path, "_Sink"], Iterator[tuple[str, IO[bytes]]]]:
    """Choose by content: a compressed tar file may by chance end like a zip file."""
    with archive.open("rb") as stream:
        compressed = stream.read(6).startswith(tuple(_COMPRESSIONS))
    return _zip_members if not compressed and zipfile.is_zipfile(archive) else _tar_members


def is_archive(name: str) -> bool:
    """Tell by its ending whether a file is to be unpacked."""
    return name.lower().endswith(ARCHIVE_SUFFIXES)


@dataclass(slots=True)
class _Sink:
    """Where files go, and what has come so far."""

    archive: Path
    folder: Path
    limits: Limits
    files: int = 0
    size: int = 0
    seen: set[str] = field(default_factory=set)

    def place(self, name: str) -> str | None:
        """Return the path of a member below the folder, None if it is to be passed over."""
        self.files += 1
        if self.files > self.limits.files:
            raise self.refusal(f"more than {self.limits.files} files")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or _UNUSABLE.search(name):
            raise self.refusal(f"the path {name!r}, which leads out of its folder")
        if not parts or "__MACOSX" in parts or parts[-1].startswith("._"):
            return None
        return "/".join(parts)

    def declare(self, size: int) -> None:
        """Refuse a size that is too much, before it is written."""
        if size < 0 or size > self.limits.size:
            raise self.refusal(f"{size} bytes in all; {self.limits.size} are the most")

    def write(self, name: str, content: IO[bytes]) -> None:
        """Write one file, which must be new."""
        key = unicodedata.normalize("NFC", name)
        if key in self.seen:
            raise self.refusal(f"the name {name!r} twice")
        self.seen.add(key)
        target = self.folder / name
        try:
            with writing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                file = target.open("xb")
        except Exception as error:
            if isinstance(error.__cause__, FileExistsError | NotADirectoryError):
                raise self.refusal(f"the name {name!r} twice") from error
            raise
        with file:
            while chunk := content.read(_CHUNK):
                self.size += len(chunk)
                self.declare(self.size)
                with writing(target):
                    file.write(chunk)
                    file.flush()

    def refusal(self, what: str) -> DataError:
        return DataError(f"{self.archive} is not unpacked: it holds {what}. Fetch it elsewhere.")


def _zip_members(archive: Path, sink: _Sink) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        sink.declare(sum(member.file_size for member in members))
        check_room(sink.folder, sum(member.file_size for member in members))
        for member in members:
            kind = stat.S_IFMT(member.external_attr >> 16)
            # The name as stored: the library itself turns some characters into others.
            name = sink.place(member.orig_filename)
            if kind == stat.S_IFLNK:
                _check_link(sink, member.filename, opened.read(member).decode())
            elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise sink.refusal(f"{member.filename!r}, which is no file")
            elif name is not None and not member.is_dir():
                with opened.open(member) as content:
                    yield name, content


def _tar_members(archive: Path, sink: _Sink) -> Iterator[tuple[str, IO[bytes]]]:
    check_room(sink.folder, archive.stat().st_size)
    with ExitStack() as stack:
        stream: IO[bytes] = stack.enter_context(archive.open("rb"))
        start = stream.read(6)
        stream.seek(0)
        for magic, opener in _COMPRESSIONS.items():
            if start.startswith(magic):
                stream = stack.enter_context(_opened(opener, stream))
        counted: Any = _Counted(stream, sink)
        opened = stack.enter_context(tarfile.open(fileobj=counted, mode="r|"))
        for member in opened:
            name = sink.place(member.name)
            if member.issym() or member.islnk():
                base = "" if member.islnk() else os.path.dirname(member.name)  # noqa: PTH120
                _check_link(sink, member.name, member.linkname, base)
            elif not (member.isreg() or member.isdir()):
                raise sink.refusal(f"{member.name!r}, which is no file")
            elif name is not None and member.isreg():
                sink.declare(member.size)
                content = opened.extractfile(member)
                assert content is not None  # a regular file has content
                yield name, content
        while counted.read(_CHUNK):  # to the checksum, which stands at the very end
            pass


def _opened(opener: Any, stream: IO[bytes]) -> Any:
    return opener(stream, "rb")


class _Counted:
    """A decompressed stream of which only so much is read, whatever its headers say."""

    def __init__(self, stream: IO[bytes], sink: _Sink) -> None:
        self._stream, self._sink = stream, sink
        # A header, the end of a file and the end of the archive take whole blocks.
        self._left = 2 * sink.limits.size + 4096 * min(sink.limits.files, 1 << 20)
        self._empty = 0

    def read(self, size: int) -> bytes:
        """Read `size` bytes, fewer at the end."""
        content = self._stream.read(size)
        # The library passes over a member block by block, to 2^62 bytes behind the end if told so.
        self._empty = 0 if content else self._empty + 1
        if self._empty > _MOST_EMPTY_READS:
            raise EOFError("it ends in the middle of a file")
        self._left -= len(content)
        if self._left < 0:
            raise self._sink.refusal("far more than files")
        return content


def _check_link(sink: _Sink, name: str, target: str, base: str | None = None) -> None:
    """Refuse a link to outside; others are left out, as no image is a link."""
    folder = os.path.dirname(name) if base is None else base  # noqa: PTH120
    reached = os.path.normpath(os.path.join(folder, target))  # noqa: PTH118
    if target.startswith("/") or _UNUSABLE.search(target) or reached.split("/")[0] == "..":
        raise sink.refusal(f"the link {name!r} to {target!r}, outside")


def remove_tree(folder: Path) -> None:
    """Remove a folder and what is in it, if it is there."""
    if folder.exists():
        with writing(folder):
            shutil.rmtree(folder)
