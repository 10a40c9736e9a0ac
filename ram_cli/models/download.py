"""Fetching one large file: resumed where it broke, checked before it takes its name."""

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from ram_cli.errors import CheckpointError, ModelError
from ram_cli.files import write_text
from ram_cli.progress import SILENT, Reporter

TIMEOUT_SECONDS = 20.0
_ATTEMPTS = 5
_CHUNK = 1 << 20


class _GoneError(Exception):
    """The server does not have the file; another address may."""


class _BrokenError(Exception):
    """The connection failed; what came so far is kept."""


def download(
    urls: Sequence[str],
    path: Path,
    *,
    sha256: str = "",
    description: str = "",
    reporter: Reporter = SILENT,
) -> Path:
    """Fetch a file from the first address that has it.

    What came is kept as `<path>.part` and resumed by the next attempt, or the next call. The file
    takes its name only once it is whole and its hash is right; the hash is kept beside it.

    Args:
        urls: Addresses, tried in order.
        path: Where to.
        sha256: First hex digits that its SHA-256 must have; empty where they are not known.
        description: What to call it.
        reporter: Told about progress, in bytes.

    Raises:
        ModelError: No address has it, or none can be reached.
        CheckpointError: What came is a web page, or has another hash.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    problems = []
    for url in urls:
        try:
            _fetch(url, part, description or path.name, reporter)
        except (_GoneError, _BrokenError) as error:
            problems.append(f"{url}: {error}")
            continue
        try:
            _check(part, path, sha256, url)
            part.replace(path)
            return path
        finally:
            part.unlink(missing_ok=True)
            _tag(part).unlink(missing_ok=True)
    raise ModelError(f"{description or path.name} cannot be fetched ({'; '.join(problems)}).")


def verify(path: Path, sha256: str = "") -> None:
    """Check a file against the hash it must have, and the one it had when it first came.

    Raises:
        CheckpointError: It has another.
    """
    _check(path, path, sha256, str(path))


def _fetch(url: str, part: Path, description: str, reporter: Reporter) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        before = _size(part)
        try:
            return _receive(url, part, description, reporter)
        except _BrokenError:
            if attempt == _ATTEMPTS or _size(part) <= before:
                raise
    return None


def _receive(url: str, part: Path, description: str, reporter: Reporter) -> None:
    tag = _tag(part)
    done = _size(part) if tag.exists() else 0
    headers = {"Range": f"bytes={done}-", "If-Range": tag.read_text("utf-8")} if done else {}
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            if "text/html" in answer.headers.get("Content-Type", ""):
                raise CheckpointError(f"{url} answers with a web page, not with the file.")
            if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
                done = 0  # the server starts over
                tag.unlink(missing_ok=True)
                if version := answer.headers.get("ETag") or answer.headers.get("Last-Modified"):
                    tag.write_text(version, "utf-8")
            length = answer.headers.get("Content-Length")
            total = None if length is None else done + int(length)
            with (
                part.open("ab" if done else "wb") as file,
                reporter.task(f"fetching {description}", total, "bytes", done) as task,
            ):
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    task.advance(len(chunk))
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()
            raise _BrokenError("it changed while it was fetched; run again") from error
        raise _GoneError(f"the server answers {error.code}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(
            f"the connection failed after {_size(part)} bytes, which are kept"
        ) from error
    if total is not None and _size(part) < total:
        raise _BrokenError(f"only {_size(part)} of {total} bytes came; they are kept")


def _check(file: Path, path: Path, sha256: str, source: str) -> None:
    with file.open("rb") as stream:
        _refuse_web_page(stream, source)
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if not found.startswith(sha256):
        raise CheckpointError(
            f"{source} is not the published file: its SHA-256 begins {found[:12]}, not {sha256}."
        )
    pin = path.with_name(f"{path.name}.sha256")
    if not pin.exists():
        write_text(pin, found + "\n")
    elif (first := pin.read_text(encoding="utf-8").strip()) != found:
        raise CheckpointError(
            f"{source} is not the file that came first: its SHA-256 begins {found[:12]}, not "
            f"{first[:12]}. Delete {path} and fetch it again, or, if you trust it, delete {pin}."
        )


def _refuse_web_page(stream: BinaryIO, source: str) -> None:
    start = stream.read(64).lstrip().lower()
    stream.seek(0)
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CheckpointError(f"{source} is a web page, not the file.")


def _tag(part: Path) -> Path:
    """Where it stands of which version of the file the part is."""
    return part.with_name(f"{part.name}.tag")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
