import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from ram_cli.cli.completion import COMMON_BACKBONES, OFFERS, completion_of
from ram_cli.cli.main import COMMANDS, main
from ram_cli.settings import SETTINGS, DatasetName, OfferName, ZooName

pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Return what bash is offered for the last of the words it has cut a line into."""

    def ask(*words: str) -> list[str]:
        monkeypatch.setenv("_RAM_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "\n".join(("ram", *words)))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        with pytest.raises(SystemExit):
            main([])
        return capsys.readouterr().out.split()

    return ask


def test_commands(offered):
    assert offered("") == list(COMMANDS)
    assert offered("d") == ["demo", "download", "distill"]
    assert set(offered("--")) == {
        "--version",
        "--help",
        "--install-completion",
        "--show-completion",
    }


def test_flags_are_those_of_the_command(offered):
    assert offered("distill", "--lam") == ["--lambda-ts", "--lambda-ss"]
    assert offered("list", "--lam") == []
    assert {"--json", "--help", "--no-val"} <= set(offered("train", "--"))


def test_choices(offered):
    assert offered("distill", "--pool", "g") == ["gem", "gemmp"]
    assert offered("list", "m") == ["models", "methods"]
    assert offered("download", "c") == ["cub", "cars"]


def test_a_value_behind_an_equals_sign(offered):
    """Bash cuts words there, and counts the sign as a word."""
    assert offered("distill", "--pool", "=", "g") == ["gem", "gemmp"]
    assert "gem" in offered("distill", "--pool", "=")
    assert offered("distill", "--lr", "=", "1e-4", "--pool", "g") == ["gem", "gemmp"]


@pytest.mark.parametrize("shell", ["zsh", "fish", "powershell"])
@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("ram distill --pool=g", ["--pool=gem", "--pool=gemmp"]),
        ("ram distill --lr=1e-4 --pool=gemm", ["--pool=gemmp"]),
        ("ram compare --methods=csd,ss", ["--methods=csd,ssp"]),
        ("ram distill --lr=1e-4 --pool gemm", ["gemmp"]),
        ("ram distill --lr=1e-4 --lambda-t", ["--lambda-ts"]),
    ],
)
def test_other_shells_take_a_flag_and_its_value_as_one_word(
    shell: str, line: str, values: list[str], monkeypatch, capsys
):
    monkeypatch.setenv("_RAM_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
    monkeypatch.setenv("_TYPER_COMPLETE_WORD_TO_COMPLETE", line.split()[-1])
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    with pytest.raises(SystemExit):
        main([])
    told = capsys.readouterr().out
    if shell == "zsh":
        told = re.sub(r"^_arguments '\*: :\(\(|\)\)'$", "", told, flags=re.M)
    assert [re.split(r'\t|:::|":"', row)[0].strip('"') for row in told.splitlines()] == values


def test_lists_go_on_behind_a_comma(offered):
    assert offered("compare", "--methods", "csd,ss") == ["csd,ssp"]
    assert "csd,csd" not in offered("compare", "--methods", "csd,cs")
    assert offered("test", "--dataset", "cub,so") == ["cub,sop"]


def test_names(offered):
    assert offered("train", "--dataset", "fur") == ["furniture"]
    assert offered("distill", "--teacher", "cub-4") == ["cub-448r-resnet50-512-gem-w"]
    assert offered("train", "--backbone", "resnet10") == ["resnet101"]
    assert offered("info", "mobilenetv2") == ["mobilenetv2_100"]
    assert offered("test", "--device", "c") == ["cpu", "cuda"]


def test_runs_and_folders(offered):
    for folder in ("runs/train-a", "runs/stranger", "resnets", ".resnets", "photos"):
        Path(folder).mkdir(parents=True)
    Path("runs/train-a/config.toml").write_text("[train]\n")
    assert offered("export", "runs/") == ["runs/train-a"]
    assert offered("train", "--resume", "ru") == ["runs/train-a", "runs/"]
    assert "resnets/" in offered("train", "--backbone", "resn")
    assert ".resnets/" not in offered("train", "--backbone", "")
    assert offered("prepare", "pho") == []  # left to the shell, which knows files


def test_values_that_have_no_names_are_left_to_the_shell(offered):
    assert offered("train", "--output", "") == []
    assert completion_of(SETTINGS["train"].model_fields["epochs"]) is None


def test_a_shell_named_behind_the_flag_is_told_what_to_do(capsys):
    for flag in ("--install-completion", "--show-completion"):
        with pytest.raises(SystemExit) as stopped:
            main([flag, "zsh"])
        assert stopped.value.code == 2
        assert f"{flag} takes no value" in capsys.readouterr().err


def test_every_kind_of_name_is_known():
    from ram_cli.models import ZOO
    from ram_cli.models.names import is_backbone_name

    assert set(OFFERS) == set(get_args(OfferName))
    assert list(OFFERS["models"]()) == list(ZOO) == list(get_args(ZooName))
    assert list(OFFERS["datasets"]()) == list(get_args(DatasetName))
    assert all(is_backbone_name(name) for name in COMMON_BACKBONES)


@pytest.fixture
def program(tmp_path: Path) -> dict[str, str]:
    """Return the variables of a shell that finds a program named ram."""
    script = tmp_path / "bin" / "ram"
    script.parent.mkdir()
    body = "import sys\nfrom ram_cli.cli.main import main\nmain()\n"
    loaded = "heavy = {'torch', 'rich', 'PIL', 'numpy'} & set(sys.modules)\n"
    guard = (
        f"import atexit, sys\n@atexit.register\ndef _():\n    {loaded}    assert not heavy, heavy\n"
    )
    script.write_text(f"#!{sys.executable}\n{guard}{body}")
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}"}


def test_a_real_bash_is_answered_without_torch(program):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    lines = """
        eval "$(_RAM_COMPLETE=source_bash ram)"
        ask() {
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
            _ram_completion ram
            echo "${COMPREPLY[@]}"
        }
        complete -p ram
        ask ram dis
        ask ram distill --pool = g
        ask ram test --dataset ""
    """
    done = subprocess.run(
        [bash, "--norc", "-c", lines], env=program, capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "complete -o default -F _ram_completion ram",
        "distill",
        "gem gemmp",
        " ".join(get_args(DatasetName)) + " bin/",
    ]


def test_a_real_fish_is_answered(program):
    fish = shutil.which("fish")
    if fish is None:
        pytest.skip("there is no fish")
    lines = """
        _RAM_COMPLETE=source_fish ram | source
        for line in "ram dis" "ram distill --pool=g" "ram compare --methods csd,ss"
            complete -C "$line" | string replace -r "\\t.*" "" | string join " "
        end
    """
    done = subprocess.run(
        [fish, "--no-config", "-c", lines], env=program, capture_output=True, text=True
    )
    assert not {"torch", "numpy"} & set(re.findall(r"\w+", done.stderr)), done.stderr
    assert done.stdout.splitlines() == ["distill", "--pool=gem --pool=gemmp", "csd,ssp"]
