"""Files that datasets are made from, and where what is in them belongs."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from ram_cli.datasets.folder import is_image_name
from ram_cli.transfer import Expected

_CID = re.compile(r"(?:.*/)?(\w\w)/(\w\w)/(\w\w)/(\w*\3\2\1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file that a dataset is unpacked from, or that lies beside what is unpacked.

    Attributes:
        name: Its published name.
        urls: Addresses, tried in order.
        size: Bytes; 0 where they are not published.
        sha256: SHA-256 (hex); empty where it is not published.
        md5: MD5 (hex); likewise.
    """

    name: str
    urls: tuple[str, ...] = ()
    size: int = 0
    sha256: str = ""
    md5: str = ""

    @property
    def expected(self) -> Expected:
        """What the file must be."""
        return Expected(self.sha256, self.md5, self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Files that go to one folder, each for itself; datasets of the same images share a part.

    Attributes:
        folder: Where to, below the folder for data.
        files: The files, in the order in which they are brought.
        place: Path below `folder` for the path of a file in an archive; None leaves it out.
    """

    folder: str
    files: tuple[RemoteFile, ...]
    place: Callable[[str], str | None] = str


def side_by_side(path: str) -> str | None:
    """Put all images of an archive into `jpg/`, whatever folders it has."""
    return f"jpg/{PurePosixPath(path).name}" if is_image_name(path) else None


def below_jpg(path: str) -> str | None:
    """Put images into `jpg/`, in the folders of the archive."""
    inner = path.removeprefix("revisitop1m/").removeprefix("jpg/")
    return f"jpg/{inner}" if is_image_name(path) else None


def by_cid(path: str) -> str | None:
    """Put images named by a hash into `ims/`, in the folders that the end of the hash names."""
    found = _CID.fullmatch(path)
    return f"ims/{'/'.join(found.groups())}" if found else None
