"""A set to search written down: which files, which boxes, and what each query is to find."""

import hashlib
import json
from pathlib import Path
from typing import Any

from ram_cli.datasets.images import ImageSet
from ram_cli.datasets.search import SearchSet
from ram_cli.files import write_text

SEARCH_MANIFEST_FORMAT = 1


def write_search_manifest(found: SearchSet | ImageSet, path: Path) -> str:
    """Write a set to search, or distractors, as a JSON document, atomically.

    Returns:
        Hash of the content (SHA-256, hex).
    """
    digest = manifest_hash(found)
    content: dict[str, Any] = {"format": SEARCH_MANIFEST_FORMAT, "content_hash": digest}
    if isinstance(found, SearchSet):
        boxes = found.queries.boxes
        content |= {
            "name": found.name,
            "root": str(found.gallery.root),
            "protocol": found.protocol,
            "counts": {"gallery": len(found.gallery), "queries": len(found.queries)},
            "queries": {
                "paths": found.queries.paths,
                "boxes": None if boxes is None else boxes.tolist(),
            },
            "gallery": {"paths": found.gallery.paths},
            "ground_truth": [dict(entry) for entry in found.ground_truth],
        }
    else:
        content |= {
            "name": found.name,
            "root": str(found.root),
            "counts": {"distractors": len(found)},
            "distractors": {"paths": found.paths},
        }
    write_text(path, json.dumps(content))
    return digest


def manifest_hash(found: SearchSet | ImageSet) -> str:
    """Return the hash of a set to search, or that over the paths of distractors."""
    if isinstance(found, SearchSet):
        return found.content_hash
    return hashlib.sha256("\n".join(found.paths).encode(errors="surrogateescape")).hexdigest()
