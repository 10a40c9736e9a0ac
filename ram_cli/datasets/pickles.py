"""Published ground truths are pickles from the network: read without running anything in them."""

import _codecs
import pickle
from pathlib import Path
from typing import Any, Final

import numpy as np

from ram_cli.errors import DataError

_reconstruct: Any = np.empty(0).__reduce__()[0]
_scalar: Any = np.float64(0).__reduce__()[0]

_ADMITTED: Final[dict[tuple[str, str], Any]] = {
    **{
        (f"numpy.{core}.multiarray", name): value
        for core in ("core", "_core")
        for name, value in (("_reconstruct", _reconstruct), ("scalar", _scalar))
    },
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _codecs.encode,
}
"""All that arrays and numbers of numpy need; plain containers, numbers and texts need nothing."""


class _PlainUnpickler(pickle.Unpickler):
    """Knows arrays of numpy and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The admitted callable of that name; raises UnpicklingError for any other."""
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ADMITTED[module, name]


def read_ground_truth(path: Path) -> dict[str, Any]:
    """Read a pickle of a dictionary of plain containers, numbers, texts and numpy arrays.

    Raises:
        DataError: The file is missing, damaged, or holds anything else; nothing of it is run.
    """
    try:
        with path.open("rb") as file:
            content = _PlainUnpickler(file, encoding="latin1").load()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}.") from error
    except Exception as error:
        raise DataError(
            f"{path} is no ground truth, or damaged ({error}). Nothing of it was run. "
            "Fetch it again from its authors."
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is no ground truth: it holds no dictionary.")
    return content
