"""Image collections as ordered lists of labelled files, in splits of disjoint classes."""

from ram_cli.datasets.folder import IMAGE_SUFFIXES, list_folder
from ram_cli.datasets.images import Dataset, ImageSet, join_images
from ram_cli.datasets.load import load_dataset
from ram_cli.datasets.manifest import (
    content_hash,
    from_json,
    read_manifest,
    to_json,
    write_manifest,
)
from ram_cli.datasets.registry import DATASETS, Counts, DatasetEntry, parse_name
from ram_cli.datasets.search import (
    PAIRS,
    SEARCHES,
    PairSet,
    SearchSet,
    is_search_set,
    load_distractors,
    load_pairs,
    load_search_set,
)

__all__ = [
    "DATASETS",
    "IMAGE_SUFFIXES",
    "PAIRS",
    "SEARCHES",
    "Counts",
    "Dataset",
    "DatasetEntry",
    "ImageSet",
    "PairSet",
    "SearchSet",
    "content_hash",
    "from_json",
    "is_search_set",
    "join_images",
    "list_folder",
    "load_dataset",
    "load_distractors",
    "load_pairs",
    "load_search_set",
    "parse_name",
    "read_manifest",
    "to_json",
    "write_manifest",
]
