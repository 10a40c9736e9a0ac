"""Names of backbones: `timm:NAME`, `torchvision:NAME`, or bare, torchvision first."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Literal

from ram_cli.errors import ModelError

Library = Literal["timm", "torchvision"]

ALIASES = {
    f"efficientnet-lite{number}": f"timm:tf_efficientnet_lite{number}" for number in range(3)
}
"""Short names that belong to neither library."""


@dataclass(frozen=True, slots=True)
class BackboneName:
    """One network of one library.

    Attributes:
        library: Where it comes from.
        model: Name in that library, without tag.
        tag: Which of its published weights, as in `resnet50.a1_in1k`; empty for the usual ones.
    """

    library: Library
    model: str
    tag: str = ""

    def __str__(self) -> str:
        """The explicit form, which `parse_backbone_name` reads back."""
        return f"{self.library}:{self.model}" + (f".{self.tag}" if self.tag else "")


def parse_backbone_name(name: str) -> BackboneName:
    """Find which network a name means.

    Raises:
        ModelError: No library has it; the closest names are listed.
    """
    library, _, rest = ALIASES.get(name, name).rpartition(":")
    model, _, tag = rest.partition(".")
    if library in {"", "torchvision"} and model in torchvision_names():
        return BackboneName("torchvision", model, tag)
    if library in {"", "timm"} and model in timm_names():
        return BackboneName("timm", model, tag)
    if library not in {"", "timm", "torchvision"}:
        raise ModelError(f"backbone '{name}': write timm:NAME, torchvision:NAME, or a bare name.")
    raise ModelError(f"there is no backbone '{name}'{_where(library)}. {suggest(model, library)}")


def is_backbone_name(name: str) -> bool:
    """Whether `parse_backbone_name` knows it."""
    try:
        parse_backbone_name(name)
    except ModelError:
        return False
    return True


def suggest(model: str, library: str = "", others: Iterable[str] = ()) -> str:
    """A sentence with the names closest to `model`, among backbones and `others`."""
    known = [*ALIASES, *others]
    known += torchvision_names() if library in {"", "torchvision"} else ()
    known += timm_names() if library in {"", "timm"} else ()
    close = get_close_matches(model.lower(), dict.fromkeys(known), n=5, cutoff=0.5)
    if not close:
        return "`ram list models` shows what there is."
    return f"Did you mean {', '.join(close)}?"


@cache
def torchvision_names() -> frozenset[str]:
    """Every classification network of torchvision."""
    from torchvision import models

    return frozenset(models.list_models(module=models))


@cache
def timm_names() -> frozenset[str]:
    """Every classification network of timm."""
    import timm

    return frozenset(timm.list_models())


def _where(library: str) -> str:
    return f" in {library}" if library else " in torchvision or timm"
