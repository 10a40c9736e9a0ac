"""The scripts of `benchmarks/` import each other as they do when they are run."""

from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(SCRIPTS)
    return SCRIPTS
