"""Landmark datasets through the command line: brought from a server on this machine, prepared."""

import json
import pickle
import tomllib
from pathlib import Path

import pytest
import torch
from file_server import FileServer, serving
from landmark_archives import (
    OXFORD,
    PARIS,
    point_tables,
    published_files,
    tgz,
    unpack_all,
)

from ram_cli.models import build_embedder, save_model
from ram_cli.transfer import fetch

ALL = ("roxford5k", "rparis6k", "oxford5k", "paris6k", "sfm30k", "sfm120k", "revisitop1m")
FILES = published_files()
GROUND_TRUTHS = ["gnd_roxford5k.pkl", "gnd_oxford5k.pkl"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fetch, "BACKOFF_SECONDS", 0.0)
    with serving(FileServer()) as running:
        running.files = dict(FILES)
        point_tables(monkeypatch, running.url)
        yield running


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, empty_folder: Path) -> Path:
    point_tables(monkeypatch, "http://127.0.0.1:9")
    return unpack_all(empty_folder / "data")


def asked(server: FileServer) -> list[str]:
    return [name for name, _ in server.requests]


def told(call, *words) -> str:
    """The one line of an error."""
    code, out, err = call(*words)
    assert (code, out) == (1, ""), err
    (line,) = [line for line in err.splitlines() if line.startswith("error")]
    return line


def test_all_are_brought_once_and_prepared(call, server: FileServer):
    code, out, err = call("download", *ALL, "--no-keep-archive", "--json")
    assert code == 0, err
    rows = {row["name"]: row for row in json.loads(out)["datasets"]}
    assert {name: rows[name]["images"] for name in ALL} == {
        "roxford5k": 6, "rparis6k": 6, "oxford5k": 7, "paris6k": 7, "sfm30k": 4, "sfm120k": 14,
        "revisitop1m": 7,
    }  # fmt: skip
    assert sorted(asked(server)) == sorted(FILES)
    left = {path.name for path in Path("data/archives").iterdir() if path.name in FILES}
    assert left == set()
    assert not list(Path("data").rglob(".incomplete*"))
    again = call("download", *ALL, "--json")[1]
    assert {row["how"] for row in json.loads(again)["datasets"]} == {"already here"}
    assert len(server.requests) == len(FILES)
    for name in ALL:
        if name != "sfm30k":  # its list of training images has no address
            code, out, err = call("prepare", name, "--json", "--workers", "0", "--device", "cpu")
            assert code == 0, err
            assert Path(json.loads(out)["manifest"]).is_file()


def test_old_and_revisited_share_their_images(call, server: FileServer):
    assert call("download", "oxford5k")[0] == 0
    assert call("download", "roxford5k")[0] == 0
    assert sorted(asked(server)) == [
        "gnd_oxford5k.pkl",
        "gnd_roxford5k.pkl",
        "oxbuild_images-v1.tgz",
    ]
    assert len(list(Path("data").rglob("*.jpg"))) == len(OXFORD)


def test_images_placed_by_hand_are_recognised(call, server: FileServer):
    images = unpack_all(Path("elsewhere")) / "roxford5k" / "jpg"
    Path("data/oxford5k").mkdir(parents=True)
    images.rename("data/oxford5k/jpg")
    assert call("download", "roxford5k")[0] == 0
    assert asked(server) == ["gnd_roxford5k.pkl"]


def test_a_finished_shard_is_never_fetched_again(call, server: FileServer):
    gone = server.files.pop("revisitop1m.3.tar.gz")
    line = told(call, "download", "revisitop1m", "--no-keep-archive")
    assert "revisitop1m.3.tar.gz" in line
    assert "--from-file" in line
    server.files["revisitop1m.3.tar.gz"] = gone
    server.requests.clear()
    assert call("download", "revisitop1m", "--no-keep-archive")[0] == 0
    assert asked(server) == ["revisitop1m.3.tar.gz"]


def test_shards_at_hand_one_by_one(call, server: FileServer):
    for name in ("revisitop1m.2.tar.gz", "revisitop1m.txt"):
        Path(name).write_bytes(FILES[name])
    line = told(
        call, "download", "revisitop1m", "--from-file", "revisitop1m.txt,revisitop1m.2.tar.gz"
    )
    assert "revisitop1m.1.tar.gz and 1 more" in line
    assert Path("revisitop1m.2.tar.gz").is_file()
    assert server.requests == []
    assert call("download", "revisitop1m")[0] == 0
    assert sorted(asked(server)) == ["revisitop1m.1.tar.gz", "revisitop1m.3.tar.gz"]
    assert call("download", "revisitop1m", "--from-file", "revisitop1m.9.zip")[0] == 2


def test_a_changed_ground_truth_is_held_against_its_first_hash(call, server: FileServer):
    assert call("download", "roxford5k", "--no-keep-archive")[0] == 0
    Path("data/roxford5k/gnd_roxford5k.pkl").unlink()
    content = pickle.loads(FILES["gnd_roxford5k.pkl"])
    content["gnd"][0]["easy"] = [1]
    server.files["gnd_roxford5k.pkl"] = pickle.dumps(content, 2)
    assert "first" in told(call, "download", "roxford5k")
    assert not Path("data/roxford5k/gnd_roxford5k.pkl").exists()


@pytest.mark.parametrize(
    "content", [b"<html>moved</html>", b"cos\nsystem\n(S'touch ran'\ntR.", b"x"]
)
def test_no_ground_truth_is_kept_that_is_none(call, server: FileServer, content: bytes):
    server.files["gnd_rparis6k.pkl"] = content
    told(call, "download", "rparis6k")
    assert not Path("ran").exists()
    server.files["gnd_rparis6k.pkl"] = FILES["gnd_rparis6k.pkl"]
    assert call("download", "rparis6k")[0] == 0


@pytest.mark.parametrize("damage", ["cut", "other", "twice"])
def test_a_damaged_archive_leaves_nothing_behind(call, server: FileServer, damage: str):
    name = "paris_2-v1.tgz"
    jpg = FILES["paris_2-v1.tgz"]
    server.files[name] = {
        "cut": jpg[: len(jpg) // 2],
        "other": tgz({"a.txt": b"nothing"}),
        "twice": tgz({f"{a}/{PARIS[3]}.jpg": b"x" for a in "ab"}),
    }[damage]
    assert name in told(call, "download", "rparis6k")
    found = [path.stem for path in Path("data").rglob("*.jpg")]
    assert sorted(found) == sorted(PARIS[:3])
    server.files[name] = jpg
    assert call("download", "rparis6k")[0] == 0
    assert asked(server).count("paris_1-v1.tgz") == 1


def test_lost_images_are_named(call, here: Path):
    (here / "rparis6k" / "jpg" / f"{PARIS[1]}.jpg").write_bytes(b"")
    (here / "retrieval-SfM" / "retrieval-SfM-30k-whiten.pkl").unlink()
    found = {
        row["name"]: row["folder"] for row in json.loads(call("download", "--json")[1])["datasets"]
    }
    assert found["roxford5k"] == "data/roxford5k"
    assert found["revisitop1m"].startswith("data/revisitop1m")
    assert found["rparis6k"] is found["paris6k"] is found["sfm30k"] is found["instre"] is None


def test_prepare_compares_counts_and_writes_the_truth(call, here: Path):
    code, out, err = call("prepare", "roxford5k", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["images"] == {"queries": 2, "gallery": 4}
    manifest = json.loads(Path(result["manifest"]).read_text())
    assert manifest["ground_truth"][1] == {"easy": [], "hard": [1], "junk": [3]}
    assert manifest["queries"]["boxes"] == [[2.0, 3.5, 20.0, 25.0], [1.0, 1.0, 25.0, 28.0]]
    assert manifest["content_hash"] == result["content_hash"]
    path = here / "roxford5k" / "gnd_roxford5k.pkl"
    content = pickle.loads(path.read_bytes())
    content["imlist"].pop()
    content["gnd"][1]["junk"] = []
    path.write_bytes(pickle.dumps(content))
    assert "4 images and 2 queries" in told(call, "prepare", "roxford5k")
    (here / "revisitop1m" / "revisitop1m.txt").write_text("00/000000.jpg\n")
    assert "7 images" in told(call, "prepare", "revisitop1m")


def test_an_unreadable_gallery_image_moves_no_index(call, here: Path):
    (here / "roxford5k" / "jpg" / f"{OXFORD[1]}.jpg").write_bytes(b"no image")
    assert OXFORD[1] in told(call, "prepare", "roxford5k")
    code, out, err = call("prepare", "roxford5k", "--skip-unreadable", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["left_out"] == 1
    manifest = json.loads(Path(result["manifest"]).read_text())
    paths = manifest["gallery"]["paths"]
    truth = [
        {key: [paths[i] for i in found] for key, found in entry.items()}
        for entry in manifest["ground_truth"]
    ]
    first, third, fourth = (f"{OXFORD[i]}.jpg" for i in (0, 2, 3))
    assert truth[0] == {"easy": [first], "hard": [third], "junk": []}
    assert truth[1] == {"easy": [], "hard": [], "junk": [fourth]}
    (here / "roxford5k" / "jpg" / f"{OXFORD[4]}.jpg").write_bytes(b"no image")
    assert OXFORD[4] in told(call, "prepare", "roxford5k", "--skip-unreadable")


def test_training_on_a_test_set_is_refused(call, here: Path):
    words = ("--backbone", "timm:test_resnet", "--no-pretrained", "--device", "cpu")
    assert "sfm120k" in told(call, "train", "--dataset", "roxford5k", *words)
    assert "--distractors" in told(call, "train", "--dataset", "revisitop1m", *words)


def test_landmarks_are_learnt_and_searched(call, here: Path):
    folder = here / "retrieval-SfM"
    lists = (folder / "retrieval-SfM-120k.pkl").read_bytes()
    (folder / "retrieval-SfM-30k.pkl").write_bytes(lists)
    torch.manual_seed(0)
    model = build_embedder("timm:test_resnet", pretrained=False, dimension=8, input_size=32)
    save_model(model, Path("model"), provenance={})
    plain = ("--workers", "0", "--device", "cpu", "--precision", "fp32", "--json")
    code, _, err = call(
        "distill", "--dataset", "sfm30k", "--method", "contrastive", "--student", "model",
        "--teacher", "model", "--image-size", "32", "--teacher-image-size", "32", "--epochs", "1",
        "--images-per-epoch", "4", "--negatives", "1", "--batch-size", "2", "--output", "run",
        *plain,
    )  # fmt: skip
    assert code == 0, err
    ran = tomllib.loads(Path("run/config.toml").read_text())["distill"]
    assert (ran["fit"], ran["optimizer"], ran["lr"]) == ("whole", "adam", 1e-6)
    code, out, err = call(
        "test", "--dataset", "roxford5k", "--student", "run/final", "--teacher", "model", "--asym",
        "--distractors", "revisitop1m", *plain,
    )  # fmt: skip
    assert code == 0, err
    rows = json.loads(out)["rows"]
    assert [row["protocol"] for row in rows] == ["easy", "medium", "hard"]
    assert {row["dataset"] for row in rows} == {"roxford5k + 7 distractors"}


def test_searches_follow_a_final_training_as_ram_test_would_make_them(call, here: Path):
    torch.manual_seed(0)
    model = build_embedder("timm:test_resnet", pretrained=False, dimension=8, input_size=32)
    save_model(model, Path("model"), provenance={})
    plain = ("--workers", "0", "--device", "cpu", "--precision", "fp32")
    words = (
        "distill", "--dataset", "sfm120k", "--method", "contrastive", "--student", "model",
        "--teacher", "model", "--image-size", "24", "--teacher-image-size", "32", "--epochs", "1",
        "--images-per-epoch", "4", "--negatives", "1", "--batch-size", "2", "--final", *plain,
    )  # fmt: skip
    assert "no test classes" in told(call, *words, "--output", "alone")
    code, out, err = call(
        *words, "--output", "run", "--test-datasets", "roxford5k,oxford5k", "--json"
    )
    assert code == 0, err
    assert "only the others" in err
    result = json.loads(out)
    assert [(row["label"], row["protocol"]) for row in result["tests"]] == [
        (label, protocol)
        for protocols in (("easy", "medium", "hard"), ("old",))
        for label in ("student 24 → teacher 32", "student 24 → student 24")
        for protocol in protocols
    ]
    code, out, err = call(
        "test", "--dataset", "roxford5k,oxford5k", "--student", "run", "--asym", "--sym", *plain,
        "--json",
    )  # fmt: skip
    assert code == 0, err
    same = ("dataset", "label", "protocol", "map", "precision_at_5", "queries")
    found, expected = (
        [[row[key] for key in same] for row in rows]
        for rows in (result["tests"], json.loads(out)["rows"])
    )
    assert found == expected
    assert any(row["map"] for row in result["tests"])
    code, out, err = call(
        "train", "--backbone", "timm:test_resnet", "--no-pretrained", "--image-size", "24",
        "--whitening", "8", "--dataset", "sfm120k", "--epochs", "1", "--images-per-epoch", "4",
        "--negatives", "1", "--batch-size", "2", "--output", "trained", *plain,
        "--test-datasets", "roxford5k",
    )  # fmt: skip
    assert code == 0, err
    assert "landmarks" in out
    assert "hard" in out


def test_advice_does_not_lead_in_a_circle(call, here: Path):
    """No address is known for the list of sfm30k: fetching it is not said to help."""
    line = told(call, "prepare", "sfm30k")
    assert "retrieval-SfM-30k.pkl" in line
    assert "ram download" not in line
    assert "--learn-whitening sfm30k" in call("download", "sfm30k")[2]
    assert "--dataset sfm120k" in call("download", "sfm120k")[2]


def test_list_says_what_each_is_for(call, here: Path):
    rows = {
        row["name"]: row for row in json.loads(call("list", "datasets", "--json")[1])["datasets"]
    }
    assert rows["sfm120k"]["for"] == "training"
    assert rows["roxford5k"]["for"] == "test"
    assert rows["revisitop1m"]["for"] == "distractors"
    assert rows["cub"]["get it"] == "ram download cub"
    assert "instre/jpg" in rows["instre"]["get it"]
