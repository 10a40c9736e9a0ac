"""Embedding of images, exact retrieval metrics, protocols and whitening."""

from importlib import import_module
from typing import Any

from ram_cli.evaluation.metrics import RetrievalMetrics
from ram_cli.evaluation.relevance import IndexLists
from ram_cli.evaluation.retrieval import label_metrics, retrieval_metrics
from ram_cli.evaluation.revisited import RevisitedMetrics, oxford_metrics, revisited_metrics
from ram_cli.evaluation.whitening import (
    Whitening,
    apply_whitening,
    whiten_pca,
    whiten_supervised,
)

# loaded on first use: metrics of vectors at hand need neither models nor image decoding
_LATER = {"embed_images": "ram_cli.evaluation.extract"}

__all__ = [
    "IndexLists",
    "RetrievalMetrics",
    "RevisitedMetrics",
    "Whitening",
    "apply_whitening",
    "embed_images",
    "label_metrics",
    "oxford_metrics",
    "retrieval_metrics",
    "revisited_metrics",
    "whiten_pca",
    "whiten_supervised",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
