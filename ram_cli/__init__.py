"""Asymmetric image retrieval: a strong gallery model, a cheap query model, one embedding space."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ram_cli.version import __version__

if TYPE_CHECKING:
    from ram_cli.models import Embedder, load_model

__all__ = ["Embedder", "__version__", "load_model"]

# Imported on first use: `ram --help` must not wait for torch.
_LATER = {"load_model": "ram_cli.models", "Embedder": "ram_cli.models"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
