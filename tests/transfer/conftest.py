from collections.abc import Iterator

import pytest
from file_server import FileServer, serving

from ram_cli.transfer import fetch


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(fetch, "BACKOFF_SECONDS", 0.0)
    with serving(FileServer()) as running:
        running.files["a.zip"] = bytes(range(256)) * 4096  # 1 MiB
        yield running
