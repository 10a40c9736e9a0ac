"""One file of a dataset: from an address, or from what was fetched before."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ram_cli.datasets.extraction import is_archive
from ram_cli.datasets.remote import RemoteFile
from ram_cli.errors import ConfigError, DataError
from ram_cli.progress import Reporter
from ram_cli.transfer import Faults, download, verify

ARCHIVES: Final = "archives"
"""Folder below the folder for data where fetched files are kept."""
TABLES: Final = ".parquet"

FAULTS: Final = Faults(missing=DataError, damaged=DataError)
_ROOM = 2.1  # sizes of an archive: itself, and its images, which do not compress


def fetch_file(file: RemoteFile, path: Path, mirror: str, reporter: Reporter) -> Path:
    """Fetch a file to `path`, unless it lies there whole.

    Raises:
        DataError: No address has it, or what came is another file.
        OutputError: The disk is full, or the folder cannot be written.
    """
    if path.is_file():
        reporter.note(f"{path} was fetched before")
        try:
            verify(path, file.expected, faults=FAULTS, reporter=reporter)
            return path
        except DataError as error:
            reporter.warn(f"{error} It is fetched again.")
            path.unlink()
    return download(
        addresses(file, mirror),
        path,
        faults=FAULTS,
        expected=file.expected,
        room=_ROOM if is_archive(file.name) or path.suffix == TABLES else 1.0,
        reporter=reporter,
    )


def addresses(file: RemoteFile, mirror: str) -> list[str]:
    """Return where a file may be had: first from the mirror, a folder or the very file."""
    if not mirror:
        return list(file.urls)
    own = urlsplit(mirror).path.rpartition("/")[2]
    names_a_file = own == file.name or is_archive(own)
    return [mirror if names_a_file else f"{mirror.rstrip('/')}/{file.name}", *file.urls]


def forget_unproven(files: Iterable[tuple[RemoteFile, Path]], archives: Path) -> None:
    """Delete what turned out not to be the dataset, where no published hash speaks for it.

    Its own hash must not be held against the next file, and the next call must not use it again;
    a person's own file is left alone.
    """
    for file, path in files:
        if not (file.sha256 or file.md5):
            fetched = is_fetched(path, archives)
            folder = path.parent if fetched else archives
            (folder / f"{file.name}.sha256").unlink(missing_ok=True)
            if fetched:
                path.unlink(missing_ok=True)


def is_fetched(path: Path, archives: Path) -> bool:
    """Whether a file came from an address, and is not a person's own."""
    return archives in path.parents


def check_given(paths: Sequence[Path]) -> None:
    """Refuse files of a person that are not there.

    Raises:
        ConfigError: One is missing.
    """
    for path in paths:
        if not path.is_file():
            raise ConfigError(f"--from-file: there is no file {path}")
