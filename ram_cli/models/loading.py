"""From any name of a model to the model."""

from pathlib import Path

from ram_cli.errors import CheckpointError, ModelError
from ram_cli.models.backbones import build_backbone
from ram_cli.models.checkpoints import load_published
from ram_cli.models.embedder import Embedder
from ram_cli.models.folder import CONFIG_FILE, WEIGHTS_FILE, is_model_folder, load_folder
from ram_cli.models.hub import fetch_from_hub, is_hub_id
from ram_cli.models.off_the_shelf import off_the_shelf, pass_through
from ram_cli.models.search_whitening import WhiteningSource
from ram_cli.models.zoo import find_in_zoo, load_from_zoo
from ram_cli.progress import SILENT, Reporter

_WEIGHT_SUFFIXES = {".pth", ".pt", ".tar", ".safetensors", ".bin"}


def load_model(
    name_or_path: str | Path,
    *,
    input_size: int | None = None,
    pretrained: bool = True,
    pooling: str = "gem",
    dimension: int = 0,
    cache_dir: Path | None = None,
    mirror: str | None = None,
    reporter: Reporter = SILENT,
) -> Embedder:
    """Load a model `[B, 3, H, W]` → `[B, D]` by any of its names, in eval mode.

    In this order: a model folder or a published `.pth` file on disk; a published network of `ZOO`;
    an id `owner/name[@revision]` of the Hugging Face Hub; a backbone of torchvision or timm, alone
    or followed by its pooling and layers (`resnet101-gem`, `resnet101-gem-r-whiten`, see
    `OffTheShelf`).

    Args:
        name_or_path: The name.
        input_size: Side of its images in pixels, instead of its own.
        pretrained: For a backbone: published weights rather than random ones.
        pooling: For a backbone: key of `POOLINGS`.
        dimension: For a backbone: outputs of a new projection; 0 for none.
        cache_dir: Where published networks are kept; None for the user's cache folder.
        mirror: Where else published networks lie; None for what `RAM_HUB_MIRROR` says.
        reporter: Told about downloads.

    Raises:
        ModelError: Nothing has that name, or it is out of reach.
        CheckpointError: A file is damaged, foreign or unsafe.
    """
    name = str(name_or_path)
    if not name.strip():
        raise ModelError("an empty name is no model. `ram list models` shows what there is.")
    if (path := Path(name).expanduser()).exists():
        return _finished(load_from_disk(path), input_size, WhiteningSource(str(path.resolve())))
    if _looks_like_a_path(name_or_path):
        raise ModelError(f"there is no file or folder {name}.")
    if known := find_in_zoo(name):
        found = load_from_zoo(known, cache_dir=cache_dir, mirror=mirror, reporter=reporter)
        return _finished(found, input_size, WhiteningSource(known, cache_dir, mirror))
    if is_hub_id(name):
        folder = fetch_from_hub(name)
        return _finished(load_folder(folder), input_size, WhiteningSource(str(folder)))
    described = off_the_shelf(name, pooling)
    built = build_backbone(described.backbone, pretrained=pretrained, input_size=input_size)
    return pass_through(Embedder(described.config(built, dimension), built)).eval()


def load_from_disk(path: Path) -> Embedder:
    """Load a model folder, or a published file.

    Raises:
        CheckpointError: It is neither, or damaged.
    """
    if path.is_file() and path.name in {WEIGHTS_FILE, CONFIG_FILE}:
        path = path.parent
    if path.is_dir():
        inside = [name for name in ("final", "best") if is_model_folder(path / name)]
        if inside and not is_model_folder(path):
            choices = " or ".join(str(path / name) for name in inside)
            raise CheckpointError(f"{path} is a run folder: name {choices}.")
        missing = [name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (path / name).is_file()]
        if missing:
            raise CheckpointError(
                f"{path} is no model folder: it has no {' and no '.join(missing)}. Name a run or "
                "model folder, a .pth file, or a backbone such as resnet50."
            )
        return load_folder(path)
    return load_published(path)


def _finished(embedder: Embedder, input_size: int | None, source: WhiteningSource) -> Embedder:
    embedder.whitening_source = source
    if input_size is not None:
        embedder.set_input_size(input_size)
    return embedder


def _looks_like_a_path(name: str | Path) -> bool:
    return (
        isinstance(name, Path)
        or name.startswith(("/", "./", "../", "~"))
        or name.count("/") > 1
        or Path(name).suffix in _WEIGHT_SUFFIXES
    )
