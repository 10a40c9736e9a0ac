import re

import pytest

from ram_cli.cli.examples import EXAMPLES
from ram_cli.cli.main import COMMANDS, main
from ram_cli.settings import SETTINGS, choices_of, flag_of

pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.fixture
def help_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Return the help of a command as shown on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)

    def show(*words: str) -> str:
        with pytest.raises(SystemExit) as stopped:
            main([*words, "--help"])
        assert stopped.value.code == 0
        return capsys.readouterr().out

    return show


def last_columns(text: str) -> str:
    """Return the words of each row's last column, the one that holds descriptions."""
    cells = [line[1:-1].rstrip() for line in text.splitlines() if line.startswith("│")]
    return " ".join(re.split(r"\s{2,}", cell)[-1] for cell in cells)


@pytest.mark.parametrize("command", list(SETTINGS))
def test_help_fits_80_columns_and_says_everything(command, help_of):
    text = help_of(command)
    assert max(map(len, text.splitlines())) <= 80
    rows = "".join(line for line in text.splitlines() if line.startswith("│"))
    assert "…" not in rows.replace("sqrt(…)", "")
    words = last_columns(text)
    for name, field in SETTINGS[command].model_fields.items():
        flag = flag_of(field)
        assert (flag.denial or field.description) in words, name
        label = "--no-" if flag.denial else "--"
        shown = flag.metavar if flag.positional else f"{label}{name.replace('_', '-')}"
        assert re.search(rf"│\s+{re.escape(shown)}\s", text), name
        for other in (*choices_of(field), *(f"--{alias}" for alias in flag.aliases)):
            assert other in words, name


@pytest.mark.parametrize("command", list(SETTINGS))
def test_panels_are_the_groups_in_order(command, help_of):
    panels = re.findall(r"╭─ (.+?) ─+╮", help_of(command))
    assert len(panels) == len(set(panels))
    assert panels[-1] == "General"


def test_help_comes_before_faults(help_of):
    assert "--teacher" in help_of("distill", "--lrr", "3")


def test_root_help_lists_the_commands(help_of):
    text = help_of()
    assert max(map(len, text.splitlines())) <= 80
    for name, body in COMMANDS.items():
        assert re.search(rf"│ {name}\s+{re.escape(body.__doc__ or '')}", text)


def test_no_words_show_the_help(help_of, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == help_of()


def test_short_help(help_of, capsys):
    for words in (["-h"], ["list", "-h"]):
        with pytest.raises(SystemExit) as stopped:
            main(words)
        assert stopped.value.code == 0
        assert capsys.readouterr().out == help_of(*words[:-1])


def test_default_values_are_shown(help_of):
    words = last_columns(help_of("test"))
    for default in ("1,4,8", "64", "auto", "the newest run"):
        assert f"[default: {default}]" in words


def test_flags_without_a_value_show_none(help_of):
    for words in ([], ["distill"], ["download"], ["export"]):
        assert not re.search(r"<(bool|str|list)", help_of(*words))


def test_what_a_training_needs_comes_first(help_of):
    first = re.findall(r"│ (--[a-z-]+)", help_of("distill"))[:3]
    assert first == ["--teacher", "--student", "--image-size"]
    assert re.findall(r"│ (--[a-z-]+)", help_of("train"))[:2] == ["--backbone", "--image-size"]


@pytest.mark.parametrize("command", list(SETTINGS))
def test_help_ends_with_an_example(command, help_of):
    text = help_of(command)
    assert EXAMPLES[command] in " ".join(text.split())
    assert f"table [{command}]" in " ".join(text.split())
