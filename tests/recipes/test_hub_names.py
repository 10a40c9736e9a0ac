"""Models of the Hub in commands: named, pinned by their commit, and taken again when resumed."""

import json
import re
import tomllib
from pathlib import Path

from hub_server import Fault, Hub
from tiny_runs import DISTILL

COMMIT = r"someone/teacher@[0-9a-f]{40}"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_run_keeps_the_commit_of_its_teacher(hub: Hub, teacher, images, call):
    first = hub.put("someone/teacher", contents(teacher / "best"))
    words = [*DISTILL, "--no-pretrained", "--dataset", images, "--output", "run"]
    code, _, err = call(*words, "--teacher", "someone/teacher", "--epochs", "1")
    assert code == 0, err
    config = tomllib.loads(Path("run/config.toml").read_text())["distill"]
    assert config["teacher"] == f"someone/teacher@{first}"
    record = json.loads(Path("run/final/config.json").read_text())["provenance"]["teacher"]
    assert record["name"] == f"someone/teacher@{first}"

    changed = contents(teacher / "best") | {"README.md": b"---\n---\nnew"}
    changed["model.safetensors"] = changed["model.safetensors"][:-4] + b"\0\0\0\0"
    hub.put("someone/teacher", changed)
    code, _, err = call("distill", "--resume", "run")
    assert code == 0, err
    code, _, err = call("distill", "--config", "run/config.toml", "--output", "again")
    assert code == 0, err

    hub.faults = [Fault("", status=500)]
    code, out, err = call("test", "--student", "run", "--asym", "--workers", "0", "--json")
    assert code == 0, err
    assert json.loads(out)["rows"][0]["gallery"] == "teacher"
    assert re.search(COMMIT, err)


def test_what_a_hub_model_records_is_read(hub: Hub, teacher, call):
    hub.put("someone/teacher", contents(teacher / "best"))
    code, out, err = call("info", "someone/teacher", "--json")
    assert code == 0, err
    assert json.loads(out)["provenance"]["command"] == "train"
    code, _, err = call("info", "someone/none")
    assert code == 1
    assert "someone/none" in err
    assert "Traceback" not in err
