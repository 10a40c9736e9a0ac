"""Fetching one large file: resumed where it broke, checked before it takes its name."""

import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from ram_cli.progress import SILENT, Reporter
from ram_cli.transfer.check import Expected, Faults, WrongError, check_file, pin_of
from ram_cli.transfer.disk import check_room, writing

TIMEOUT_SECONDS = 20.0
BACKOFF_SECONDS = 2.0
"""Pause before a server is asked again that was busy or failed; it doubles every time."""

SCHEMES = ("http", "https", "ftp")
_LONGEST_PAUSE = 60.0
_ATTEMPTS = 5
_CHUNK = 1 << 20
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


class _GoneError(Exception):
    """The server does not have the file; another address may."""


class _BrokenError(Exception):
    """The connection failed; what came so far is kept."""


class _BusyError(Exception):
    """The server asks to be left alone for a while."""

    def __init__(self, message: str, pause: float) -> None:
        self.pause = pause
        super().__init__(message)


def download(
    urls: Sequence[str],
    path: Path,
    *,
    faults: Faults,
    expected: Expected = Expected(),  # noqa: B008 - frozen
    description: str = "",
    room: float = 1.0,
    reporter: Reporter = SILENT,
) -> Path:
    """Fetch a file from the first address that has it.

    What came is kept as `<path>.part` and resumed by the next attempt, or the next call. The file
    takes its name only once it is whole and its hash is right; the hash is kept beside it.

    Args:
        urls: Addresses (http, https or ftp), tried in order.
        path: Where to.
        faults: Errors to raise.
        expected: What is known of the file.
        description: What to call it.
        room: Free space that is needed, in sizes of the file.
        reporter: Told about progress, in bytes.

    Raises:
        RamError: `faults.missing`: no address has it, or none can be reached.
            `faults.damaged`: what came is a web page, or has another size or hash.
        OutputError: The disk is too full, or the folder cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    job = _Job(
        path.with_name(f"{path.name}.part"), description or path.name, expected, room, reporter
    )
    problems, wrong = [], False
    for url in urls:
        try:
            _fetch(url, job)
        except (_GoneError, _BrokenError, _BusyError, WrongError) as error:
            problems.append(f"{url}: {error}")
            wrong |= isinstance(error, WrongError)
            continue
        try:
            check_file(job.part, pin_of(path), expected, reporter)
            with writing(path):
                job.part.replace(path)
            return path
        except WrongError as error:
            problems.append(f"{url}: {error}")
            wrong = True
        finally:
            _discard(job.part)
    told = "; ".join(problems) or "no address is known"
    raise (faults.damaged if wrong else faults.missing)(f"{job.name} cannot be fetched: {told}.")


@dataclass(frozen=True, slots=True)
class _Job:
    """A file to fetch, whatever the address."""

    part: Path
    name: str
    expected: Expected
    room: float
    reporter: Reporter


def _fetch(url: str, job: _Job) -> None:
    """Receive all of a file, however often the connection breaks as long as it gets on."""
    failures = 0
    while True:
        before = _size(job.part)
        try:
            return _receive(url, job)
        except _BrokenError:
            gained = _size(job.part) - before
            failures = 0 if gained >= _CHUNK else failures + 1
            if gained <= 0 or failures == _ATTEMPTS:
                raise
        except _BusyError as error:
            failures += 1
            if failures == _ATTEMPTS:
                raise
            pause = min(max(error.pause, BACKOFF_SECONDS * 2 ** (failures - 1)), _LONGEST_PAUSE)
            job.reporter.note(f"{url}: {error}; asking again in {pause:.0f} s")
            time.sleep(pause)


def _receive(url: str, job: _Job) -> None:
    if urllib.parse.urlsplit(url).scheme not in SCHEMES:
        raise _GoneError(f"no address that begins with {', '.join(SCHEMES)}")
    part, headers = job.part, {}
    if version := _version(part, url):
        headers = {"Range": f"bytes={_size(part)}-", "If-Range": version}
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            total = _store(answer, url, job)
    except urllib.error.HTTPError as error:
        with error:
            if _is_whole(error, part):
                return
            raise _refusal(error, part) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        kept = f" after {_size(part)} bytes, which are kept" if _size(part) else ""
        raise _BrokenError(f"the connection failed{kept} ({_reason(error)})") from error
    if total is not None and _size(part) < total:
        raise _BrokenError(f"only {_size(part)} of {total} bytes came; they are kept")


def _store(answer: Any, url: str, job: _Job) -> int | None:
    """Write the body of an answer; return the size of the whole file, if it is known."""
    part, published = job.part, job.expected.size
    if "text/html" in answer.headers.get("Content-Type", ""):
        raise WrongError("it is a web page, not the file")
    resumed = answer.status == HTTPStatus.PARTIAL_CONTENT
    done = _size(part) if resumed else 0
    if resumed and not answer.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
        _discard(part)
        raise _BrokenError("the server sends another part than was asked for")
    length = answer.headers.get("Content-Length")
    total = None if length is None else done + int(length)
    if published and total not in (None, published):
        raise WrongError(f"it holds {total} bytes, not the {published} of the published file")
    check_room(part.parent, (total or published) * job.room - done)
    with writing(part):
        if not resumed:
            _mark(part, url, answer.headers.get("ETag") or answer.headers.get("Last-Modified"))
        file = part.open("ab" if done else "wb")
    with file, job.reporter.task(f"fetching {job.name}", total, "bytes", done) as task:
        while chunk := answer.read1(_CHUNK):
            with writing(part):
                file.write(chunk)
                file.flush()
            task.advance(len(chunk))
    return total


def _refusal(error: urllib.error.HTTPError, part: Path) -> Exception:
    """What an answer that is no file means."""
    if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        _discard(part)
        return _BrokenError("it changed while it was fetched; run again")
    if error.code in _BUSY:
        pause = 0.0
        with suppress(ValueError):  # a date instead of seconds
            pause = float(error.headers.get("Retry-After", 0))
        return _BusyError(f"the server answers {error.code}", pause)
    return _GoneError(f"the server answers {error.code}")


def _is_whole(error: urllib.error.HTTPError, part: Path) -> bool:
    """Whether nothing is left to ask for: what lies here is the whole of this very version."""
    return (
        error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        and error.headers.get("Content-Range", "") == f"bytes */{_size(part)}"
    )


def _mark(part: Path, url: str, version: str | None) -> None:
    """Keep where a part comes from and which version it is; without a version, forget both."""
    if version:
        _tag(part).write_text(f"{url}\n{version}", "utf-8")
    else:
        _tag(part).unlink(missing_ok=True)


def _version(part: Path, url: str) -> str:
    """Which version at this address the part belongs to; empty if it cannot be gone on with."""
    if not _size(part) or not _tag(part).exists():
        return ""
    source, _, version = _tag(part).read_text("utf-8").partition("\n")
    return version if source == url else ""


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag(part).unlink(missing_ok=True)


def _tag(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _reason(error: Exception) -> str:
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    return " ".join(str(inner).split()) or type(inner).__name__
