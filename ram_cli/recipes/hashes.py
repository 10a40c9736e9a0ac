"""Hashes of what vectors are made of."""

import hashlib

from ram_cli.datasets import ImageSet
from ram_cli.errors import UnreadableImageError


def images_hash(images: ImageSet) -> str:
    """SHA-256 (hex) over paths, sizes and times of files, and boxes, in their order.

    Raises:
        UnreadableImageError: A file is missing.
    """
    digest = hashlib.sha256()
    for index, name in enumerate(images.paths):
        path = images.path(index)
        try:
            told = path.stat()
        except OSError as error:
            raise UnreadableImageError(path, (error.strerror or str(error)).lower()) from error
        digest.update(
            f"{name}\n{told.st_size} {told.st_mtime_ns}\n".encode(errors="surrogateescape")
        )
    if images.boxes is not None:
        digest.update(images.boxes.tobytes())
    return digest.hexdigest()
