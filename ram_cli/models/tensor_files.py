"""Reading files of tensors without running anything that is in them."""

import _codecs
import json
import pickle
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from ram_cli.errors import CheckpointError

_AGAIN = "Fetch or write the file again."
_LARGEST_JSON = 16 << 20  # bytes; descriptions take a few thousand

# What torch.load is known to raise at damaged files, besides the errors of pickle.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    safetensors.SafetensorError,
    struct.error,
    zipfile.BadZipFile,
)

# What `numpy.ndarray.__reduce__` needs, under its present and its former module name.
_reconstruct: Any = np.empty(0).__reduce__()[0]
_NUMPY_ARRAYS: list[Any] = [
    _reconstruct,
    (_reconstruct, "numpy.core.multiarray._reconstruct"),
    np.ndarray,
    np.dtype,
    _codecs.encode,
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8")),
]


def read_pickle(path: Path) -> Any:
    """Read a file of `torch.save`, admitting tensors, plain containers and numpy arrays only.

    Raises:
        CheckpointError: The file is damaged, or holds anything else.
    """
    try:
        _refuse_packed(path)
        with torch.serialization.safe_globals(_NUMPY_ARRAYS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of kinds of tensors that are refused afterwards
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "unsupported" in str(error).lower():
            what = str(error).partition("GLOBAL ")[2].split(" ")[0] or "code"
            raise CheckpointError(
                f"{path} holds {what}, which is no tensor or array, and was not loaded. "
                "Save its state_dict alone, or get it from a source that you trust."
            ) from error
        raise CheckpointError(f"{path} is no file of weights, or is damaged. {_AGAIN}") from error
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}.") from error
    except _DAMAGE as error:
        raise CheckpointError(f"{path} is no file of weights, or is damaged. {_AGAIN}") from error


def _refuse_packed(path: Path) -> None:
    """Nothing of torch is packed: kilobytes that unpack to gigabytes are no weights."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise CheckpointError(
                f"{path} is packed, which files of weights never are, and was not loaded. "
                "Save it with torch.save, or get it from a source that you trust."
            )


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    try:
        return load_file(path)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is truncated or damaged: {error}. {_AGAIN}") from error
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}.") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: The file is missing, damaged, or no object.
    """
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise CheckpointError(f"{path} is far too large to describe a model. {_AGAIN}")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no JSON: {error}. {_AGAIN}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object. {_AGAIN}")
    return content


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the weights of a network from a safetensors or `torch.save` file.

    Raises:
        CheckpointError: The file is missing or damaged, or holds something else.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no file of weights {path}.")
    content = read_safetensors(path) if path.suffix == ".safetensors" else read_pickle(path)
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path} holds no weights of a network.")
    assert_plain(content, path)
    return cast(dict[str, Tensor], content)


def assert_finite(tensors: dict[str, Tensor], where: Path | str) -> None:
    """Refuse weights that hold NaN or infinity.

    Raises:
        CheckpointError: A tensor does; the first one is named.
    """
    for name, tensor in tensors.items():
        values = tensor.float() if tensor.dtype.itemsize == 1 else tensor  # 8 bits know no isfinite
        if tensor.is_floating_point() and not values.isfinite().all():
            raise CheckpointError(f"{where}: {name} holds NaN or infinite values.")


def assert_plain(tensors: dict[str, Tensor], where: Path | str) -> None:
    """Refuse tensors that do not own the memory their shape asks for.

    A file of a few bytes can hold a tensor of any shape that repeats one value, or one without
    values; what is built to its shape would fill the memory.

    Raises:
        CheckpointError: A tensor is not dense, or not on the CPU; the first one is named.
    """
    for name, tensor in tensors.items():
        dense = tensor.layout == torch.strided and tensor.device.type == "cpu"
        dense = dense and not tensor.is_quantized
        size = tensor.numel() * tensor.element_size() if dense else 0
        if not dense or size > tensor.untyped_storage().nbytes():
            raise CheckpointError(f"{where}: {name[:80]!r} is no plain tensor. {_AGAIN}")
