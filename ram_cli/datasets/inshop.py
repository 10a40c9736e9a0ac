"""DeepFashion In-Shop in its original layout: clothes, with queries apart from the gallery."""

from pathlib import Path

from ram_cli.datasets.listing import Listing, NamedClass
from ram_cli.datasets.tables import halved_splits, read_columns
from ram_cli.errors import DataError

HEADER = ("image_name", "item_id", "evaluation_status")
STATUSES = ("train", "query", "gallery")
_LISTS = ("Eval/list_eval_partition.txt", "list_eval_partition.txt")
_PREFIXES = ("", "Img/")


def list_inshop(root: Path) -> Listing:
    """List the images: items of status train are train (first half) and val, all others test.

    Raises:
        DataError: list_eval_partition.txt is missing or damaged, or tests on items trained on.
    """
    path = next((root / name for name in _LISTS if (root / name).is_file()), root / _LISTS[0])
    rows = read_columns(path, len(HEADER), header=HEADER, counted=True)
    prefix = next((p for p in _PREFIXES if rows and (root / p / rows[0][0]).is_file()), "")
    items: dict[str, dict[str, list[str]]] = {status: {} for status in STATUSES}
    for image, item, status in rows:
        if status not in items:
            raise DataError(f"{path}: {status!r} is none of {', '.join(STATUSES)}.")
        items[status].setdefault(item, []).append(f"{prefix}{image}")
    tested = items["query"].keys() | items["gallery"].keys()
    if shared := sorted(items["train"].keys() & tested):
        raise DataError(
            f"{path}: {len(shared)} items ({shared[0]}, …) are trained and tested on; items must "
            "differ. Unpack it again."
        )
    test: list[NamedClass] = [
        (item, [*items["query"].get(item, []), *items["gallery"].get(item, [])])
        for item in sorted(tested)
    ]
    queries = frozenset(image for images in items["query"].values() for image in images)
    return Listing(root, halved_splits(sorted(items["train"].items()), test), queries=queries)
