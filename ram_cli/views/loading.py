"""Images of a set, decoded by index: boxes, a bounded cache, errors that leave worker processes."""

import json
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from ram_cli.errors import UnreadableImageError
from ram_cli.views.decode import decode_with_size

if TYPE_CHECKING:
    from ram_cli.datasets import ImageSet

Decoded: TypeAlias = tuple[NDArray[np.uint8], tuple[int, int]]


class ImageLoader:
    """Decodes the images of a set, cropped to their boxes.

    The cache keeps the first images that fit and never evicts: an epoch reads every image once in
    random order, so that the least recently used image is the next one needed, and a cache that
    evicts it would hit far less often. Every worker process has its own, empty at its start; it
    pays off only with `persistent_workers`.

    Args:
        images: The images.
        min_side: Shorter side in pixels that is enough, see `decode_image`; None for all pixels.
        cache_bytes: Most bytes of decoded pixels to keep per process, 0 for none.
    """

    def __init__(
        self, images: "ImageSet", min_side: int | None = None, cache_bytes: int = 0
    ) -> None:
        self.images, self.min_side, self.cache_bytes = images, min_side, cache_bytes
        self._cache: dict[int, Decoded] = {}
        self._cached_bytes = 0

    def __len__(self) -> int:
        return len(self.images)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": {}, "_cached_bytes": 0}

    def load(self, index: int) -> NDArray[np.uint8]:
        """Pixels of image `index`, uint8 `[H, W, 3]`, not to be written to.

        Raises:
            UnreadableImageError: The file cannot be decoded.
        """
        return self.load_with_size(index)[0]

    def load_with_size(self, index: int) -> Decoded:
        """`load`, and the (height, width) in pixels of the whole image that a box was cut from."""
        if index in self._cache:
            return self._cache[index]
        box = None if self.images.boxes is None else self.images.boxes[index]
        try:
            decoded = decode_with_size(self.images.path(index), box, self.min_side)
        except UnreadableImageError as error:
            if get_worker_info() is None:
                raise
            raise WorkerImageError.of(error) from None
        if self._cached_bytes + decoded[0].nbytes <= self.cache_bytes:
            self._cache[index] = decoded
            self._cached_bytes += decoded[0].nbytes
        return decoded


class WorkerImageError(UnreadableImageError):
    """An `UnreadableImageError` that survives the way out of a data-loading worker process.

    torch rebuilds the exception of a worker from one text, its traceback. The last line of that
    carries path and reason, so that the person still reads one clear line.
    """

    def __init__(self, report: str) -> None:
        path, reason = json.loads(report.strip().splitlines()[-1].partition(": ")[2])
        super().__init__(path, reason)

    @classmethod
    def of(cls, error: UnreadableImageError) -> "WorkerImageError":
        """The same error, ready to leave a worker process."""
        payload = json.dumps([str(error.path), error.reason])
        portable = cls(f"{cls.__name__}: {payload}")
        portable.args = (payload,)
        return portable
