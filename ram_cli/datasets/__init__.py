"""Image collections as ordered lists of labelled files, in splits of disjoint classes."""

from ram_cli.datasets.distractors import load_distractors
from ram_cli.datasets.entries import Counts, DatasetEntry
from ram_cli.datasets.folder import IMAGE_SUFFIXES, list_folder
from ram_cli.datasets.images import Dataset, ImageSet, join_images
from ram_cli.datasets.landmarks import (
    LANDMARKS,
    LandmarkEntry,
    find_entry,
    kind_of,
    known_names,
)
from ram_cli.datasets.load import load_dataset
from ram_cli.datasets.manifest import (
    content_hash,
    from_json,
    read_manifest,
    to_json,
    write_manifest,
)
from ram_cli.datasets.pairs import PAIRS, PairSet, load_pairs
from ram_cli.datasets.registry import DATASETS, parse_name
from ram_cli.datasets.search import SEARCHES, SearchSet, is_search_set, load_search_set

__all__ = [
    "DATASETS",
    "IMAGE_SUFFIXES",
    "LANDMARKS",
    "PAIRS",
    "SEARCHES",
    "Counts",
    "Dataset",
    "DatasetEntry",
    "ImageSet",
    "LandmarkEntry",
    "PairSet",
    "SearchSet",
    "content_hash",
    "find_entry",
    "from_json",
    "is_search_set",
    "join_images",
    "kind_of",
    "known_names",
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
