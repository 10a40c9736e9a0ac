"""What a shell is told when a person presses Tab: names at hand, at once, without torch."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args

from pydantic.fields import FieldInfo

from ram_cli.settings import (
    DatasetName,
    MethodName,
    OfferName,
    ZooName,
    choices_of,
    flag_of,
    known_runs,
    takes_many,
)

COMMON_BACKBONES = (
    "efficientnet-lite0",
    "efficientnet_b0",
    "efficientnet_b3",
    "mobilenetv2_100",
    "mobilenetv3_large_100",
    "resnet18",
    "resnet50",
    "resnet101",
    "convnext_tiny",
    "vit_small_patch16_224",
    "vit_base_patch16_224",
    "torchvision:swin_t",
)
"""A few of the more than a thousand; naming all would take the seconds that torch takes to load."""


def _runs() -> list[str]:
    return sorted(str(folder) for folder in known_runs())


OFFERS: dict[OfferName, Callable[[], Iterable[str]]] = {
    "datasets": lambda: get_args(DatasetName),
    "models": lambda: get_args(ZooName),
    "backbones": lambda: COMMON_BACKBONES,
    "runs": _runs,
    "methods": lambda: get_args(MethodName),
    "devices": lambda: ("auto", "cpu", "cuda", "mps"),
}
"""Where the names of each kind come from."""


def completion_of(field: FieldInfo) -> Callable[[str], list[str]] | None:
    """Return what completes the value of a field; None leaves it to the shell, which knows files.

    Args:
        field: A field of a settings class.
    """
    choices, offers, many = choices_of(field), flag_of(field).offers, takes_many(field)
    if not choices and not offers:
        return None

    def complete(incomplete: str) -> list[str]:
        head, comma, last = incomplete.rpartition(",") if many else ("", "", incomplete)
        names = choices or [name for offer in offers for name in OFFERS[offer]()]
        taken = head.split(",")
        found = [n for n in dict.fromkeys(names) if n.startswith(last) and n not in taken]
        if found and not choices:  # a folder may share its beginning with a name
            found += [folder for folder in _folders(last) if folder not in found]
        return [f"{head}{comma}{name}" for name in found]

    return complete


def _folders(beginning: str) -> list[str]:
    """Return the folders of the working folder whose name begins so; hidden ones are left out."""
    if "/" in beginning:
        return []
    here = (entry for entry in Path().iterdir() if entry.name.startswith(beginning))
    return sorted(f"{e.name}/" for e in here if not e.name.startswith(".") and e.is_dir())
