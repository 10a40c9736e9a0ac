import io
import re
import sys

import pytest
from rich.console import Console

from ram_cli.cli.console import INTERVAL, ConsoleReporter, bars, line_of
from ram_cli.cli.meter import WINDOW, Meter
from ram_cli.cli.text import count, duration, printable, shortened


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [dev] name.jpg", "plain [dev] name.jpg"),
        ("Käfer 鳥.jpg", "Käfer 鳥.jpg"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\r\nb\x07", "a\\r\\nb\\x07"),
        ("a\u202egpj.exe", "a\\u202egpj.exe"),
        ("bad\udc80name", "bad\\udc80name"),
        ("c1\x9b2J", "c1\\x9b2J"),
    ],
)
def test_printable(text, shown):
    assert printable(text) == shown


def test_small_words():
    assert [duration(s) for s in (0, 59.6, 61, 3600, 36061)] == [
        "0:00",
        "1:00",
        "1:01",
        "1:00:00",
        "10:01:01",
    ]
    assert [count(n) for n in (0, 0.1234, 85.31, 8000.4)] == ["0", "0.123", "85.3", "8,000"]
    assert [shortened("abcdef", n) for n in (6, 4)] == ["abcdef", "abc…"]


def test_rate_counts_only_this_run_and_the_last_half_minute(clock):
    meter = Meter("train", 1000, "images", done=500, clock=clock)
    assert (meter.rate, meter.remaining) == (0, None)
    clock.now += 10
    meter.advance(10)
    assert (meter.rate, meter.remaining) == (1, 490)
    for _ in range(8):
        clock.now += WINDOW / 2
        meter.advance(150)
    assert meter.rate == pytest.approx(10)
    assert meter.remaining == 0
    assert meter.elapsed == 130


def test_a_stalled_task_slows_down(clock):
    meter = Meter("train", 100, "images", done=0, clock=clock)
    clock.now += 1
    meter.advance(10)
    clock.now += 9
    assert meter.rate == 1


def test_what_takes_long_is_told_in_seconds_over_several_of_its_kind(clock):
    meter = Meter("compare", 20, "trainings", done=0, clock=clock)
    for seconds in (20, 100, 30, 50):
        clock.now += seconds
        meter.advance()
    assert meter.speed() == "50 s each"
    assert meter.remaining == 800


def test_without_a_terminal_a_line_now_and_then_and_at_the_end(clock):
    stream = io.StringIO()
    reporter = ConsoleReporter(stream, clock)
    with reporter.task("embedding [x]\x1b", 100, "images", done=10) as task:
        for step in range(60):
            clock.now += 0.5
            task.advance(1, loss=1 / (step + 1), stage="warm")
    lines = stream.getvalue().splitlines()
    assert len(lines) == int(30 // INTERVAL) + 1
    for part in ("embedding [x]\\x1b", "70/100 images", "2 images/s", "0:30", "ETA 0:15"):
        assert part in lines[-1]
    assert "loss 0.01667  stage warm" in lines[-1]
    assert "\x1b" not in stream.getvalue()


def test_a_failing_task_is_closed(clock):
    reporter = ConsoleReporter(io.StringIO(), clock)
    with pytest.raises(ValueError, match="odd"), reporter.task("train", 3):
        raise ValueError("odd")
    assert reporter._meters == []


def test_unknown_total(clock):
    meter = Meter("reading", None, "files", done=0, clock=clock)
    clock.now += 2
    meter.advance(3)
    line = line_of(meter)
    assert "3 files" in line
    assert "ETA" not in line


@pytest.mark.parametrize("width", [40, 80, 200])
def test_bars_fit_the_terminal(width, clock):
    outer = Meter("training a very long name indeed for a bar", 8000, "images", 0, clock=clock)
    inner = Meter("validation", None, "images", 0, clock=clock)
    clock.now += 61
    outer.advance(1200, loss=0.123456, mAP=41.2, note="x" * 300)
    inner.advance(5)
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system=None)
    console.print(bars([outer, inner], console.width))
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue()).splitlines()
    assert all(len(line) <= width for line in lines)
    assert len(lines) == 3
    if width >= 80:
        for part in ("training a very", "1,200/8,000", "19.7 images/s", "1:01 ETA 5:46"):
            assert part in lines[0]
        assert "loss 0.1235  mAP 41.2" in lines[2]


def test_on_a_terminal_bars_are_drawn_and_taken_away(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    reporter = ConsoleReporter(stream)
    with reporter.task("training", 4, "steps") as outer, reporter.task("validation", 2) as inner:
        inner.advance(2)
        outer.advance(4, loss=0.5)
        reporter.note("a remark")
        sys.stdout.write("library\n")
        reporter._live.refresh()
    reporter.note("the end")
    text = stream.getvalue()
    for part in ("training", "validation", "loss 0.5", "a remark", "library", "the end"):
        assert part in text
    assert text.endswith("the end\n")
    assert sys.stdout is not stream


@pytest.mark.parametrize("variable", ["NO_COLOR", None])
def test_colours_are_a_choice(variable, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if variable:
        monkeypatch.setenv(variable, "1")
    stream = Terminal()
    ConsoleReporter(stream).warn("careful")
    assert ("\x1b[33m" in stream.getvalue()) == (variable is None)


def test_a_note_is_said_once():
    stream = io.StringIO()
    reporter = ConsoleReporter(stream)
    for message in ("computing", "images", "computing"):
        reporter.note(message)
        reporter.warn("careful")
    assert stream.getvalue().count("computing") == 1
    assert stream.getvalue().count("careful") == 3


def test_messages_are_neither_wrapped_nor_markup(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    stream = io.StringIO()
    reporter = ConsoleReporter(stream)
    long = "/".join(["[bold]folder[/bold]"] * 20)
    reporter.fail(f"{long}\nsecond")
    assert stream.getvalue() == f"error: {long}\nerror: second\n"
