"""Failures that a person can mend; the command line prints them as one line, without a traceback.

```text
RamError                    exit code 1
├── ConfigError             exit code 2: a flag, variable or file holds a value that cannot be used
├── DataError               a dataset is missing, empty, or not laid out as expected
│   └── UnreadableImageError  one image file cannot be decoded
├── ModelError              a model cannot be found, built or fitted to another
│   └── CheckpointError     a file of weights is damaged, foreign or unsafe
├── OutputError             an output folder is taken, read-only or full
├── TrainingError           training cannot go on
│   └── NonFiniteLossError  the loss became NaN or infinite
└── Interrupted             exit code 130: stopped on request, after saving what can be resumed
```
"""

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar


def on_one_line(name: Path | str) -> str:
    """A name from outside as a message can hold it: line breaks and the like as escapes."""
    return "".join(
        letter.encode("unicode_escape").decode("ascii")
        if unicodedata.category(letter) in ("Cc", "Zl", "Zp")
        else letter
        for letter in str(name)
    )


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, what it was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class RamError(Exception):
    """Base of every expected failure: what is wrong, where, and what to do next."""

    exit_code: ClassVar[int] = 1


class ConfigError(RamError):
    """A flag, variable or file holds values that cannot be used.

    Args:
        problems: One message, or one message per fault; all faults are reported together.
    """

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class DataError(RamError):
    """A dataset is missing, empty, or not laid out as expected."""


NO_FILE = "there is no such file"
IS_A_FOLDER = "it is a folder"
"""Reasons that lie in the path of an image, not in its file."""


class UnreadableImageError(DataError):
    """One image file cannot be decoded.

    Args:
        path: The file.
        reason: Why, in a few words.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path, self.reason = Path(path), reason
        advice = "Repair or remove the file, or pass --skip-unreadable."
        if reason in (NO_FILE, IS_A_FOLDER):
            advice = "Correct its path."
        super().__init__(f"cannot read image {on_one_line(path)}: {on_one_line(reason)}. {advice}")


class ModelError(RamError):
    """A model cannot be found, built or fitted to another."""


class CheckpointError(ModelError):
    """A file of weights is damaged, foreign or unsafe to load."""


class OutputError(RamError):
    """An output folder is taken, read-only or full."""


class TrainingError(RamError):
    """Training cannot go on."""


class NonFiniteLossError(TrainingError):
    """The loss became NaN or infinite.

    Args:
        step: Optimiser step, counted from 1, at which it happened.
        parts: Value of every part of the loss at that step.
        advice: What is kept and what to do next.
    """

    def __init__(self, step: int, parts: dict[str, float], advice: str) -> None:
        self.step, self.parts = step, parts
        values = ", ".join(f"{name} {value:g}" for name, value in parts.items())
        super().__init__(f"the loss is not finite at step {step} ({values}). {advice}")


class Interrupted(RamError):  # noqa: N818 - a request, not an error of the program
    """Stopped on request, after saving what can be resumed."""

    exit_code = 130
