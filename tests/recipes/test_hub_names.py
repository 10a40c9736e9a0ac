"""Models of the Hub in commands: named, pinned by their commit, and taken again when resumed."""

import json
import re
import tomllib
from pathlib import Path

from hub_server import Fault, Hub
from tiny_runs import DISTILL

from ram_cli.models import load_model

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


def test_a_revision_is_taken_wherever_a_model_is_named(hub: Hub, teacher, images, call):
    old = contents(teacher / "best")
    config = json.loads(old["config.json"])
    config["model"]["input_size"] = 40  # which tells the two revisions apart
    first = hub.put("someone/teacher", old)
    hub.put("someone/teacher", old | {"config.json": json.dumps(config).encode()})
    sizes = {"someone/teacher@main": 40, f"someone/teacher@{first}": 48}
    plain = ["--device", "cpu", "--json"]
    for name, size in sizes.items():
        assert load_model(name).spec.size == size
        code, out, err = call("info", name, *plain)
        assert code == 0, err
        assert json.loads(out)["model"]["input_size"] == size
        code, out, err = call(
            "test", "--student", name, "--teacher", f"someone/teacher@{first}", "--asym",
            "--dataset", images, "--workers", "0", *plain,
        )  # fmt: skip
        assert code == 0, err
        row = json.loads(out)["rows"][0]
        assert (row["query_size"], row["gallery_size"]) == (size, 48)
        code, out, err = call("export", name, "--to", f"out{size}", "--force", *plain)
        assert code == 0, err
        assert load_model(f"out{size}").spec.size == size
        code, out, err = call("prepare", images, "--teacher", name, "--workers", "0", *plain)
        assert code == 0, err
    name = f"someone/teacher@{first}"
    quick = ["--epochs", "1", "--image-size", "24", "--teacher", name, "--student", name]
    code, _, err = call(*DISTILL, *quick, "--dataset", images, "--output", "run")
    assert code == 0, err
    config = tomllib.loads(Path("run/config.toml").read_text())["distill"]
    assert (config["teacher"], config["student"]) == (name, name)
    assert "48 px" in err
    code, _, err = call("export", "run", "--to", "pair", "--pair", *plain)
    assert code == 0, err
    assert load_model("pair/teacher").spec.size == 48
    code, _, err = call("info", "someone/teacher@none")
    assert (code, err.count("\n")) == (1, 1)
    assert "no revision 'none'" in err
