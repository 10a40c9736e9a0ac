"""What every test relies on: no settings leak in from the machine the tests run on."""

import os
from pathlib import Path

import pytest

# Before torch is imported: tests run side by side, and tiny tensors gain nothing from threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def no_ram_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clear every variable that settings would read."""
    for name in list(os.environ):
        if name.upper().startswith("RAM_"):
            monkeypatch.delenv(name)


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, where no `ram.toml` and no `runs/` lie."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
