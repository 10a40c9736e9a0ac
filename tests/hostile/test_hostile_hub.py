"""Repositories of the Hub that hold what no model holds: only the model's own files ever arrive."""

from pathlib import Path

import pytest
from guard import fuzz, refused_or_fine
from hub_server import Hub, _Handler
from hypothesis import given
from hypothesis import strategies as st

from ram_cli.models.hub import MODEL_FILES, fetch_from_hub

ODD = st.sampled_from([
    "../../x", "../config.json", "/etc/x", "config.json/x", "a/config.json", "config.json ",
    "CONFIG.JSON", "model.safetensors/../../x", "pytorch_model.bin", "modeling.py",
    "__init__.py", ".git/config",
    "config.json\n", "\x1b[31m", "model.safetensors.index.json", "whitening.safetensors/x", "a\\b",
    "~/x", "model.safetensors\0", "refs/../../x",
])  # fmt: skip
NETWORK = frozenset({"socket.connect", "urllib.Request", "os.symlink"})
CONTENTS = st.sampled_from([b"", b"x", b"{}", b"[" * 50_000, b"\x80\x02c__builtin__\neval\n."])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path


@fuzz(1.5)
@given(
    st.dictionaries(ODD, CONTENTS, max_size=4),
    st.dictionaries(st.sampled_from(list(MODEL_FILES)), CONTENTS, max_size=3),
    st.integers(0, 10**9),
)
def test_any_repository(hub: Hub, place: Path, strangers, own, number):
    name = f"someone/m{number}"
    hub.put(name, strangers | own)
    before = {path for path in place.rglob("*") if "hub-cache" not in path.parts}
    with refused_or_fine(place / "hub-cache", NETWORK) as said:
        folder = fetch_from_hub(name)
        found = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
        assert found <= set(MODEL_FILES)
    assert said or {"config.json", "model.safetensors"} <= own.keys()
    assert {path for path in place.rglob("*") if "hub-cache" not in path.parts} == before
    asked = [line for line in hub.requests if "/resolve/" in line]
    assert all(line.rpartition("/")[2].split("?")[0] in MODEL_FILES for line in asked), asked


def test_a_listing_that_is_none(hub: Hub, place: Path, monkeypatch):
    true = _Handler.json
    for number, answer in enumerate((
        [], "x", {"siblings": [{"rfilename": "../../config.json"}], "sha": "../../x"},
        {"siblings": None}, {"sha": 3, "siblings": [1]}, {"id": 1, "sha": "a" * 40, "siblings": {}},
    )):  # fmt: skip
        name = f"someone/odd{number}"
        hub.put(name, {"x": b"x"})
        monkeypatch.setattr(_Handler, "json", lambda self, _, _a=answer: true(self, _a))
        with refused_or_fine(place / "hub-cache", NETWORK) as said:
            fetch_from_hub(name)
        assert said
