"""`ram list`: everything that has a name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ram_cli.progress import SILENT, Reporter, TableData
from ram_cli.settings import ListSettings

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Listed:
    """The tables asked for: entries by kind, each entry a flat mapping."""

    kinds: dict[str, list[Entry]]

    def to_json(self) -> dict[str, Any]:
        """All entries by kind."""
        return dict(self.kinds)

    def tables(self) -> list[TableData]:
        """One table per kind."""
        return [
            TableData(
                kind,
                list(entries[0]),
                [[_text(value) for value in entry.values()] for entry in entries],
            )
            for kind, entries in self.kinds.items()
            if entries
        ]

    def notes(self) -> list[str]:
        """Names that are too many to list."""
        if "models" not in self.kinds:
            return []
        return ["any classification network of timm or torchvision works too: timm:NAME"]


def run_list(settings: ListSettings, reporter: Reporter = SILENT) -> Listed:
    """List one kind of thing, or every kind."""
    wanted = [settings.what] if settings.what else list(_KINDS)
    return Listed({kind: _KINDS[kind]() for kind in wanted})


def _datasets() -> list[Entry]:
    from ram_cli.datasets import DATASETS, LANDMARKS

    classes: list[Entry] = [
        {
            "name": entry.name,
            "for": "training" if entry.parts else "training, test",
            "content": entry.content,
            "train + val": str(entry.train_val),
            "test": str(entry.test),
            "get it": entry.how,
        }
        for entry in DATASETS.values()
    ]
    searched: list[Entry] = [
        {
            "name": entry.name,
            "for": "test" if entry.protocol else "distractors",
            "content": entry.content,
            "train + val": "",
            "test": f"{entry.gallery} images"
            + (f", {entry.queries} queries" if entry.queries else ""),
            "get it": entry.how,
        }
        for entry in LANDMARKS.values()
    ]
    return classes + searched


def _models() -> list[Entry]:
    from ram_cli.models.pretrained import PACKAGED, packaged_weights
    from ram_cli.models.zoo import ZOO, zoo_cache

    published = [
        {
            "name": name,
            "data": entry.data,
            "px": str(entry.size),
            "dim": str(entry.dimension),
            "teacher": entry.teacher,
            "whitening": entry.whitened,
            "from": entry.paper,
            "here": _yes((zoo_cache() / entry.file).exists()),
        }
        for name, entry in ZOO.items()
    ]
    packaged = [
        {
            "name": f"timm:{name}",
            "data": "ImageNet",
            "px": "",
            "dim": "",
            "teacher": "",
            "whitening": "",
            "from": package.replace("_", "-"),
            "here": _yes(packaged_weights(name) is not None),
        }
        for name, package in PACKAGED.items()
    ]
    return packaged + published


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _methods() -> list[Entry]:
    from ram_cli.losses import METHODS

    return [
        {
            "name": entry.name,
            "also": ", ".join(entry.aliases),
            "needs": ", ".join(
                word
                for word, needed in (
                    ("labels", entry.needs_labels),
                    ("mining", entry.needs_mining),
                )
                if needed
            ),
            "symmetric": _yes(entry.runs_symmetric),
            "what": entry.description,
        }
        for entry in METHODS.values()
    ]


def _losses() -> list[Entry]:
    from ram_cli.losses import LOSSES

    return [
        {
            "name": entry.name,
            "also": ", ".join(entry.aliases),
            "what": entry.description,
        }
        for entry in LOSSES.values()
    ]


def _poolings() -> list[Entry]:
    from ram_cli.models import POOLINGS

    return [{"name": name, "what": entry.summary} for name, entry in POOLINGS.items()]


def _text(value: object) -> str:
    return "" if value is None else str(value)


_KINDS: dict[str, Callable[[], list[Entry]]] = {
    "datasets": _datasets,
    "models": _models,
    "methods": _methods,
    "losses": _losses,
    "poolings": _poolings,
}
