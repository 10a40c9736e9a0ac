"""The network to train: a model that exists and keeps its head, or a new head on a backbone."""

from pathlib import Path
from typing import Any

from ram_cli.errors import ConfigError
from ram_cli.models import Embedder, build_embedder, load_model
from ram_cli.models.names import is_backbone_name
from ram_cli.progress import Reporter
from ram_cli.recipes.common import model_folder
from ram_cli.settings import DistillSettings, TrainSettings, preset_of


def is_new(name: str) -> bool:
    """Whether a name means a backbone that gets a new head, not a model that exists."""
    return is_backbone_name(name) and not Path(name).expanduser().exists()


def build_network(
    name: str,
    settings: TrainSettings | DistillSettings,
    reporter: Reporter,
    *,
    dimension: int,
    adapter: int = 0,
    head_from: Embedder | None = None,
) -> Embedder:
    """The network to train: a model that exists, or a new head on a backbone.

    Args:
        name: Any name of a model.
        settings: How to build the head.
        reporter: Told where a model keeps a head that the defaults would not have given it.
        dimension: D of a new projection, 0 for none.
        adapter: Width of a new 1 x 1 convolution before pooling, 0 for none.
        head_from: A model whose layers after the backbone a new one starts from.

    Raises:
        ConfigError: The settings ask a model that exists for another head or other weights.
    """
    if not is_new(name):
        model = load_model(model_folder(name))
        _check_head(name, model, settings, reporter)
        return model
    return build_embedder(
        name,
        pooling=settings.pool,
        dimension=dimension,
        pretrained=settings.weights or settings.pretrained,
        local_whitening=settings.local_whitening,
        regional=settings.regional,
        adapter=adapter,
        init_from=head_from,
    )


def _check_head(
    name: str, model: Embedder, settings: TrainSettings | DistillSettings, reporter: Reporter
) -> None:
    """Refuse what a person asks of a new head; remark on what a model does not follow.

    A run that goes on keeps the model that it began with, whatever its settings say.
    """
    config = model.config
    own: dict[str, Any] = {
        "pool": config.pooling,
        "whitening": config.dimension if config.projection else 0,
        "local_whitening": config.local_whitening,
        "regional": config.regional,
        "adapter": config.adapter,
        "pretrained": True,
        "weights": None,
    }
    preset = preset_of(settings.dataset)
    faults, kept = [], []
    for field, value in own.items():
        asked = getattr(settings, field)
        if asked == value or asked is None:
            continue
        usual = type(settings).model_fields[field].get_default()
        by_preset = field in settings.preset_fields and asked == preset.get(field)
        if asked == usual or by_preset or settings.resume is not None:
            kept.append(f"{field} {_written(value)}")
        elif field in ("pretrained", "weights"):
            faults.append(f"{field}: {name} brings its weights. Leave it out, or name a backbone.")
        else:
            faults.append(
                f"{field}: {name} is a model and keeps its own ({_written(value)}), not "
                f"{_written(asked)}. Leave it out, or name a backbone, which gets a new head."
            )
    if faults:
        raise ConfigError(faults)
    if kept:
        reporter.note(f"{name} keeps its own head: {', '.join(kept)}")


def _written(value: Any) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
