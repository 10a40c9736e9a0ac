"""Retrieval-SfM in its original layout: photographs of landmarks, clustered by what they show.

A pickle lists images by the hash of their content (`cid`), their clusters, and pairs of a query and
a positive, which show the same from near places.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ram_cli.datasets.images import Split
from ram_cli.datasets.listing import Listing, NamedClass
from ram_cli.datasets.pickles import read_ground_truth
from ram_cli.errors import DataError

SHORTEST_CID = 6
SFM_LISTS: Final = {
    "sfm30k": "retrieval-SfM-30k.pkl",
    "sfm120k": "retrieval-SfM-120k.pkl",
}
"""Files that list the images to train on."""


def cid_path(cid: Any, source: Path) -> str:
    """Return the path of an image; its folders are the end of its name, backwards.

    Raises:
        DataError: It is no such name.
    """
    if not isinstance(cid, str) or len(cid) < SHORTEST_CID or not cid.isalnum():
        raise DataError(f"{source}: {str(cid)[:40]!r} is no name of an image.")
    return f"ims/{cid[-2:]}/{cid[-4:-2]}/{cid[-6:-4]}/{cid}"


def list_sfm(root: Path, name: str) -> Listing:
    """List images by cluster, and the pairs of train and val; there are none to test on.

    Raises:
        DataError: The file of lists is missing, damaged, or does not fit itself.
    """
    path = root / SFM_LISTS[name]
    content = read_ground_truth(path)
    splits: dict[Split, list[NamedClass]] = {"test": []}
    pairs: dict[Split, list[tuple[str, str]]] = {}
    parts: tuple[Split, ...] = ("train", "val")
    for split in parts:
        part = content.get(split)
        try:
            if not isinstance(part, dict):
                raise KeyError(split)
            splits[split], pairs[split] = _split(split, part, path)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DataError(
                f"{path} does not list images, clusters and pairs as published ({split}: {error}). "
                "Fetch it again."
            ) from error
    return Listing(root, splits, pairs=pairs)


def _split(
    split: str, part: Mapping[str, Any], source: Path
) -> tuple[list[NamedClass], list[tuple[str, str]]]:
    paths = [cid_path(cid, source) for cid in part["cids"]]
    if len(set(paths)) < len(paths):
        raise ValueError("an image is listed twice")
    images_of: dict[int, list[str]] = {}
    for path, cluster in zip(paths, part["cluster"], strict=True):
        images_of.setdefault(int(cluster), []).append(path)
    queries = [int(index) for index in part["qidxs"]]
    positives = [int(index) for index in part["pidxs"]]
    if queries and min(*queries, *positives) < 0:
        raise ValueError("a pair has a negative index")
    classes: list[NamedClass] = [
        (f"{split} {cluster}", images_of[cluster]) for cluster in sorted(images_of)
    ]
    return classes, [(paths[q], paths[p]) for q, p in zip(queries, positives, strict=True)]
