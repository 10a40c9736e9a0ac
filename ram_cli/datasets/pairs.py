"""Pairs of images that show the same: what whitening is learned from. P pairs, N images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ram_cli.datasets.images import ImageSet
from ram_cli.datasets.pickles import read_ground_truth
from ram_cli.datasets.sfm import cid_path
from ram_cli.datasets.unlabelled import find, unlabelled
from ram_cli.errors import DataError
from ram_cli.progress import SILENT, Reporter

PAIRS: Final[dict[str, str]] = {
    "sfm30k": "retrieval-SfM-30k-whiten.pkl",
    "sfm120k": "retrieval-SfM-120k-whiten.pkl",
}
"""Sets of matching pairs, and the file that lists them."""


@dataclass(frozen=True, slots=True, eq=False)
class PairSet:
    """Images, and which of them show the same.

    Attributes:
        images: The images, N.
        pairs: Indices of matching images `[P, 2]`.
    """

    images: ImageSet
    pairs: NDArray[np.int64]


def load_pairs(name: str, data_root: Path, *, reporter: Reporter = SILENT) -> PairSet:
    """Load matching pairs of retrieval-SfM.

    Args:
        name: Key of `PAIRS`.
        data_root: Folder of the data sets; holds `<name>/<file of PAIRS>` and `<name>/ims/`.
        reporter: Told what was found.

    Raises:
        DataError: A file is missing or damaged, or does not fit another.
    """
    path = find(data_root, name, PAIRS[name])
    content = read_ground_truth(path)
    try:
        paths = [cid_path(cid, path) for cid in content["cids"]]
        pairs = np.array([content["qidxs"], content["pidxs"]], dtype=np.int64).T
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path} lists no pairs as published ({error}). Fetch it again.") from error
    if pairs.size and not 0 <= pairs.min() <= pairs.max() < len(paths):
        raise DataError(f"{path}: a pair names none of its {len(paths)} images. Fetch it again.")
    root = path.parent.parent if path.parent.name == "dbs" else path.parent
    reporter.note(f"{name}: {len(pairs)} pairs of {len(paths)} images")
    return PairSet(unlabelled(f"{name}/pairs", root, paths), pairs.reshape(-1, 2))
