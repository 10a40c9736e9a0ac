"""Files that appear whole, and that others may read."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ram_cli.errors import OutputError
from ram_cli.files import atomic_file, atomic_folder, check_writable, write_text


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture(params=[0o022, 0o077])
def shown(request) -> Iterator[tuple[int, int]]:
    """Modes that this umask gives a file and a folder."""
    before = os.umask(request.param)
    yield 0o666 & ~request.param, 0o777 & ~request.param
    os.umask(before)


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path, shown: tuple[int, int]) -> None:
    file, folder = shown
    private = tmp_path / "key"
    private.touch(0o600)
    with atomic_file(tmp_path / "deep" / "weights.safetensors") as path:
        save_file({"a": torch.zeros(1)}, path)  # for its owner alone, left to itself
    with atomic_folder(tmp_path / "model") as temporary:
        (temporary / "part").mkdir(mode=0o700)
        save_file({"a": torch.zeros(1)}, temporary / "part" / "weights.safetensors")
        (temporary / "run.sh").write_text("x")
        (temporary / "run.sh").chmod(0o700)
        (temporary / "link").symlink_to(private)
    assert mode(tmp_path / "deep" / "weights.safetensors") == file
    assert mode(tmp_path / "model") == mode(tmp_path / "model" / "part") == folder
    assert mode(tmp_path / "model" / "part" / "weights.safetensors") == file
    assert mode(tmp_path / "model" / "run.sh") == 0o700 | file  # no right is taken away
    assert mode(private) == 0o600


def test_a_file_system_without_modes_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "chmod", refuse)
    with atomic_folder(tmp_path / "model") as temporary:
        (temporary / "a").write_text("x")
    assert (tmp_path / "model" / "a").read_text() == "x"


def test_a_place_that_cannot_be_written_is_told_before_and_at_the_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for place, told in (("folder", "it is a folder"), ("file/page.html", "a file is in the way")):
        for attempt in (check_writable, lambda path: write_text(path, "x")):
            with pytest.raises(OutputError, match=told):
                attempt(tmp_path / place)
    before = sorted(tmp_path.rglob("*"))
    check_writable(tmp_path / "new" / "deep" / "page.html")
    check_writable(tmp_path / "file")
    assert sorted(tmp_path.rglob("*")) == before
