"""Images that match no query, added to a gallery: a million of them, or any folder."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ram_cli.datasets.folder import is_image_name
from ram_cli.datasets.images import ImageSet
from ram_cli.datasets.unlabelled import decoded, unlabelled
from ram_cli.datasets.verify import Check, memory_file
from ram_cli.errors import DataError
from ram_cli.progress import SILENT, Reporter

_MILLION: Final = "revisitop1m"


def load_distractors(
    name_or_folder: str,
    data_root: Path,
    *,
    skip_unreadable: bool = False,
    check: Check | None = None,
    reporter: Reporter = SILENT,
) -> ImageSet:
    """Load images that match no query: `revisitop1m`, or all images below a folder.

    Args:
        name_or_folder: What to load.
        data_root: Folder of the data sets.
        skip_unreadable: Leave out images that cannot be decoded.
        check: A check of every image; returns why it cannot be used, or None. Without one, and
            without `skip_unreadable`, no image is looked at.
        reporter: Told what was found.

    Raises:
        DataError: There is no such folder, or no image in it.
        UnreadableImageError: `check` refuses an image.
    """
    name = name_or_folder.strip().lower()
    if name == _MILLION:
        folder, paths = _million(data_root)
    else:
        folder = Path(name_or_folder).expanduser()
        name, paths = folder.resolve().name, _images_below(folder)
    images = unlabelled(f"{name} distractors", folder, paths)
    if skip_unreadable or check:
        memory = memory_file(data_root, "distractors", folder)
        nothing = images.subset(())
        images, _ = decoded(images, nothing, (), memory, check, skip_unreadable, reporter)
    reporter.note(f"{len(images)} distractors in {folder}")
    return images


def _million(data_root: Path) -> tuple[Path, Sequence[str]]:
    """Folder of revisitop1m, and what its list names; all images there if it has no list."""
    for root in (data_root / _MILLION, data_root / "test" / _MILLION):
        if (root / "jpg").is_dir():
            listed = root / f"{_MILLION}.txt"
            folder = root / "jpg"
            return folder, _lines(listed) if listed.is_file() else _images_below(folder)
    raise DataError(
        f"{_MILLION} is not on this machine: there is no folder {data_root / _MILLION / 'jpg'}. "
        f"Fetch it: ram download {_MILLION} --data-root {data_root}"
    )


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}. Fetch it again.") from error
    if len(set(lines)) < len(lines):
        raise DataError(f"{path} names an image twice. Fetch it again.")
    return lines


def _images_below(folder: Path) -> list[str]:
    """Paths of all images below a folder, in the order of their names."""
    if not folder.is_dir():
        raise DataError(f"distractors: there is no folder {folder}.")
    start, paths = len(str(folder)) + 1, []
    for place, _, names in os.walk(folder):
        inner = place[start:].replace(os.sep, "/")
        paths += [f"{inner}/{name}" if inner else name for name in names if is_image_name(name)]
    if not paths:
        raise DataError(f"distractors: there is no image below {folder}.")
    return sorted(paths)
