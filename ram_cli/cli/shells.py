"""Reads what a shell says about the line that a person is typing."""

import re
from collections.abc import Mapping, MutableMapping


def completed_words(environment: Mapping[str, str]) -> list[str]:
    """Return the words before the one that is being completed, without the name of the program.

    Args:
        environment: Variables of the process, as the shell's completion script sets them.
    """
    if "COMP_WORDS" in environment:  # bash
        words = environment["COMP_WORDS"].split()
        return words[1 : int(environment.get("COMP_CWORD", len(words)))]
    typed = environment.get("_TYPER_COMPLETE_ARGS", "")  # every other shell
    return typed.split()[1:] if typed.endswith(" ") else typed.split()[1:-1]


def flag_before(environment: Mapping[str, str]) -> str:
    """Return the `--flag=` of the word that is being completed; empty where there is none.

    Shells other than bash take `--flag=value` as one word, and completions of all of it only.

    Args:
        environment: Variables of the process, as the shell's completion script sets them.
    """
    last = re.search(r"\s(--[\w-]+=)\S*$", environment.get("_TYPER_COMPLETE_ARGS", ""))
    return last[1] if last else ""


def mend_words(environment: MutableMapping[str, str]) -> None:
    """Put `--flag=value`, which bash cuts in three, together as `--flag value` for Typer.

    Args:
        environment: Variables of the process; those that bash set are replaced.
    """
    if "=" not in environment.get("COMP_WORDS", ""):
        return
    words = environment["COMP_WORDS"].split("\n" if "\n" in environment["COMP_WORDS"] else " ")
    place = int(environment["COMP_CWORD"])
    signs = [i for i, word in enumerate(words) if word == "=" and i < place]
    environment["COMP_WORDS"] = "\n".join(w for i, w in enumerate(words) if i not in signs)
    environment["COMP_CWORD"] = str(place - len(signs))
