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

MULTI_SCALE_FILE = "whitening-ms.safetensors"
"""Beside it, from a published network that tells them apart: that of vectors of several scales."""

GALLERY_WHITENING_FILE = "gallery-whitening.safetensors"
"""In the folder of a student: the whitening of the teacher that it was exported with."""


_WHOSE = {
    WHITENING_FILE: "its own",
    MULTI_SCALE_FILE: "another for several scales",
    GALLERY_WHITENING_FILE: "that of its teacher",
}


def kept_whitening(folder: Path | str) -> str:
    """Whose whitening a model folder holds, in words; empty for none."""
    return " and ".join(whose for file, whose in _WHOSE.items() if Path(folder, file).is_file())


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


def copy_whitening(source: Path | str, target: Path | str) -> bool:
    """Bring all whitenings of one model folder into another; returns whether it had its own.

    Raises:
        CheckpointError: One is damaged.
        OutputError: The folder cannot be written.
    """
    for file in (WHITENING_FILE, MULTI_SCALE_FILE, GALLERY_WHITENING_FILE):
        if (found := read_whitening(source, file)) is not None:
            with safe_open(Path(source) / file, framework="pt") as opened:
                metadata: dict[str, str] = opened.metadata() or {}
            save_whitening(target, *found, metadata, file)
    return (Path(target) / WHITENING_FILE).is_file()


def convert_whitening(name: str, folder: Path | str) -> bool:
    """Keep in a model folder what was published with a network; returns whether that was any.

    Args:
        name: Published file, or name of the zoo.
        folder: The model folder.

    Raises:
        ModelError: It was published in a file of its own, which cannot be had.
        CheckpointError: It is damaged.
        OutputError: The folder cannot be written.
    """
    metadata = {"published_with": Path(name).name}
    single, several = (stored_whitening(name, scales=scales) for scales in ((1.0,), (1.0, 0.5)))
    if single is None or several is None:
        return False
    save_whitening(folder, *single, metadata)
    if any(not one.equal(other) for one, other in zip(single, several, strict=True)):
        save_whitening(folder, *several, metadata, MULTI_SCALE_FILE)
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
        return _of_folder(path, several=several)
    if path.is_file():
        found = published_whitening(path)
        wanted = "/ms" if several else "/ss"
        return found.get("") or next((w for key, w in found.items() if key.endswith(wanted)), None)
    if known := find_in_zoo(str(name)):
        return zoo_whitening(known, multi_scale=several, reporter=reporter)
    return _of_folder(fetch_from_hub(str(name)), several=several) if is_hub_id(str(name)) else None


def _of_folder(folder: Path, *, several: bool) -> tuple[Tensor, Tensor] | None:
    multi_scale = read_whitening(folder, MULTI_SCALE_FILE) if several else None
    return read_whitening(folder) if multi_scale is None else multi_scale
