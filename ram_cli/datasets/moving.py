"""Files moved to their places, by whole folders where nothing is in the way."""

from collections.abc import Mapping
from pathlib import Path


def move_files(targets: Mapping[Path, Path], root: Path) -> None:
    """Move files below `root`, replacing what stands at their places.

    A folder whose files all keep their names is moved as one, if there is none at its place:
    retrieval-SfM has one to three images in each of 41,000 folders, and to make those anew and
    remove the old ones takes minutes.

    Args:
        targets: Where each file belongs, on the same file system; files of `root` that are not
            named stay.
        root: Folder of all of them.

    Raises:
        OSError: Something cannot be moved; what was moved before stays where it is.
    """
    goals: dict[Path, Path | None] = {}
    for entry in root.iterdir():
        if entry.is_dir():
            _find_goals(entry, targets, goals)
    _move(root, targets, goals)


def _find_goals(
    folder: Path, targets: Mapping[Path, Path], goals: dict[Path, Path | None]
) -> Path | None:
    """Where a folder belongs as a whole; None if its files do not stay together, or it has none."""
    wanted: set[Path | None] = set()
    for entry in folder.iterdir():
        inside = entry.is_dir()
        target = _find_goals(entry, targets, goals) if inside else targets.get(entry)
        kept = target is not None and target.name == entry.name
        wanted.add(target.parent if target is not None and kept else None)
    goals[folder] = wanted.pop() if len(wanted) == 1 else None
    return goals[folder]


def _move(folder: Path, targets: Mapping[Path, Path], goals: Mapping[Path, Path | None]) -> None:
    for entry in list(folder.iterdir()):
        inside = entry.is_dir()
        target = goals[entry] if inside else targets.get(entry)
        if inside and (target is None or target.exists()):
            _move(entry, targets, goals)
        elif target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            entry.replace(target)
