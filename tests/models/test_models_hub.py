"""Models from the Hub: the real client against a server on this machine that misbehaves."""

import hashlib
from pathlib import Path

import pytest
import torch
from hub_server import TOKEN, Fault, Hub

from ram_cli import load_model
from ram_cli.errors import CheckpointError, ModelError
from ram_cli.models import Embedder, build_embedder, pinned, save_model
from ram_cli.models.hub import fetch_from_hub

NAME = "someone/birds"


def weights(scale: float = 1.0) -> Embedder:
    torch.manual_seed(1)
    model = build_embedder("timm:test_resnet", pretrained=False, dimension=8, input_size=32).eval()
    with torch.no_grad():
        model.projection.bias.add_(scale)  # type: ignore[union-attr]
    return model


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("model") / "m"
    save_model(weights(), folder, provenance={"command": "train"})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def failing(name: str = NAME, kind: type[ModelError] = ModelError) -> str:
    with pytest.raises(kind) as caught:
        load_model(name)
    message = str(caught.value)
    assert "\n" not in message
    assert TOKEN not in message
    return message


def test_a_model_comes_whole_and_nothing_else_with_it(hub: Hub, files: dict[str, bytes]) -> None:
    strangers = dict.fromkeys(("pytorch_model.bin", "modeling.py", "a/config.json"), b"x")
    own = {"whitening.safetensors": b"w", "results.json": b"{}"}
    commit = hub.put(NAME, files | strangers | own)
    views = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(load_model(NAME)(views), weights()(views))
    folder = fetch_from_hub(NAME)
    assert folder.name == commit
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        *own,
    }
    assert not [line for line in hub.requests for name in strangers if line.endswith(f"/{name}")]


def test_branches_tags_and_commits(hub: Hub, files: dict[str, bytes], tmp_path: Path) -> None:
    first = hub.put(NAME, files)
    save_model(weights(2.0), tmp_path / "m", provenance={})
    changed = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    second = hub.put(NAME, changed)
    hub.put(NAME, files, branch="v1.0")
    views = torch.rand(1, 3, 32, 32)
    old, new = weights()(views), weights(2.0)(views)
    for name, expected in ((f"{NAME}@{first}", old), (NAME, new), (f"{NAME}@v1.0", old)):
        torch.testing.assert_close(load_model(name)(views), expected)
    assert pinned(NAME) == f"{NAME}@{second}"
    assert pinned(f"{NAME}@{first}") == f"{NAME}@{first}"
    assert pinned("resnet18") == "resnet18"
    assert "'v2'" in failing(f"{NAME}@v2")


def test_what_is_cached_serves_without_the_hub(
    hub: Hub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    commit = hub.put(NAME, files)
    load_model(NAME)
    hub.faults = [Fault("", status=503)]
    load_model(NAME)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    load_model(NAME)
    assert pinned(NAME) == f"{NAME}@{commit}"
    assert "does not answer" in failing("someone/else")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    load_model(f"{NAME}@{commit}")
    assert "HF_HUB_OFFLINE" in failing("someone/else")


def test_private_repositories_are_seen_with_a_token_only(
    hub: Hub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put(NAME, files, private=True)
    assert "hf auth login" in failing()
    monkeypatch.setenv("HF_TOKEN", "hf_wrongwrongwrongwrong")
    message = failing()
    assert "token" in message
    assert "hf_wrong" not in message
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    load_model(NAME)


def test_gated_repositories_say_where_to_ask(
    hub: Hub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put(NAME, files, gated=True)
    assert f"{hub.url}/{NAME}" in failing()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    load_model(NAME)


@pytest.mark.parametrize(
    ("status", "part"), [(403, "forbids"), (429, "wait"), (500, "500"), (418, "418")]
)
def test_refusals_are_one_line_and_nothing_is_kept(
    hub: Hub, files: dict[str, bytes], status: int, part: str
) -> None:
    hub.put(NAME, files)
    hub.faults = [Fault("GET /api/models", status=status)]
    assert part in failing()
    hub.faults = [Fault("/resolve/.*safetensors", status=status)]
    failing()
    hub.faults = []
    load_model(NAME)


def test_a_connection_that_breaks_is_gone_on_with(hub: Hub, files: dict[str, bytes]) -> None:
    hub.put(NAME, files)
    hub.faults = [Fault("GET /cdn/", cut=1000, times=2)]
    load_model(NAME)
    assert sum(line.startswith("GET /cdn/") for line in hub.requests) == 3


def test_a_connection_that_always_breaks_leaves_no_model(hub: Hub, files: dict[str, bytes]) -> None:
    hub.put(NAME, files)
    hub.faults = [Fault("GET /cdn/", cut=0)]
    failing()
    hub.faults = []
    load_model(NAME)


@pytest.mark.parametrize("file", ["/cdn/", "/resolve/.*/config.json"])
def test_a_file_that_arrives_changed_is_refused_and_removed(
    hub: Hub, files: dict[str, bytes], file: str
) -> None:
    hub.put(NAME, files)
    hub.faults = [Fault(f"GET .*{file}", corrupt=True)]
    assert "removed" in failing(kind=CheckpointError)
    hub.faults = []
    load_model(NAME)


@pytest.mark.parametrize(
    "content",
    [
        {"pytorch_model.bin": b"cos\nsystem\n(S'touch pwned'\ntR."},
        {"config.json": b'{"architectures": ["X"]}', "model.safetensors": b"\0" * 16},
        {"config.json": b"cos\nsystem\n(S'touch pwned'\ntR.", "model.safetensors": b""},
        {},
    ],
)
def test_repositories_that_hold_no_model_of_ours(
    hub: Hub, content: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hub.put(NAME, content | {"README.md": b"hello"})
    failing(kind=CheckpointError)
    assert not Path("pwned").exists()


def test_names_that_the_hub_does_not_allow(hub: Hub) -> None:
    assert "someone/a..b" in failing("someone/a..b")
    assert "someone/none" in failing("someone/none")


def test_content_is_compared_on_every_load(hub: Hub, files: dict[str, bytes]) -> None:
    hub.put(NAME, files)
    blob = (fetch_from_hub(NAME) / "model.safetensors").resolve()
    assert blob.name == hashlib.sha256(files["model.safetensors"]).hexdigest()
    blob.write_bytes(files["model.safetensors"][:-1] + b"!")
    assert "removed" in failing(kind=CheckpointError)
    load_model(NAME)
