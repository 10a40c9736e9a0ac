"""Publishing by the real client to a Hub on this machine, and taking back what was published."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from hub_server import TOKEN, Fault, Hub

from ram_cli import load_model
from ram_cli.errors import OutputError
from ram_cli.export import Push, push_folder
from ram_cli.models import build_embedder, fetch_from_hub, model_hash, save_model
from ram_cli.recipes.aligned import find_teacher

NAME = "someone/birds"
SIGNATURE = "sigsigsig"


def network(seed: int, size: int):
    torch.manual_seed(seed)
    return build_embedder(
        "timm:test_resnet", pretrained=False, dimension=8, input_size=size
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """A student and its teacher, as trainings leave them."""
    root = tmp_path_factory.mktemp("models")
    teacher = network(1, 64)
    save_model(teacher, root / "big", provenance={"command": "train"})
    record = {"name": str(root / "big"), "hash": model_hash(teacher), "image_size": 48}
    provenance = {"command": "distill", "settings": {"method": "coupled"}, "teacher": record}
    save_model(network(2, 32), root / "small", provenance=provenance)
    return root


@pytest.fixture
def publish(call, folders):
    def run(*words: object) -> tuple[int, str, str]:
        return call("export", folders / "small", "--to", "out", "--hub", NAME, *words)

    return run


def refused(answer: tuple[int, str, str]) -> str:
    """The line of a refusal, after looking for what it must not hold."""
    code, out, err = answer
    assert code in (1, 2), err
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert out == ""
    for secret in (TOKEN, SIGNATURE, "hf_wrong"):
        assert secret not in err
    return errors[0]


def secrets_on_disk() -> list[Path]:
    return [
        path for path in Path().rglob("*")
        if path.is_file() and (TOKEN.encode() in path.read_bytes())
    ]  # fmt: skip


def test_one_commit_that_gives_the_same_vectors_back(logged_in: Hub, publish, folders):
    code, out, err = publish("--json")
    assert code == 0, err
    result = json.loads(out)["hub"][0]
    assert result["commit"].startswith(f"{logged_in.url}/{NAME}/commit/")
    assert {file["path"] for file in result["files"]} == {
        "README.md", "config.json", "model.safetensors",
    }  # fmt: skip
    assert logged_in.files(NAME).keys() == {
        "README.md", "config.json", "model.safetensors", ".gitattributes",
    }  # fmt: skip
    assert len(logged_in.repositories[NAME].commits) == 2  # that of its creation, and ours
    assert not logged_in.repositories[NAME].private
    views = torch.rand(2, 3, 32, 32)
    assert torch.equal(load_model(NAME)(views), load_model(folders / "small")(views))
    card = logged_in.files(NAME)["README.md"].decode()
    assert f'load_model("{NAME}")' in card
    assert str(folders) not in card
    assert secrets_on_disk() == []
    assert TOKEN not in out + err


def test_a_pair_goes_to_two_names_and_is_found_again(logged_in: Hub, publish, call, folders):
    code, out, err = publish("--pair", "--private", "--json")
    assert code == 0, err
    assert f"--student {NAME} --asym, which finds its teacher there" in err
    names = [one["repository"] for one in json.loads(out)["hub"]]
    assert names == [f"{NAME}-teacher", NAME]
    assert all(logged_in.repositories[name].private for name in names)
    card = logged_in.files(NAME)["README.md"].decode()
    assert yaml.safe_load(card.split("---\n")[1])["base_model"] == f"{NAME}-teacher"
    config = json.loads(logged_in.files(NAME)["config.json"])
    assert config["provenance"]["teacher"]["name"] == f"{NAME}-teacher"
    assert f"/{NAME})" in logged_in.files(f"{NAME}-teacher")["README.md"].decode()
    assert find_teacher(str(fetch_from_hub(NAME))) == f"{NAME}-teacher"
    views = torch.rand(1, 3, 48, 48)
    back = load_model(f"{NAME}-teacher")
    assert back.spec.size == 48
    assert torch.equal(back(views), load_model(folders / "big")(views))


def test_a_branch_leaves_the_main_one_alone(logged_in: Hub, publish):
    code, _, err = publish("--revision", "v2")
    assert code == 0
    assert f"load_model('{NAME}@v2')" in err
    assert "model.safetensors" not in logged_in.files(NAME)
    assert "model.safetensors" in logged_in.files(NAME, "v2")
    assert load_model(f"{NAME}@v2").dimension == 8
    assert publish("--revision", "v2", "--force")[0] == 0


def test_files_of_an_older_model_go_and_others_stay(logged_in: Hub, publish):
    old = dict.fromkeys(
        ("whitening.safetensors", "results.json", "model.onnx", "model.int8.onnx.data",
         "LICENSE", "detector.onnx"), b"x",
    )  # fmt: skip
    logged_in.put(NAME, old)
    assert publish()[0] == 0
    assert logged_in.files(NAME).keys() == {
        "README.md", "config.json", "model.safetensors", "LICENSE", "detector.onnx",
    }  # fmt: skip


def test_a_dry_run_needs_no_token_and_sends_nothing(hub: Hub, publish):
    code, out, err = publish("--dry-run", "--json", "--private")
    assert code == 0, err
    result = json.loads(out)["hub"][0]
    assert result["commit"] is None
    sizes = {file["path"]: file["bytes"] for file in result["files"]}
    assert sizes["model.safetensors"] == Path("out/model.safetensors").stat().st_size
    assert hub.requests == []
    code, out, err = publish("--dry-run", "--force")
    assert "model.safetensors" in out


def test_without_a_token_nothing_begins(hub: Hub, publish):
    assert "hf auth login" in refused(publish())
    assert not Path("out").exists()
    assert hub.requests == []


def test_a_public_repository_is_not_taken_for_private(logged_in: Hub, publish):
    logged_in.put(NAME, {"a": b"b"})
    assert "public" in refused(publish("--private"))
    assert logged_in.files(NAME) == {"a": b"b"}
    assert not Path("out").exists()
    logged_in.repositories[NAME].private = True
    assert publish("--private")[0] == 0


@pytest.mark.parametrize("place", ["PUT /lfs/", "POST .*/commit/"])
def test_a_broken_upload_is_gone_on_with(logged_in: Hub, folders, tmp_path, place: str):
    folder = tmp_path / "out"
    shutil.copytree(folders / "small", folder)
    (folder / "retrievals.png").write_bytes(b"\x89PNG" * 1000)  # a second large file
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    broken = Fault(place + weights, cut=500) if "lfs" in place else Fault(place, status=500)
    logged_in.faults = [broken]
    with pytest.raises(OutputError) as caught:
        push_folder(Push(folder, NAME), "m")
    assert "\n" not in str(caught.value)
    assert SIGNATURE not in str(caught.value) + str(caught.value.__cause__)
    assert logged_in.files(NAME).keys() == {".gitattributes"}
    arrived = list(logged_in.uploads)
    assert len(arrived) == 2 or "lfs" in place
    logged_in.faults = []
    push_folder(Push(folder, NAME), "m")
    assert logged_in.uploads[: len(arrived)] == arrived
    assert len(set(logged_in.uploads)) == len(logged_in.uploads) == 2  # nothing twice
    assert logged_in.files(NAME)["retrievals.png"] == b"\x89PNG" * 1000


@pytest.mark.parametrize(
    ("where", "status"),
    [("repos/create", 401), ("repos/create", 403), ("/preupload/", 404), ("/objects/batch", 429),
     ("/commit/", 401), ("/commit/", 403), ("/commit/", 500), ("GET /api/models/", 500)],
)  # fmt: skip
def test_refusals_are_one_line(logged_in: Hub, publish, status: int, where: str):
    logged_in.faults = [Fault(where, status=status)]
    line = refused(publish("--debug"))
    assert NAME in line
    assert str(status) in line
    assert secrets_on_disk() == []


def test_signed_addresses_are_never_shown(logged_in: Hub, publish):
    logged_in.faults = [Fault("PUT /lfs/", status=403)]
    refused(publish("--debug"))
    assert any(line.startswith("PUT /lfs/") for line in logged_in.requests)


def test_a_token_that_is_not_accepted(logged_in: Hub, publish, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrongwrongwrongwrong")
    assert "token" in refused(publish("--debug"))
    assert not Path("out").exists()


def test_no_hub_at_all(logged_in: Hub, publish, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9" in refused(publish("--debug"))
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "words",
    [["--hub", "birds"], ["--hub", "a/b/c"], ["--hub", "a/b..c"], ["--hub", "a/b@v1"],
     ["--private"], ["--hub", "a/b", "--revision", "-x y"]],
)  # fmt: skip
def test_calls_that_cannot_be_meant(logged_in: Hub, call, folders, words: list[str]):
    refused(call("export", folders / "small", "--to", "out", *words))
    assert not Path("out").exists()
    assert logged_in.requests == []


def test_a_card_that_the_hub_does_not_take(logged_in: Hub, publish):
    line = refused(publish("--licence", "apache-2.1"))
    assert '"license" must be one of [apache-2.0' in line
    assert "--licence" in line
    assert logged_in.files(NAME).keys() == {".gitattributes"}
    assert publish("--licence", "apache-2.0", "--force")[0] == 0


def test_offline_nothing_is_published(logged_in: Hub, publish, monkeypatch):
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    _http.close_session()  # a session keeps whether it may ask
    assert "HF_HUB_OFFLINE" in refused(publish())
    assert logged_in.requests == []
    assert not Path("out").exists()


def test_the_hub_is_quoted_where_it_says_why(logged_in: Hub, publish):
    logged_in.faults = [Fault("repos/create", status=403, message="You have no seat in someone.")]
    assert "(403: You have no seat in someone)" in refused(publish())
    for secret in (f"token {TOKEN}", "<b>see https://x/y?X-Amz-Signature=sigsigsig</b>", "x" * 500):
        logged_in.faults = [Fault("repos/create", status=403, message=secret)]
        assert "(403)" in refused(publish("--force"))
