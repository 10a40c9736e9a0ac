"""The image set inside the package, unpacked when it is first asked for."""

import hashlib
import io
import shutil
import uuid
import zipfile
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from ram_cli.errors import DataError
from ram_cli.files import TEMPORARY_PREFIX, atomic_folder
from ram_cli.progress import SILENT, Reporter

ASSET_SHA256 = "e37cc8fc2bf0e1e19eea0ae79ee6f54de54048cc128e633f3f2f18c4afab9ecc"
"""Hash of assets/furniture.zip, printed by scripts/build_furniture.py."""

STAMP = ".furniture.sha256"
"""File that tells a folder unpacked by this package from one that a person made."""


def unpack_furniture(data_root: Path, reporter: Reporter = SILENT) -> Path:
    """Return `data_root/furniture`, unpacking the embedded images there if they are not yet.

    The folder appears whole or not at all, also when several processes ask at once; a folder that
    lost files is unpacked again.

    Raises:
        DataError: The package lacks its images, or another folder lies there.
        OutputError: `data_root` cannot be written or is full.
    """
    target = data_root / "furniture"
    with zipfile.ZipFile(io.BytesIO(_asset())) as archive:
        if is_whole(target, archive):
            return target
        if target.exists() and not (target / STAMP).exists():
            raise DataError(
                f"{target} is in the way of the embedded furniture images: it was not unpacked by "
                "ram. Move it away, or choose another folder for data."
            )
        reporter.note(f"unpacking the embedded furniture images into {target}")
        # A name of its own for every caller: whoever is first puts the folder in place.
        fresh = data_root / f"{TEMPORARY_PREFIX}furniture-{uuid.uuid4().hex}"
        with atomic_folder(fresh) as temporary:
            archive.extractall(temporary)
            (temporary / STAMP).write_text(ASSET_SHA256 + "\n", encoding="ascii")
        try:
            _put_in_place(fresh, target, archive)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return target


def is_whole(folder: Path, archive: zipfile.ZipFile) -> bool:
    """Tell whether `folder` bears this version's stamp and every file of `archive` at its size."""
    try:
        return (folder / STAMP).read_text(encoding="ascii").strip() == ASSET_SHA256 and all(
            (folder / member.filename).stat().st_size == member.file_size
            for member in archive.infolist()
        )
    except (OSError, ValueError):
        return False


def _put_in_place(fresh: Path, target: Path, archive: zipfile.ZipFile) -> None:
    aside = fresh.with_name(f"{fresh.name}-damaged")
    try:
        if target.exists() and not is_whole(target, archive):
            with suppress(FileNotFoundError):  # another caller moved it already
                target.rename(aside)
        fresh.rename(target)
    except OSError:
        if not is_whole(target, archive):  # else another caller was faster, with the same files
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _asset() -> bytes:
    """Return the embedded archive after comparing its hash."""
    source = files("ram_cli.datasets") / "assets" / "furniture.zip"
    try:
        content = source.read_bytes()
    except OSError as error:
        raise DataError(
            f"{source} is missing from this installation. Install ram-cli again."
        ) from error
    if hashlib.sha256(content).hexdigest() != ASSET_SHA256:
        raise DataError(f"{source} is damaged. Install ram-cli again.")
    return content
