"""Reads a command line before Typer does, so that every fault in it is reported, not the first.

Published names become today's, a flag with nothing after it gets what that means, and what no
setting knows is taken out and remembered.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ram_cli.settings import (
    MOVED_FLAGS,
    SETTINGS,
    SHORT_FLAGS,
    CommandSettings,
    did_you_mean,
    flag_of,
    takes_many,
)

PLAIN_FLAGS = {"--json": "--json", "--debug": "--debug", "--help": "--help", "-h": "--help"}
"""Flags of every command that hold no setting, and the spelling that Typer knows."""

_COMMANDS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class KnownFlag:
    """What one spelling of a flag stands for.

    Attributes:
        canonical: The spelling that Typer knows.
        takes_value: Whether a value follows.
        bare: What the flag means with nothing after it; empty where a value is needed.
        opposite: The flag that says the contrary, for a field that is on or off.
        meaning: What the value is, for people.
    """

    canonical: str
    takes_value: bool
    bare: str = ""
    opposite: str = ""
    meaning: str = ""


@dataclass(slots=True)
class Arguments:
    """A command line that Typer can read, and what was wrong with it.

    Attributes:
        accepted: Arguments after the name of the command.
        faults: One message per argument that was taken out.
    """

    accepted: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def known_flags(settings: type[CommandSettings]) -> dict[str, KnownFlag]:
    """Return every spelling of every flag of a command, published ones included."""
    known = {typed: KnownFlag(flag, takes_value=False) for typed, flag in PLAIN_FLAGS.items()}
    for name, info in settings.model_fields.items():
        flag = flag_of(info)
        if flag.positional:
            continue
        canonical = f"--{name.replace('_', '-')}"
        spellings = (canonical, *(f"--{alias}" for alias in flag.aliases))
        if info.annotation is not bool:
            meaning = info.description or ""
            known |= dict.fromkeys(
                spellings, KnownFlag(canonical, True, flag.bare, meaning=meaning)
            )
            continue
        denied = f"--no-{canonical[2:]}"
        denials = (denied, *(f"--{alias}" for alias in flag.negatives))
        known |= dict.fromkeys(spellings, KnownFlag(canonical, False, opposite=denied))
        known |= dict.fromkeys(denials, KnownFlag(denied, False, opposite=canonical))
    return known


def read_arguments(words: Sequence[str], settings: type[CommandSettings]) -> Arguments:
    """Sort the words after a command's name into what Typer can read and what is wrong.

    Args:
        words: The words as typed.
        settings: The settings class of the command.
    """
    known = known_flags(settings)
    by_place = [info for info in settings.model_fields.values() if flag_of(info).positional]
    many = any(takes_many(info) for info in by_place)
    read, rest = Arguments(), list(words)
    positionals: list[str] = []
    while rest:
        word = rest.pop(0)
        if word == "--":
            positionals += rest
            break
        if len(word) > 1 and word.startswith("-"):
            _read_flag(word, rest, known, read)
        else:
            positionals.append(word)
    places = len(positionals) if many else len(by_place)
    read.faults += [f"unexpected argument '{word}'" for word in positionals[places:]]
    if positionals[:places]:
        read.accepted += ["--", *positionals[:places]]
    return read


def _read_flag(word: str, rest: list[str], known: dict[str, KnownFlag], read: Arguments) -> None:
    """Read one flag, and the value it takes from `rest`."""
    spelling, equals, value = word.partition("=")
    flag = known.get(spelling) or known.get(SHORT_FLAGS.get(spelling, ""))
    followed = bool(rest) and not rest[0].startswith("--")
    if flag is None:
        moved = MOVED_FLAGS.get(spelling)
        unknown = f"unknown option {spelling}{_elsewhere(spelling, known)}"
        read.faults.append(f"{spelling} {moved}" if moved else unknown)
        if followed and not equals:
            rest.pop(0)  # most likely its value; the command fails in any case
    elif not flag.takes_value:
        if equals:
            read.faults.append(f"{spelling} takes no value, and was given '{value}'")
        else:
            read.accepted = [word for word in read.accepted if word != flag.opposite]
            read.accepted.append(flag.canonical)  # of two that contradict, the last counts
    elif equals or followed or flag.bare:
        taken = value if equals else rest.pop(0) if followed else flag.bare
        read.accepted.append(f"{flag.canonical}={taken}")
    else:
        read.faults.append(f"{spelling} needs a value: {flag.meaning}")


def _elsewhere(spelling: str, known: Collection[str]) -> str:
    """Say which commands have an option that this one lacks, else what is spelled like it."""
    others = [name for name, settings in SETTINGS.items() if spelling in known_flags(settings)]
    if not others:
        return did_you_mean(spelling, known)
    dots = ", …" if len(others) > _COMMANDS_SHOWN else ""
    shown = ", ".join(f"ram {name}" for name in others[:_COMMANDS_SHOWN])
    return f": it belongs to {shown}{dots}{did_you_mean(spelling, known)}"
