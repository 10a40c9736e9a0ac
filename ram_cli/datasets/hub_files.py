"""Files of a dataset on the Hugging Face Hub: which there are, and what they must be.

The Hub tells size and SHA-256 of every large file, so that what comes is checked like a file with a
published hash. The address is that of `huggingface_hub` (`HF_ENDPOINT`).
"""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from ram_cli.datasets.remote import RemoteFile
from ram_cli.errors import DataError

TIMEOUT_SECONDS = 20.0

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_PARTS = re.compile(r"(?:.*/)?(train|test)-(\d+)-of-(\d+)(?:-[0-9a-f]+)?\.parquet")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_BYTES = 1 << 24  # of a list of files


def is_hub_dataset(name: str) -> bool:
    """Whether a mirror is named as a dataset of the Hub, `owner/name[@revision]`."""
    return bool(_HUB_ID.fullmatch(name))


def list_tables(dataset: str) -> tuple[RemoteFile, ...]:
    """List the parquet files of the parts train and test of a dataset.

    Args:
        dataset: `owner/name`, perhaps with `@revision`.

    Raises:
        DataError: The Hub does not answer or does not have it, or parts are missing.
    """
    from huggingface_hub import constants

    name, _, revision = dataset.partition("@")
    revision = revision or "main"
    where = f"{constants.ENDPOINT}/datasets/{name}"
    if constants.HF_HUB_OFFLINE:
        raise DataError(f"{where}: the Hub is not asked, as HF_HUB_OFFLINE is set.")
    listed = _listed(
        f"{constants.ENDPOINT}/api/datasets/{name}/tree/{revision}?recursive=true", where
    )
    found: dict[str, dict[int, RemoteFile]] = {"train": {}, "test": {}}
    wanted = dict.fromkeys(found, 1)
    for path, size, sha256 in listed:
        if match := _PARTS.fullmatch(path):
            part, number, wanted[match[1]] = match[1], int(match[2]), int(match[3])
            url = f"{where}/resolve/{revision}/{urllib.parse.quote(path)}"
            file = path.rpartition("/")[2]
            found[part][number] = RemoteFile(name=file, urls=(url,), size=size, sha256=sha256)
    for part, files in found.items():
        if sorted(files) != list(range(wanted[part])):
            raise DataError(f"{where} does not have all parquet files of its part {part}.")
    return tuple(files[number] for files in found.values() for number in sorted(files))


def _listed(url: str, where: str) -> list[tuple[str, int, str]]:
    """Path, bytes and SHA-256 (empty where the Hub does not tell) of every file."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            content: Any = json.loads(answer.read(_MOST_BYTES))
        return [
            (str(item["path"]), int(item["size"]), _hash(item.get("lfs") or {}))
            for item in content
            if item["type"] == "file"
        ]
    except urllib.error.HTTPError as error:
        with error:
            raise DataError(f"{where}: the Hub answers {error.code}.") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise DataError(f"{where}: the connection failed ({reason}).") from error
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise DataError(f"{where}: the Hub answers with no list of files.") from error


def _hash(large: dict[str, Any]) -> str:
    told = str(large.get("oid", ""))
    return told if _SHA256.fullmatch(told) else ""
