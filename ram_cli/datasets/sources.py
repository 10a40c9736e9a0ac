"""The files that a known dataset is made of: a person's own, or fetched from the first address."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from ram_cli.datasets.cars_tables import INSTALL, has_reader
from ram_cli.datasets.entries import DatasetEntry
from ram_cli.datasets.extraction import is_archive
from ram_cli.datasets.fetching import TABLES, check_given, fetch_file
from ram_cli.datasets.hub_files import is_hub_dataset, list_tables
from ram_cli.datasets.remote import RemoteFile
from ram_cli.errors import ConfigError, DataError
from ram_cli.progress import Reporter
from ram_cli.transfer import SCHEMES

Files = dict[RemoteFile, Path]
"""Where each file of a set lies."""


def given_sources(entry: DatasetEntry, paths: Sequence[Path]) -> Files:
    """Match files that a person has with a set of files of the dataset.

    Raises:
        ConfigError: They are no such set, or missing.
    """
    check_given(paths)
    by_name = {path.name: path for path in paths}
    if len(by_name) < len(paths):
        raise ConfigError("--from-file: two of the files have the same name")
    if entry.read_tables is not None and all(path.suffix == TABLES for path in paths):
        _check_reader()
        return {RemoteFile(name=name): path for name, path in by_name.items()}
    for source in entry.sources:
        if {file.name for file in source} == by_name.keys():
            return {file: by_name[file.name] for file in source}
    some = any(file.name in by_name for source in entry.sources for file in source)
    if len(paths) == 1 and not some:  # under a name of its own
        for source in entry.sources:
            if len(source) == 1:
                return {source[0]: paths[0]}
    raise ConfigError(f"--from-file: {entry.name} is made from {_wanted(entry)}")


def fetched_sources(entry: DatasetEntry, archives: Path, mirror: str, reporter: Reporter) -> Files:
    """Fetch the first set of files that can be had: of the mirror, of its addresses, of the Hub.

    Args:
        entry: The dataset.
        archives: Folder for what is fetched.
        mirror: Address of a folder or of the one file, or a dataset of the Hub; may be empty.
        reporter: Told about progress.

    Raises:
        ConfigError: The mirror cannot hold this dataset.
        DataError: No set can be had.
    """
    attempts: list[Callable[[], Files]] = []
    if is_hub_dataset(mirror):
        if entry.read_tables is None:
            raise ConfigError(f"--mirror: {entry.name} is not read from datasets of the Hub")
        attempts.append(lambda: _from_hub(mirror, archives, reporter))
    elif mirror and urlsplit(mirror).scheme not in SCHEMES:
        raise ConfigError(
            f"--mirror: '{mirror}' is neither an address that begins with {', '.join(SCHEMES)} "
            "nor a dataset of the Hub, owner/name"
        )
    elif mirror:
        of_mirror = [tuple(_at(mirror, file, files) for file in files) for files in entry.sources]
        attempts += [partial(_fetched, files, archives, reporter) for files in of_mirror]
    attempts += [
        partial(_fetched, files, archives, reporter)
        for files in entry.sources
        if all(file.urls for file in files)
    ]
    attempts += [partial(_from_hub, dataset, archives, reporter) for dataset in entry.hub]
    problems: list[str] = []
    for attempt in attempts:
        try:
            return attempt()
        except DataError as error:
            problems.append(str(error))
    told = " ".join(dict.fromkeys(problems)) or (
        f"{entry.title} is not offered for download. {entry.source}."
    )
    raise DataError(
        f"{told} Try again later, name a --mirror, or fetch {_wanted(entry)} by other means "
        f"and run: ram download {entry.name} --from-file FILE"
    )


def _fetched(files: Sequence[RemoteFile], archives: Path, reporter: Reporter) -> Files:
    return {file: fetch_file(file, archives / file.name, "", reporter) for file in files}


def _from_hub(dataset: str, archives: Path, reporter: Reporter) -> Files:
    """Fetch the parquet files of a dataset of the Hub to a folder of its own."""
    _check_reader()
    folder = archives / dataset.partition("@")[0].replace("/", "--")
    return _fetched(list_tables(dataset), folder, reporter)


def _check_reader() -> None:
    if not has_reader():
        raise DataError(f"copies on the Hub are parquet files, which pyarrow reads: {INSTALL}")


def _at(mirror: str, file: RemoteFile, files: Sequence[RemoteFile]) -> RemoteFile:
    """The same file at a mirror: in its folder, or the very address."""
    own = urlsplit(mirror).path.rpartition("/")[2]
    if own == file.name or (len(files) == 1 and is_archive(own)):
        return replace(file, urls=(mirror,))
    return replace(file, urls=(f"{mirror.rstrip('/')}/{file.name}",))


def _wanted(entry: DatasetEntry) -> str:
    sets = [" and ".join(file.name for file in files) for files in entry.sources]
    return ", or ".join([*sets, *(["its parquet files"] if entry.read_tables else [])])
