"""The whitening that goes with a model: beside it in its folder, inside a published file, or named.

`forward` never applies it; `embed` does where a model sees whole images, and `ram test --whiten`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ram_cli.errors import CheckpointError, OutputError
from ram_cli.files import atomic_file
from ram_cli.models.checkpoints import published_whitening
from ram_cli.models.hub import fetch_from_hub, is_hub_id
from ram_cli.models.tensor_files import assert_finite, read_safetensors
from ram_cli.models.zoo import find_in_zoo, zoo_whitening
from ram_cli.progress import SILENT, Reporter

WHITENING_FILE = "whitening.safetensors"
"""Its name in a model folder; holds `m` `[D]` and `P` `[D, D]`, float64."""

GALLERY_WHITENING_FILE = "gallery-whitening.safetensors"
"""In the folder of a student: the whitening of the teacher that it was exported with."""


def save_whitening(
    folder: Path | str,
    mean: Tensor,
    projection: Tensor,
    metadata: Mapping[str, str],
    file: str = WHITENING_FILE,
) -> Path:
    """Keep a whitening in a model folder, in place of an older one.

    Args:
        folder: The model folder.
        mean: m, `[D]`.
        projection: P, `[D, D]`; whitened vectors are P(x − m), then L2.
        metadata: What it was learned from, and for which input.
        file: Its name there.

    Raises:
        OutputError: The folder cannot be written.
    """
    path = Path(folder) / file
    tensors = {"m": mean.double().contiguous(), "P": projection.double().contiguous()}
    with atomic_file(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=dict(metadata))
        except SafetensorError as error:  # a full disk, told in safetensors' own way
            raise OutputError(f"cannot write {path}: {error}. Is the disk full?") from error
    return path


def read_whitening(folder: Path | str, file: str = WHITENING_FILE) -> tuple[Tensor, Tensor] | None:
    """Mean `[D]` and projection `[D, D]` kept in a model folder; None where there are none.

    Raises:
        CheckpointError: The file is damaged or holds something else.
    """
    path = Path(folder) / file
    if not path.is_file():
        return None
    tensors = read_safetensors(path)
    mean, projection = tensors.get("m"), tensors.get("P")
    fits = mean is not None and projection is not None and mean.ndim == 1 and projection.ndim == 2
    if not fits or mean is None or projection is None or projection.shape[1] != len(mean):
        raise CheckpointError(f"{path} holds no whitening: m [D] and P [D, D] are missing.")
    assert_finite(tensors, path)
    return mean.double(), projection.double()


def copy_whitening(
    source: Path | str,
    target: Path | str,
    source_file: str = WHITENING_FILE,
    file: str = WHITENING_FILE,
) -> bool:
    """Bring a whitening of one model folder into another; returns whether there was one.

    Raises:
        CheckpointError: It is damaged.
        OutputError: The folder cannot be written.
    """
    if (found := read_whitening(source, source_file)) is None:
        return False
    with safe_open(Path(source) / source_file, framework="pt") as opened:
        metadata: dict[str, str] = opened.metadata() or {}
    save_whitening(target, *found, metadata, file)
    return True


def stored_whitening(
    name: Path | str, *, scales: Sequence[float] = (1.0,), reporter: Reporter = SILENT
) -> tuple[Tensor, Tensor] | None:
    """The whitening that a model brings along, whatever name it goes by; None where it has none.

    Args:
        name: Model folder, published file, name of the zoo, or id of the Hub.
        scales: Of the vectors to whiten; published files tell one scale from several.
        reporter: Told about downloads.

    Raises:
        ModelError: A published file cannot be had.
        CheckpointError: A file is damaged.
    """
    several, path = len(scales) > 1, Path(name).expanduser()
    if path.is_dir():
        return read_whitening(path)
    if path.is_file():
        found = published_whitening(path)
        wanted = "/ms" if several else "/ss"
        return found.get("") or next((w for key, w in found.items() if key.endswith(wanted)), None)
    if known := find_in_zoo(str(name)):
        return zoo_whitening(known, multi_scale=several, reporter=reporter)
    return read_whitening(fetch_from_hub(str(name))) if is_hub_id(str(name)) else None
