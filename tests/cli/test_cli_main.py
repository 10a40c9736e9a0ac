import json
import logging
import os
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ram_cli.cli.main import COMMANDS, main
from ram_cli.errors import ConfigError, DataError, Interrupted, TrainingError
from ram_cli.progress import TableData
from ram_cli.settings import DistillSettings
from ram_cli.version import __version__

pytestmark = pytest.mark.usefixtures("empty_folder")

DISTILL = ["distill", "--teacher", "t", "--student", "s", "--dataset", "pics"]


@dataclass(frozen=True)
class FakeReport:
    document: dict[str, Any] = field(default_factory=lambda: {"map": np.float32(0.5)})

    def to_json(self) -> dict[str, Any]:
        return self.document

    def tables(self) -> list[TableData]:
        row = ["41.20", "[red]a[/red]/\x1b[2Jb.jpg"]
        return [TableData("Scores", ["mAP", "name"], [row], {0})]

    def notes(self) -> list[str]:
        return ["a remark"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replace every command's work; return the settings that commands were called with."""
    received: list[Any] = []

    def body(settings: Any, reporter: Any) -> FakeReport:
        sys.stdout.write("chatter of a library\n")
        reporter.note("working")
        with reporter.task("embedding", 3) as task:
            task.advance(3, loss=0.5)
        received.append(settings)
        return FakeReport()

    for name in COMMANDS:
        monkeypatch.setitem(COMMANDS, name, body)
    return received


def call(*words: str) -> int:
    """Return the exit code of a call."""
    with pytest.raises(SystemExit) as stopped:
        main(words)
    return stopped.value.code or 0


def failing(error: BaseException) -> Any:
    def body(settings: Any, reporter: Any) -> FakeReport:
        raise error

    return body


def test_flags_reach_the_command(calls):
    flags = ["--epochs=7", "--lam-1", "0.1", "--gpu-id", "1", "--no-val", "--comment", "a b"]
    assert call(*DISTILL, *flags, "--test-datasets", "cub-test,x", "--test-datasets", "y") == 0
    (settings,) = calls
    assert isinstance(settings, DistillSettings)
    assert (settings.teacher, settings.student, settings.dataset) == ("t", "s", "pics")
    assert (settings.epochs, settings.lambda_ts, settings.device) == (7, 0.1, "cuda:1")
    assert (settings.val, settings.comment) == (False, "a b")
    assert settings.test_datasets == ("cub", "x", "y")


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["demo", "--seed", "5"], "seed", 5),
        (["train", "--arch", "b", "--training-dataset", "d", "--neg-num", "2"], "negatives", 2),
        (["train", "--student", "b", "--dataset", "d", "--not-pretrained"], "pretrained", False),
        (
            ["train", "--backbone", "b", "--dataset", "d", "--query-size", "9"],
            "images_per_epoch",
            9,
        ),
        (["train", "--arch", "b", "--dataset", "d", "--mode", "std"], "loss", "contrastive"),
        ([*DISTILL, "--mode", "ts_reg"], "method", "cosine-regression"),
        ([*DISTILL, "--update-every", "4"], "accumulate", 4),
        ([*DISTILL, "--directory", "out"], "output", Path("out")),
        ([*DISTILL, "--freeze-bn"], "freeze_bn", True),
        ([*DISTILL, "--val", "--no-val"], "val", False),
        ([*DISTILL, "--no-val", "--val"], "val", True),
        ([*DISTILL, "--epochs", "3", "--epochs", "4"], "epochs", 4),
        (["test", "--query-size", "64"], "image_size", 64),
        (["test", "--network-path", "m", "--datasets", "roxford5k"], "student", "m"),
        (["test", "--multiscale", "[1, 1/2**(1/2), 1/2]"], "scales", (1, 1 / 2**0.5, 0.5)),
        (["test", "-npath", "m", "-d", "roxford5k,rparis6k"], "dataset", ("roxford5k", "rparis6k")),
        (["test", "-ms", "[1, 1/2**(1/2), 1/2]"], "scales", (1, 1 / 2**0.5, 0.5)),
        (["test", "-w", "retrieval-SfM-120k"], "learn_whitening", "sfm120k"),
        (["train", "--network-path", "b", "--dataset", "d"], "backbone", "b"),
        (["test", "--ks", "1,2", "--ks", "[5]"], "ks", (1, 2, 5)),
        (["test", "--gallery-size", "448"], "teacher_image_size", 448),
        (["export", "runs/a", "--to", "x"], "run", "runs/a"),
        (["export", "--to", "x", "--", "-odd"], "run", "-odd"),
        (["info", "resnet18", "--size", "64", "--size", "96,128"], "size", (64, 96, 128)),
        (["list", "Losses"], "what", "losses"),
        (["list"], "what", None),
        (["download", "cub", "SOP"], "datasets", ("cub", "sop")),
        (["download", "--keep-archive", "cub,cars"], "datasets", ("cub", "cars")),
        (["download", "--list"], "list", True),
        (
            ["download", "cars", "--from-file", "a", "--from-file", "b"],
            "from_file",
            (Path("a"), Path("b")),
        ),
        (["prepare", "cub-test"], "dataset", "cub"),
        (["prepare", "cub", "--teacher", "t"], "teacher_image_size", 448),
    ],
)
def test_every_spelling_sets_its_field(words, name, value, calls):
    assert call(*words) == 0
    assert getattr(calls[0], name) == value


def test_resume_with_nothing_after_it_is_the_newest_run(calls):
    settings = DistillSettings.load({"teacher": "t", "student": "s", "dataset": "d", "epochs": 3})
    for name in ("a", "b"):
        run = Path("runs", name)
        run.mkdir(parents=True)
        (run / "config.toml").write_text(settings.to_toml())
    os.utime("runs/b/config.toml", (1, 1))
    assert call("distill", "--resume", "--epochs", "5") == 0
    assert call("distill", "--epochs", "6", "--resume") == 0
    assert call("distill", "--resume", "runs/b") == 0
    got = [(settings.resume, settings.epochs, settings.teacher) for settings in calls]
    newest = Path("runs/a")
    assert got == [(newest, 5, "t"), (newest, 6, "t"), (Path("runs/b"), 3, "t")]


def test_faults_of_every_source_are_reported_in_one_go(calls, monkeypatch, capsys):
    monkeypatch.setenv("RAM_BATCH_SIZE", "many")
    Path("ram.toml").write_text("[distill]\nmomentun = 1\n")
    words = [*DISTILL, "--epochs", "x", "--poll", "gem", "--val=3", "spare", "--lr"]
    assert call(*words) == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert (out, calls) == ("", [])
    assert len(lines) == 7
    assert all(line.startswith("error: ") for line in lines)
    for part in ("--epochs", "RAM_BATCH_SIZE", "momentum", "--pool", "--val", "'spare'", "--lr"):
        assert part in err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["distil"], "distill"),
        (["--nonsense"], "--nonsense"),
        (["info"], "MODEL"),
        (["list", "datsets"], "datasets"),
        (["list", "datasets", "models"], "models"),
        (["export", "runs/a"], "--to"),
        (["download", "cup", "cub"], "did you mean cub"),
        (["download", "cub", "sop", "--from-file", "x"], "--from-file"),
        (["download", "--from-file", "x"], "--from-file"),
        (["prepare"], "DATASET"),
        (["prepare", "a", "b"], "'b'"),
        ([*DISTILL, "--mehtod", "x"], "--method"),
        ([*DISTILL, "-x"], "-x"),
        ([*DISTILL, "--lr", "--epochs", "3"], "--lr needs a value: Peak learning rate"),
        (["train", "--arch", "b", "--dataset", "d", "--whitening"], "Outputs of the projection"),
        ([*DISTILL, "--mode", "std"], "'std' trains without a teacher: ram train --mode std"),
        ([*DISTILL, "--mode", "Sym", "--loss", "triplet"], "ram train --mode sym"),
        (["compare", "--teacher", "t", "--methods", "csd,std"], "ram train --mode std"),
        ([*DISTILL, "--feat-path", "f"], "ram prepare DATASET --teacher"),
        ([*DISTILL, "--test-whiten", "retrieval-SfM-120k"], "it belongs to ram test"),
        (["train", "--arch", "b", "--dataset", "d", "--test-freq", "1"], "--val-every"),
    ],
)
def test_bad_call(words, part, calls, capsys):
    assert call(*words) == 2
    out, err = capsys.readouterr()
    assert (out, calls) == ("", [])
    assert part in err


@pytest.mark.parametrize(
    ("error", "code", "part"),
    [
        (ConfigError(["one", "two"]), 2, "error: two"),
        (DataError("no images in x"), 1, "error: no images in x"),
        (TrainingError("cannot go on"), 1, "error: cannot go on"),
        (Interrupted("saved"), 130, "stopped: saved"),
        (KeyboardInterrupt(), 130, "stopped"),
        (OSError(28, "No space left on device", "x.bin"), 1, "x.bin"),
        (MemoryError(), 1, "--batch-size"),
        (EOFError(), 1, "error: a process that decodes images cannot go on"),
        (ValueError("odd"), 1, "--debug"),
    ],
)
def test_failures_become_messages_and_exit_codes(error, code, part, monkeypatch, capsys):
    monkeypatch.setitem(COMMANDS, "list", failing(error))
    assert call("list") == code
    out, err = capsys.readouterr()
    assert out == ""
    assert part in err
    assert "Traceback" not in err


@pytest.mark.parametrize("error", [ValueError("odd"), DataError("none")])
def test_debug_shows_where(error, monkeypatch, capsys):
    monkeypatch.setitem(COMMANDS, "list", failing(error))
    assert call("list", "--debug") == 1
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("RAM_DEBUG", "1")
    assert call("list") == 1
    assert "Traceback" in capsys.readouterr().err


def test_json_is_all_there_is_on_stdout(calls, capsys):
    assert call("list", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"map": 0.5}
    for part in ("working", "embedding", "chatter", "a remark"):
        assert part in err


def test_json_holds_what_json_can(monkeypatch, capsys):
    document = {
        "ap": np.array([0.5, np.nan]),
        "worst": float("inf"),
        "file": Path("a/ü.jpg"),
        "ks": (1, 2),
        "none": None,
        3: np.int64(4),
    }
    monkeypatch.setitem(COMMANDS, "list", lambda settings, reporter: FakeReport(document))
    assert call("list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "ap": [0.5, None],
        "worst": None,
        "file": "a/ü.jpg",
        "ks": [1, 2],
        "none": None,
        "3": 4,
    }


def test_tables_go_to_stdout_and_remarks_to_stderr(calls, capsys):
    assert call("list") == 0
    out, err = capsys.readouterr()
    assert "41.20" in out
    assert "[red]a[/red]" in out, "a file name is no markup"
    assert "\x1b" not in out, "a file name moves no cursor"
    assert "chatter" not in out
    assert not any(line.endswith(" ") for line in out.splitlines()), "nothing is filled up"
    assert "a remark" in err


def test_unknown_variable_is_a_warning(calls, monkeypatch, capsys):
    monkeypatch.setenv("RAM_SEDE", "3")
    assert call("demo") == 0
    assert "RAM_SEED" in capsys.readouterr().err


def test_the_local_file_is_named(calls, capsys):
    Path("ram.toml").write_text("[demo]\nseed = 3\n")
    assert call("demo") == 0
    assert "ram.toml" in capsys.readouterr().err
    assert calls[0].seed == 3


def test_libraries_are_quiet_unless_debugging(monkeypatch, capsys):
    def body(settings: Any, reporter: Any) -> FakeReport:
        warnings.warn("warned", stacklevel=1)
        logging.getLogger("some.library").warning("logged")
        return FakeReport()

    monkeypatch.setitem(COMMANDS, "list", body)
    assert call("list") == 0
    err = capsys.readouterr().err
    assert "warned" not in err
    assert "logged" not in err
    assert logging.root.manager.disable == 0


def test_version(capsys):
    assert call("--version") == 0
    assert capsys.readouterr().out.split() == ["ram", __version__]


def python(*words: str, **options: Any) -> subprocess.Popen[bytes]:
    root = Path(__file__).parents[2]
    variables = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.Popen([sys.executable, *words], env=variables, **options)


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import resource, sys\n"
        "from ram_cli.cli.main import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "except SystemExit:\n"
        "    pass\n"
        "heavy = {'torch', 'numpy', 'timm', 'accelerate', 'PIL', 'pydantic', 'optuna'}\n"
        "heavy &= set(sys.modules)\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(used.ru_utime + used.ru_stime, *heavy, file=sys.stderr)\n"
    )
    before = time.monotonic()
    with python("-c", code, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        _, err = process.communicate()
    seconds, *heavy = err.decode().split()
    assert heavy == []
    assert float(seconds) < 1.0
    assert time.monotonic() - before < 30


def test_help_of_a_command_and_its_faults_load_no_torch():
    code = (
        "import sys\n"
        "from ram_cli.cli.main import main\n"
        "for words in (['distill', '--help'], ['distill', '--epochs', 'x'], ['tune', '--help']):\n"
        "    try:\n"
        "        main(words)\n"
        "    except SystemExit:\n"
        "        pass\n"
        "heavy = {'torch', 'numpy', 'timm', 'optuna', 'sqlalchemy'} & set(sys.modules)\n"
        "sys.exit(3 * bool(heavy))\n"
    )
    with python("-c", code, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert process.wait() == 0


def test_a_reader_that_leaves_is_no_fault():
    code = (
        "import sys\n"
        "from ram_cli.cli.main import COMMANDS, main\n"
        "class Report:\n"
        "    def to_json(self): return {'rows': ['x' * 100] * 10_000}\n"
        "    def tables(self): return []\n"
        "    def notes(self): return []\n"
        "COMMANDS['list'] = lambda settings, reporter: Report()\n"
        "main(['list', '--json'])\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    with python("-c", code, stdout=writing, stderr=subprocess.PIPE) as process:
        os.close(writing)
        _, err = process.communicate()
    assert process.returncode == 1
    assert err == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", [["list", "poolings"], ["list", "poolings", "--json"]])
def test_a_full_disk_behind_stdout_is_told(words):
    with Path("/dev/full").open("w") as full:
        found = subprocess.run(
            [sys.executable, "-m", "ram_cli", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert found.returncode
    assert "error: cannot write to standard output: No space left on device." in found.stderr
    assert "decodes images" not in found.stderr


def test_a_closed_stdout_is_no_fault():
    call = f"{sys.executable} -m ram_cli list poolings"
    found = subprocess.run(["sh", "-c", f"{call} >&-"], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")
