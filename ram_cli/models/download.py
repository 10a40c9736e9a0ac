"""Files of models from elsewhere: the errors that people who load a model meet."""

from collections.abc import Sequence
from pathlib import Path

from ram_cli import transfer
from ram_cli.errors import CheckpointError, ModelError
from ram_cli.progress import SILENT, Reporter

_FAULTS = transfer.Faults(missing=ModelError, damaged=CheckpointError)


def download(
    urls: Sequence[str],
    path: Path,
    *,
    sha256: str = "",
    description: str = "",
    reporter: Reporter = SILENT,
) -> Path:
    """Fetch a file from the first address that has it, see `ram_cli.transfer.download`.

    Args:
        urls: Addresses, tried in order.
        path: Where to.
        sha256: First hex digits that its SHA-256 must have; empty where they are not known.
        description: What to call it.
        reporter: Told about progress, in bytes.

    Raises:
        ModelError: No address has it, or none can be reached.
        CheckpointError: What came is a web page, or has another hash.
    """
    return transfer.download(
        urls,
        path,
        faults=_FAULTS,
        expected=transfer.Expected(sha256),
        description=description,
        reporter=reporter,
    )


def verify(path: Path, sha256: str = "") -> None:
    """Check a file against the hash it must have, and the one it had when it first came.

    Raises:
        CheckpointError: It has another.
    """
    transfer.verify(path, transfer.Expected(sha256), faults=_FAULTS)


def forget(path: Path) -> None:
    """Drop the hash that a file had when it first came: one that cannot be used is no measure."""
    transfer.pin_of(path).unlink(missing_ok=True)
