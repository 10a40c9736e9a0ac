"""Datasets that come in several archives, some of them shared: each is brought once, and kept.

What an archive holds is moved to its folder file by file, and a stamp says that all of it is there.
An archive with a stamp is neither fetched nor unpacked again, whoever asks for its images.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile

from ram_cli.datasets.extraction import is_archive, remove_tree, unpack
from ram_cli.datasets.fetching import (
    ARCHIVES,
    FAULTS,
    check_given,
    fetch_file,
    forget_unproven,
)
from ram_cli.datasets.locking import held
from ram_cli.datasets.moving import move_files
from ram_cli.datasets.pickles import read_ground_truth
from ram_cli.datasets.remote import Part, RemoteFile
from ram_cli.errors import ConfigError, DataError
from ram_cli.files import TEMPORARY_PREFIX, atomic_file, atomic_folder, write_text
from ram_cli.progress import Reporter
from ram_cli.transfer import check_room, verify, writing

STAMPS = ".parts"
"""Folder, beside the images, of the stamps of archives whose images are all there."""

_NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Bringing:
    """How files are brought.

    Attributes:
        data_root: Folder for datasets.
        mirror: Address tried before the published ones; empty for none.
        given: Files that a person has, by published name, instead of any address.
        keep_archive: Keep what was fetched once it is unpacked.
        reporter: Told about progress.
    """

    data_root: Path
    mirror: str
    given: Mapping[str, Path]
    keep_archive: bool
    reporter: Reporter

    @property
    def archives(self) -> Path:
        """Folder of fetched files."""
        return self.data_root / ARCHIVES


def given_files(name: str, parts: Sequence[Part], paths: Sequence[Path]) -> dict[str, Path]:
    """Match files that a person has with those of a dataset, by their published names.

    Raises:
        ConfigError: One is missing, or none of them.
    """
    check_given(paths)
    known = [file.name for part in parts for file in part.files]
    for path in paths:
        if path.name not in known:
            dots = ", …" if len(known) > _NAMES_SHOWN else ""
            raise ConfigError(
                f"--from-file: {path.name} is none of the files of {name}: "
                f"{', '.join(known[:_NAMES_SHOWN])}{dots}"
            )
    return {path.name: path for path in paths}


def missing_files(parts: Sequence[Part], data_root: Path) -> list[tuple[Part, RemoteFile]]:
    """Return the files that have not been brought yet."""
    return [
        (part, file)
        for part in parts
        for file in part.files
        if not _landmark(data_root / part.folder, file).is_file()
    ]


def bring(part: Part, file: RemoteFile, how: Bringing) -> bool:
    """Bring one file, unless it is there; of two processes that ask at once, the second waits.

    Returns:
        Whether it was not there.

    Raises:
        DataError: It cannot be had, or what came is not the file.
        OutputError: The disk is full, or the folder cannot be written.
    """
    folder = how.data_root / part.folder
    with _alone(file, how):
        if _landmark(folder, file).is_file():
            return False
        source = how.given.get(file.name)
        if source is None:
            source = _fetched(file, how)
        else:
            pin = how.archives / f"{file.name}.sha256"
            verify(source, file.expected, faults=FAULTS, pin=pin, reporter=how.reporter)
        try:
            if is_archive(file.name):
                _unpack(part, file, source, folder, how.reporter)
            else:
                _copy(source, folder / file.name)
        except DataError:
            forget_unproven([(file, source)], how.archives)
            raise
        if source.parent == how.archives and not how.keep_archive:
            source.unlink(missing_ok=True)
        return True


def _fetched(file: RemoteFile, how: Bringing) -> Path:
    try:
        return fetch_file(file, how.archives / file.name, how.mirror, how.reporter)
    except DataError as error:
        raise DataError(
            f"{str(error).rstrip('.')}. What came is kept. Try again later, name a --mirror, or "
            f"fetch {file.name} by other means and name it with --from-file"
        ) from error


@contextmanager
def _alone(file: RemoteFile, how: Bringing) -> Iterator[None]:
    def waiting() -> None:
        how.reporter.note(f"another process is bringing {file.name}; waiting for it")

    with held(how.archives / f".lock-{file.name}", waiting):
        yield


def _landmark(folder: Path, file: RemoteFile) -> Path:
    """File whose presence says that all of `file` is there."""
    return folder / STAMPS / file.name if is_archive(file.name) else folder / file.name


def _unpack(part: Part, file: RemoteFile, archive: Path, folder: Path, reporter: Reporter) -> None:
    """Unpack aside, move everything to its place, and set the stamp."""
    work = folder / f"{TEMPORARY_PREFIX}{file.name}"
    remove_tree(work)  # of a process that was killed: nobody else is here
    try:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with atomic_folder(work) as temporary:
            unpack(archive, temporary, reporter=reporter)
        found = _placed(part, archive, work)
        with writing(folder):
            move_files({source: folder / place for place, source in found.items()}, work)
        write_text(folder / STAMPS / file.name, f"{len(found)} files\n")
    finally:
        remove_tree(work)


def _placed(part: Part, archive: Path, work: Path) -> dict[str, Path]:
    """Where each file of an archive belongs.

    Raises:
        DataError: Two files belong to one place, or none to any.
    """
    found: dict[str, Path] = {}
    for path in work.rglob("*"):
        if path.is_file() and (place := part.place(path.relative_to(work).as_posix())):
            if place in found:
                raise DataError(f"{archive} holds {Path(place).name} twice. Fetch it elsewhere.")
            found[place] = path
    if not found:
        raise DataError(f"{archive} holds no images as they are published. Fetch it elsewhere.")
    return found


def _copy(source: Path, target: Path) -> None:
    if source.suffix == ".pkl":
        read_ground_truth(source)  # a web page or anything hostile is not kept
    check_room(source.parent, source.stat().st_size)
    with atomic_file(target) as temporary:
        copyfile(source, temporary)
