"""Fetching a file from servers that behave badly, over real sockets."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from file_server import FileServer
from ftp_server import serving_ftp

from ram_cli.errors import DataError, ModelError, OutputError
from ram_cli.transfer import Expected, Faults, disk, download, in_units, verify
from ram_cli.transfer import fetch as fetch_module

FAULTS = Faults(missing=ModelError, damaged=DataError)


def fetch(server: FileServer, folder: Path, expected: Expected | None = None) -> Path:
    return download(
        [f"{server.url}/a.zip"], folder / "a.zip", faults=FAULTS, expected=expected or Expected()
    )


def known(content: bytes) -> Expected:
    return Expected(
        hashlib.sha256(content).hexdigest(),
        hashlib.md5(content, usedforsecurity=False).hexdigest(),
        len(content),
    )


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_size_and_both_hashes_are_checked(server: FileServer, tmp_path: Path) -> None:
    content = server.files["a.zip"]
    path = fetch(server, tmp_path, known(content))
    assert path.read_bytes() == content
    assert left(tmp_path) == ["a.zip", "a.zip.sha256"]
    verify(path, known(content), faults=FAULTS)
    path.write_bytes(content[:-1])
    with pytest.raises(DataError):
        verify(path, faults=FAULTS)


@pytest.mark.parametrize(
    "wrong", [Expected(sha256="0" * 64), Expected(md5="0" * 32), Expected(size=5)]
)
def test_another_file_than_the_published_is_refused(
    server: FileServer, tmp_path: Path, wrong: Expected
) -> None:
    with pytest.raises(DataError) as caught:
        fetch(server, tmp_path, wrong)
    assert server.url in str(caught.value)
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == []


def test_a_size_unknown_to_the_server_is_checked_afterwards(
    server: FileServer, tmp_path: Path
) -> None:
    server.lengths = False
    with pytest.raises(DataError):
        fetch(server, tmp_path, Expected(size=5))
    assert fetch(server, tmp_path).read_bytes() == server.files["a.zip"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_servers_are_asked_again(server: FileServer, tmp_path: Path, status: int) -> None:
    server.statuses = [status] * 3
    server.headers = {"Retry-After": "0"}
    assert fetch(server, tmp_path).is_file()
    assert len(server.requests) == 4


@pytest.mark.parametrize("status", [403, 404])
def test_refusals_are_final(server: FileServer, tmp_path: Path, status: int) -> None:
    server.statuses = [status]
    with pytest.raises(ModelError, match=str(status)):
        fetch(server, tmp_path)
    assert len(server.requests) == 1
    assert left(tmp_path) == []


def test_the_next_address_is_tried_whatever_the_first_does(
    server: FileServer, tmp_path: Path
) -> None:
    server.files["page"] = b"<!DOCTYPE html><html>moved</html>"
    urls = ["file:///etc/hostname", "http://127.0.0.1:9/a.zip"]
    urls += [f"{server.url}/{name}" for name in ("none", "page", "a.zip")]
    path = download(urls, tmp_path / "a.zip", faults=FAULTS)
    assert path.read_bytes() == server.files["a.zip"]


def test_what_came_from_one_address_is_not_mixed_with_another(
    server: FileServer, tmp_path: Path
) -> None:
    server.files["b.zip"] = server.files["a.zip"]
    server.cuts = [1000, 0]
    urls = [f"{server.url}/{name}" for name in ("a.zip", "b.zip")]
    download(urls, tmp_path / "a.zip", faults=FAULTS)
    assert server.requests == [("a.zip", None), ("a.zip", "bytes=1000-"), ("b.zip", None)]


def test_a_server_that_sends_another_range_starts_over(server: FileServer, tmp_path: Path) -> None:
    server.cuts, server.wrong_range = [1000], True
    with pytest.raises(ModelError):
        fetch(server, tmp_path)
    assert fetch(server, tmp_path).read_bytes() == server.files["a.zip"]
    assert server.requests[-1][1] is None


def test_without_a_version_nothing_is_resumed(server: FileServer, tmp_path: Path) -> None:
    server.versions, server.cuts = False, [1000]
    path = fetch(server, tmp_path)
    assert path.read_bytes() == server.files["a.zip"]
    assert [asked for _, asked in server.requests] == [None, None]


def test_a_part_that_is_whole_is_not_fetched_again(server: FileServer, tmp_path: Path) -> None:
    server.cuts = [1000, 0]
    with pytest.raises(ModelError):
        fetch(server, tmp_path)
    (tmp_path / "a.zip.part").write_bytes(server.files["a.zip"])
    assert fetch(server, tmp_path, known(server.files["a.zip"])).is_file()
    assert server.requests[-1][1] == f"bytes={1 << 20}-"


def test_many_cuts_do_not_end_a_transfer_that_gets_on(server: FileServer, tmp_path: Path) -> None:
    server.files["a.zip"] *= 10
    server.cuts = [1 << 20] * 9
    assert fetch(server, tmp_path, known(server.files["a.zip"])).is_file()


def test_a_killed_transfer_is_resumed(server: FileServer, tmp_path: Path) -> None:
    """SIGKILL while bytes are on their way; the next call asks for the rest only."""
    content = server.files["a.zip"]
    server.lengths = True
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from ram_cli.errors import DataError\n"
        "from ram_cli.transfer import Faults, download\n"
        "from ram_cli.progress import SILENT\n"
        "import ram_cli.transfer.fetch as fetch\n"
        "fetch._CHUNK = 4096\n"
        "class Slow:\n"
        "    def __getattr__(self, name): return getattr(SILENT, name)\n"
        "    def task(self, *a, **k):\n"
        "        import contextlib, time\n"
        "        class T:\n"
        "            def advance(self, n, **v): print('.', flush=True); time.sleep(0.2)\n"
        "        return contextlib.nullcontext(T())\n"
        "faults = Faults(DataError, DataError)\n"
        "download([sys.argv[1]], Path(sys.argv[2]), faults=faults, reporter=Slow())\n"
    )
    words = [sys.executable, "-c", code, f"{server.url}/a.zip", str(tmp_path / "a.zip")]
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": root}
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "a.zip").exists()
    came = (tmp_path / "a.zip.part").stat().st_size
    assert 0 < came < len(content)
    assert fetch(server, tmp_path, known(content)).read_bytes() == content
    assert server.requests[-1][1] == f"bytes={came}-"


def test_space_is_looked_at_first(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "free_bytes", lambda folder: (2 << 20) - 1)
    urls = [f"{server.url}/a.zip"]
    with pytest.raises(OutputError) as caught:
        download(urls, tmp_path / "a.zip", faults=FAULTS, room=2)
    assert "2.1 MB" in str(caught.value)
    assert left(tmp_path) == []
    assert download(urls, tmp_path / "a.zip", faults=FAULTS, room=1).is_file()


def test_a_folder_that_is_a_file_is_told(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(OutputError):
        fetch(server, tmp_path / "data")


def test_ftp(tmp_path: Path) -> None:
    content = os.urandom(300_000)
    with serving_ftp(content) as url:
        path = download([url], tmp_path / "a.zip", faults=FAULTS, expected=known(content))
    assert path.read_bytes() == content


def test_ftp_that_breaks_off_is_not_taken_for_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_module, "TIMEOUT_SECONDS", 0.3)
    with serving_ftp(os.urandom(300_000), sent=1000) as url, pytest.raises(ModelError):
        download([url], tmp_path / "a.zip", faults=FAULTS)
    assert not (tmp_path / "a.zip").exists()


@pytest.mark.parametrize(
    ("size", "text"), [(12, "12 bytes"), (1500, "1.5 kB"), (1_150_585_339, "1.15 GB")]
)
def test_sizes_in_words(size: int, text: str) -> None:
    assert in_units(size) == text
