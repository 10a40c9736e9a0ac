"""The documentation, held true: tables of flags, links, and every call of `ram` that it shows."""

import importlib.util
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ram_cli.cli.app import build_app
from ram_cli.cli.examples import EXAMPLES
from ram_cli.cli.main import COMMANDS
from ram_cli.errors import ConfigError
from ram_cli.settings import SETTINGS, flag_of

ROOT = Path(__file__).parents[2]
COMMAND_PAGES = sorted((ROOT / "docs" / "commands").glob("*.md"))
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *COMMAND_PAGES,
]
ROOT_FLAGS = {"--version", "--help", "--install-completion", "--show-completion"}


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def each_page(pages: list[Path] = PAGES) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=named)


def fenced(text: str, *languages: str) -> list[str]:
    """Return the fenced blocks of a page in these languages."""
    blocks = re.findall(r"^ *```(\w*)\n(.*?)^ *```", text, re.M | re.S)
    return [block for language, block in blocks if language in languages]


def calls(text: str) -> Iterator[list[str]]:
    """Return the words of each call of ram: lines of bash, and what follows a prompt elsewhere."""
    shown = [("", block) for block in fenced(text, "bash")]
    shown += [(r"\$ ", block) for block in fenced(text, "console", "text", "")]
    for prompt, block in shown:
        for line in block.replace("\\\n", " ").splitlines():
            if typed := re.match(rf"{prompt}(?:RAM_\w+=\S+ +)*ram (\S.*)", line):
                yield [word for word in shlex.split(typed[1], comments=True) if word != "…"]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    found = importlib.util.spec_from_file_location("build_docs", ROOT / "scripts" / "build_docs.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_tables_of_flags_are_those_of_the_settings(script):
    assert script.main(["--check"]) == 0, "run: python scripts/build_docs.py"


def test_a_table_that_drifts_is_noticed_and_written_anew(script, tmp_path, capsys):
    folder = tmp_path / "commands"
    shutil.copytree(ROOT / "docs" / "commands", folder)
    page = folder / "test.md"
    true = page.read_text("utf-8")
    page.write_text(true.replace("| 1,4,8 |", "| 1,2,3 |"), "utf-8")
    assert script.main(["--check", "--folder", str(folder)]) == 1
    assert capsys.readouterr().out == "out of date: test.md\n"
    assert script.main(["--folder", str(folder)]) == 0
    assert page.read_text("utf-8") == true
    page.write_text("# ram test\n", "utf-8")
    with pytest.raises(ValueError, match=r"test\.md lacks"):
        script.main(["--folder", str(folder)])


def test_every_command_has_a_page_and_every_page_is_in_the_index():
    assert {page.stem for page in COMMAND_PAGES} == set(SETTINGS)
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    linked = set(re.findall(r"\]\(([\w./]+\.md)\)", index))
    docs = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert docs - {"README.md"} <= linked
    assert "](docs/README.md)" in (ROOT / "README.md").read_text("utf-8")


@each_page(COMMAND_PAGES)
def test_a_page_has_all_its_parts(page):
    text = page.read_text("utf-8")
    headings = re.findall(r"^##? (.+)$", text, re.M)
    wanted = ["Example", "Reads and writes", "When it goes wrong", "Flags"]
    assert headings == [f"ram {page.stem}", *wanted]
    assert page.stem in {words[0] for words in calls(text)}
    for name, field in SETTINGS[page.stem].model_fields.items():
        assert f"`RAM_{name.upper()}`, `{name}`" in text
        assert (flag_of(field).denial or field.description or "?").replace("*", "\\*") in text


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@each_page()
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), link


def faults(words: list[str]) -> list[str]:
    """Return what is wrong with a call; nothing of it is done but the reading of its settings.

    The files and runs that it names are made, and a setting that is missing is no fault: a
    variable or a settings file may hold it.
    """
    if words[0] in ROOT_FLAGS:
        return []
    for flag, file in (("--config", ""), ("--resume", "config.toml")):
        if flag in words[:-1]:
            path = Path(words[words.index(flag) + 1], file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"[{words[0]}]\n")
    called: list[Any] = []
    stubs = {name: lambda settings, reporter: called.append(settings) for name in COMMANDS}
    try:
        app, arguments = build_app(stubs, words)
        with pytest.raises((SystemExit, AttributeError)):  # there is no report to print
            app(args=arguments, prog_name="ram")
    except ConfigError as error:
        return [fault for fault in error.problems if not fault.startswith("missing --")]
    assert called or "--help" in words
    return []


@each_page()
def test_calls_are_understood(page, empty_folder):
    for words in calls(page.read_text("utf-8")):
        assert faults(words) == [], shlex.join(words)


def test_calls_that_are_wrong_are_noticed(empty_folder):
    text = (
        "```bash\nram distill --lrr 3 \\\n  --pool gam\nRAM_LR=1 ram test --ks no # --what\n```\n"
    )
    first, second = calls(text)
    assert len(faults(first)) == 2
    assert len(faults(second)) == 1
    assert len(faults(["destill"])) == 1


def test_examples_of_help_are_understood(empty_folder):
    assert list(EXAMPLES) == list(COMMANDS)
    for name, example in EXAMPLES.items():
        program, *words = shlex.split(example)
        assert (program, words[0], faults(words)) == ("ram", name, [])


@each_page()
def test_settings_files_are_understood(page, empty_folder):
    for block in fenced(page.read_text("utf-8"), "toml"):
        Path("shown.toml").write_text(re.sub(r"(?m)^   ", "", block), "utf-8")
        for table in tomllib.loads(Path("shown.toml").read_text("utf-8")):
            with pytest.raises(ConfigError) as told:  # for the sake of the one fault alone
                SETTINGS[table].load({"config": Path("shown.toml"), "epochs": "no"})
            found = [fault for fault in told.value.problems if not fault.startswith("missing")]
            assert len(found) == 1
            assert found[0].startswith("--epochs: 'no'")
