"""Is this the file that was meant? Sizes, hashes, and the hash it had when it first came."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ram_cli.errors import RamError
from ram_cli.files import write_text
from ram_cli.progress import SILENT, Reporter

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Expected:
    """What is known of a file before it comes.

    Attributes:
        sha256: First hex digits of its SHA-256; empty where they are not known.
        md5: Its MD5, as older pages publish; empty where it is not known.
        size: Bytes; 0 where they are not known.
    """

    sha256: str = ""
    md5: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class Faults:
    """Which errors a caller's users are to see.

    Attributes:
        missing: No address has the file, or none can be reached.
        damaged: What came, or what lies here, is not the file.
    """

    missing: type[RamError]
    damaged: type[RamError]


class WrongError(Exception):
    """What lies here, or comes, is not the file."""


def verify(
    path: Path,
    expected: Expected = Expected(),
    *,
    faults: Faults,
    pin: Path | None = None,
    reporter: Reporter = SILENT,
) -> None:
    """Check a file against what it must be, and the hash it had when it first came.

    Args:
        path: The file.
        expected: What is known of it.
        faults: Errors to raise.
        pin: Where its first hash is kept; None for beside it.
        reporter: Told about progress, in bytes.

    Raises:
        RamError: `faults.damaged`: it is another file.
    """
    try:
        check_file(path, pin or pin_of(path), expected, reporter)
    except WrongError as error:
        raise faults.damaged(f"{path}: {error}.") from error


def check_file(file: Path, pin: Path, expected: Expected, reporter: Reporter) -> None:
    """Compare a file with what it must be, and with its first hash, which is kept in `pin`."""
    size = file.stat().st_size
    if expected.size and size != expected.size:
        raise WrongError(f"it holds {size} bytes, not the {expected.size} of the published file")
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with file.open("rb") as stream, reporter.task("checking", size, "bytes") as task:
        _refuse_web_page(stream)
        while chunk := stream.read(_CHUNK):
            sha256.update(chunk)
            if expected.md5:
                md5.update(chunk)
            task.advance(len(chunk))
    found = sha256.hexdigest()
    if not found.startswith(expected.sha256):
        raise WrongError(
            f"it is not the published file: its SHA-256 begins {found[:12]}, not {expected.sha256}"
        )
    if expected.md5 and md5.hexdigest() != expected.md5:
        raise WrongError(
            f"it is not the published file: its MD5 is {md5.hexdigest()}, not {expected.md5}"
        )
    if not pin.exists():
        write_text(pin, found + "\n")
    elif (first := pin.read_text(encoding="utf-8").strip()) != found:
        raise WrongError(
            f"it is not the file that came first: its SHA-256 begins {found[:12]}, not "
            f"{first[:12]}. Delete the file and fetch it again, or, if you trust it, delete {pin}"
        )


def pin_of(path: Path) -> Path:
    """Where the hash of a file stands that it had when it first came."""
    return path.with_name(f"{path.name}.sha256")


def _refuse_web_page(stream: BinaryIO) -> None:
    start = stream.read(64).lstrip().lower()
    stream.seek(0)
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise WrongError("it is a web page, not the file")
