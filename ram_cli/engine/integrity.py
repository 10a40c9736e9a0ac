"""Whether a folder still holds, byte for byte, what was once written into it."""

import hashlib
import json
from pathlib import Path

RECORD = "integrity.json"
"""Size in bytes and SHA-256 of every other file of the folder, by name."""


def seal(folder: Path) -> None:
    """Write down size and hash of every file in `folder`.

    Raises:
        OSError: A file cannot be read, or the record not be written.
    """
    record = {name: [path.stat().st_size, _digest(path)] for name, path in _files(folder)}
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def find_damage(folder: Path) -> str | None:
    """What is wrong with a sealed folder, in a few words; None if it is as it was sealed."""
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        present = dict(_files(folder))
        if unknown := present.keys() - record.keys():
            return f"{min(unknown)} is not in {RECORD}"
        for name, (size, digest) in record.items():
            if name not in present:
                return f"{name} is missing"
            if present[name].stat().st_size != size:
                return f"{name} has {present[name].stat().st_size} bytes instead of {size}"
            if _digest(present[name]) != digest:
                return f"{name} is not as it was written"
    except FileNotFoundError:
        return f"{RECORD} is missing"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    except (ValueError, TypeError, AttributeError, RecursionError):
        return f"{RECORD} is not as it was written"
    return None


def _files(folder: Path) -> list[tuple[str, Path]]:
    """Files under `folder` but the record, by their path inside it."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [(path.relative_to(folder).as_posix(), path) for path in found]
    return [(name, path) for name, path in names if name != RECORD]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
