"""Fetching a file from servers that behave badly."""

import hashlib
from pathlib import Path

import pytest
from models_server import CONTENT, Server

from ram_cli.errors import CheckpointError, ModelError
from ram_cli.models.download import download, verify
from ram_cli.transfer import fetch

HASH = hashlib.sha256(CONTENT).hexdigest()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_whole_and_is_pinned(server: Server, tmp_path: Path) -> None:
    path = download([f"{server.url}/file.pth"], tmp_path / "f.pth", sha256=HASH[:7])
    assert path.read_bytes() == CONTENT
    assert left(tmp_path) == ["f.pth", "f.pth.sha256"]
    assert (tmp_path / "f.pth.sha256").read_text().strip() == HASH
    verify(path, HASH[:7])


def test_a_broken_connection_is_resumed(server: Server, tmp_path: Path) -> None:
    server.break_after = [1000, 50_000]
    download([f"{server.url}/file.pth"], tmp_path / "f.pth", sha256=HASH)
    assert [asked for _, asked in server.requests] == [None, "bytes=1000-", "bytes=51000-"]
    assert (tmp_path / "f.pth").read_bytes() == CONTENT


def test_a_later_call_goes_on_where_an_earlier_one_stopped(server: Server, tmp_path: Path) -> None:
    server.break_after = [1000, 0, 0]
    with pytest.raises(ModelError):
        download([f"{server.url}/file.pth"], tmp_path / "f.pth")
    assert not (tmp_path / "f.pth").exists()
    server.break_after = []
    download([f"{server.url}/file.pth"], tmp_path / "f.pth")
    assert server.requests[-1][1] == "bytes=1000-"
    assert (tmp_path / "f.pth").read_bytes() == CONTENT


@pytest.mark.parametrize("fault", ["changed", "no ranges"])
def test_servers_that_start_over(server: Server, tmp_path: Path, fault: str) -> None:
    server.break_after = [1000, 0]
    with pytest.raises(ModelError):
        download([f"{server.url}/file.pth"], tmp_path / "f.pth")
    server.break_after = []
    if fault == "changed":
        server.content = CONTENT[::-1]
    else:
        server.ranges = False
    path = download([f"{server.url}/file.pth"], tmp_path / "f.pth")
    assert path.read_bytes() == server.content


def test_web_pages_are_no_files(server: Server, tmp_path: Path) -> None:
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(CheckpointError, match="web page"):
        download([f"{server.url}/file.pth"], tmp_path / "f.pth")
    server.kind, server.content = "application/octet-stream", b"\n<!DOCTYPE html><html></html>"
    with pytest.raises(CheckpointError, match="web page"):
        download([f"{server.url}/file.pth"], tmp_path / "f.pth")
    assert not (tmp_path / "f.pth").exists()
    assert not (tmp_path / "f.pth.part").exists()


def test_a_wrong_hash_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=HASH[:12]) as caught:
        download([f"{server.url}/file.pth"], tmp_path / "f.pth", sha256="0123456")
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == []


def test_another_content_than_the_first_is_refused(server: Server, tmp_path: Path) -> None:
    path = download([f"{server.url}/file.pth"], tmp_path / "f.pth")
    path.unlink()
    server.content = CONTENT[::-1]
    with pytest.raises(CheckpointError, match=r"f\.pth\.sha256"):
        download([f"{server.url}/file.pth"], path)
    assert not path.exists()


def test_damage_of_a_kept_file_is_noticed(server: Server, tmp_path: Path) -> None:
    path = download([f"{server.url}/file.pth"], tmp_path / "f.pth")
    path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(CheckpointError):
        verify(path)


def test_the_next_address_is_tried(server: Server, tmp_path: Path) -> None:
    urls = [f"{server.url}/none.pth", f"{server.url}/file.pth"]
    assert download(urls, tmp_path / "f.pth").read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "times"), [(404, 1), (403, 1), (500, 5)])
def test_refusals_name_the_address_and_the_answer(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, times: int
) -> None:
    monkeypatch.setattr(fetch, "BACKOFF_SECONDS", 0.0)
    server.status = status
    with pytest.raises(ModelError, match=str(status)) as caught:
        download([f"{server.url}/file.pth"], tmp_path / "f.pth")
    assert server.url in str(caught.value)
    assert len(server.requests) == times


def test_no_server_at_all(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        download(["http://127.0.0.1:9/file.pth"], tmp_path / "f.pth")
    assert "\n" not in str(caught.value)


def test_silent_servers_time_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(fetch, "TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ModelError):
        download([f"http://127.0.0.1:{silent.getsockname()[1]}/file.pth"], tmp_path / "f.pth")
