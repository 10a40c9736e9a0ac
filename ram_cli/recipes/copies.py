"""Smaller copies of large images, made once by `ram prepare` and read by trainings.

Only trainings read them. Evaluation, validation and the vectors of teachers read the images
themselves, so that no number depends on whether there are copies. An image that is small enough
has no copy and is read as it is.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from ram_cli.datasets import Dataset, ImageSet
from ram_cli.datasets.locking import held
from ram_cli.files import TEMPORARY_PREFIX, write_text
from ram_cli.progress import SILENT, Reporter
from ram_cli.recipes.prepared import all_images, is_unchanged, prepared_folder
from ram_cli.transfer import check_room, writing
from ram_cli.views import decode_image, rescaled_view, stored_size

NONE = "none"
"""Identity of a training that reads the images themselves."""

_PREFIX = "images-"
_INDEX = "index.json"
_FORMAT = 1
_QUALITY = 95
_DRAFT = 2  # a JPEG is decoded at no less than twice the size of its copy
_BLOCK = 64  # images between two progress reports


@dataclass(frozen=True, slots=True)
class Copies:
    """Copies that are there.

    Attributes:
        folder: Where they lie.
        size: Shorter side of every copy, pixels.
        files: Name and bytes of the copy of each image that has one, by path of the image.
        identity: SHA-256 (hex) over all that they are made from.
    """

    folder: Path
    size: int
    files: Mapping[str, tuple[str, int]]
    identity: str

    @property
    def bytes(self) -> int:
        """Bytes of all copies."""
        return sum(size for _, size in self.files.values())


def make_copies(
    dataset: Dataset, data_root: Path, size: int, reporter: Reporter = SILENT
) -> Copies:
    """Make copies of all images whose shorter side is larger than `size`, unless they are there.

    A copy is a JPEG of quality 95 without colour subsampling, of the upright RGB image. What an
    interrupted call made is kept; the copies count only once all of them are there.

    Args:
        dataset: The images, without boxes.
        data_root: Folder of the datasets.
        size: Shorter side of a copy, pixels.
        reporter: Told of the progress.

    Raises:
        UnreadableImageError: An image cannot be decoded.
        OutputError: The disk is full, or the folder cannot be written.
    """
    folder = prepared_folder(data_root, dataset) / f"{_PREFIX}{size}"

    def waiting() -> None:
        reporter.note(f"another process is making {folder}; waiting for it")

    with held(folder.with_name(f".lock-{folder.name}"), waiting):
        if (found := _read(folder, dataset)) is not None:
            reporter.note(f"the copies are there already: {folder}")
            return found
        _drop_damaged(folder)
        images = all_images(dataset)
        check_room(folder.parent, sum(images.path(i).stat().st_size for i in range(len(images))))
        made: dict[str, tuple[str, int]] = {}
        with (
            ThreadPoolExecutor(os.cpu_count()) as pool,
            reporter.task(f"make copies of {size} px", len(images)) as task,
        ):
            for start in range(0, len(images), _BLOCK):
                block = images.paths[start : start + _BLOCK]
                copies = pool.map(lambda path: _copy(images.root / path, path, folder, size), block)
                made |= {path: copy for path, copy in zip(block, copies, strict=True) if copy}
                task.advance(len(block))
        content = {
            "format": _FORMAT,
            "content_hash": dataset.content_hash,
            "size": size,
            "quality": _QUALITY,
            "files": made,
        }
        write_text(folder / _INDEX, json.dumps(content, sort_keys=True))
    return Copies(folder, size, made, _identity(content))


def training_images(
    images: ImageSet,
    dataset: Dataset,
    data_root: Path,
    needed: int,
    *,
    wanted: bool = True,
    reporter: Reporter = SILENT,
) -> tuple[ImageSet, str]:
    """The images as a training reads them: their copies, where there are any of use.

    Args:
        images: Images of the dataset.
        dataset: What they are part of.
        data_root: Folder of the datasets.
        needed: Largest side of a view, pixels; smaller copies are not used.
        wanted: Whether copies may be used at all.
        reporter: Told whether they are.

    Returns:
        The images, and the identity of the copies that they read.
    """
    folder = prepared_folder(data_root, dataset)
    found = [
        copies
        for place in (folder.glob(f"{_PREFIX}*") if wanted else ())
        if (copies := _read(place, dataset, reporter)) is not None
    ]
    large = [copies for copies in found if copies.size >= needed]
    if found and not large:
        sizes = ", ".join(str(copies.size) for copies in found)
        reporter.note(f"copies of {sizes} px are too small for views of {needed} and are not used")
    if not large or not is_unchanged(dataset, folder, reporter):
        return images, NONE
    copies = min(large, key=lambda copies: copies.size)
    files = tuple(
        copies.folder / copies.files[path][0] if path in copies.files else images.root / path
        for path in images.paths
    )
    count = sum(path in copies.files for path in images.paths)
    if not count:
        return images, NONE
    reporter.note(f"training reads {copies.folder}: copies of {count} of {len(images)} images")
    return replace(images, files=files), copies.identity


def _copy(source: Path, path: str, folder: Path, size: int) -> tuple[str, int] | None:
    """Name and bytes of the copy of an image, made unless it is there; None for a small image."""
    if min(stored_size(source)) <= size:
        return None
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()
    name = f"{digest[:2]}/{digest[2:34]}.jpg"
    target = folder / name
    if target.is_file() and target.stat().st_size:
        return name, target.stat().st_size
    view = rescaled_view(decode_image(source, min_side=_DRAFT * size), size, "shorter")
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{target.name}")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(view.permute(1, 2, 0).numpy())
        picture.save(temporary, "JPEG", quality=_QUALITY, subsampling=0)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    return name, target.stat().st_size


def _read(folder: Path, dataset: Dataset, reporter: Reporter = SILENT) -> Copies | None:
    """Copies of exactly these images, all there; None where they are not."""
    try:
        content = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        if (content["format"], content["content_hash"]) != (_FORMAT, dataset.content_hash):
            return None
        files = {path: (str(name), int(size)) for path, (name, size) in content["files"].items()}
        copies = Copies(folder, int(content["size"]), files, _identity(content))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if all(_has_size(folder / name, size) for name, size in files.values()):
        return copies
    reporter.warn(f"copies in {folder} are missing or damaged; none is used. Run ram prepare again")
    return None


def _drop_damaged(folder: Path) -> None:
    """Delete copies that are not as long as they were made, and the index that counted them."""
    try:
        files = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["files"].values()
        for name, size in files:
            if not _has_size(folder / name, size):
                (folder / name).unlink(missing_ok=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return  # there is none: every copy was renamed to its place whole


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _identity(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
