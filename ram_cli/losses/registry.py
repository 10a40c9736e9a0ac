"""Tables of the losses of `ram train` and the methods of `ram distill`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, TypeVar

from torch import Tensor

from ram_cli.errors import ConfigError
from ram_cli.losses.distillation import coupled_loss
from ram_cli.losses.methods import cosine_regression, cross_entropy, darkrank, regression
from ram_cli.losses.metric import contrastive_loss, triplet_loss
from ram_cli.losses.relations import rkd_parts

MethodKind = Literal["coupled", "vectors", "batch"]
"""What a distillation method learns from, and what its function is called with.

* coupled: several views of an image that both networks see; student and teacher `[B, K, D]`.
* vectors: one plain view per image and the teacher's vector of it, computed once; student and
  teacher `[B, D]`.
* batch: the same, but the images of a batch are compared with each other, so that it takes three.
"""


@dataclass(frozen=True, slots=True)
class LossEntry:
    """A loss to train one network by, without a teacher.

    Attributes:
        name: Its name on the command line.
        description: One sentence.
        function: (anchor `[B, D]`, positive `[B, P, D]`, negative `[B, N, D]`, margin, reduction,
            positive_mask=`[B, P]`) → scalar.
        needs_labels: Positives and negatives are told apart by class.
        needs_mining: Negatives are mined from a pool with the current network.
        aliases: Other names that are accepted.
    """

    name: str
    description: str
    function: Callable[..., Tensor]
    needs_labels: bool = True
    needs_mining: bool = True
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MethodEntry:
    """A way to distill a teacher into a student.

    Attributes:
        name: Its name on the command line.
        kind: What it learns from, and so which objective of the engine trains by it.
        description: One sentence.
        function: What it minimises, see `MethodKind`; returns parts, of which "loss" is to be
            minimised and the rest is logged.
        weights: Names of the function's further arguments, each a setting of the command.
        needs_labels: Positives and negatives are told apart by class.
        aliases: Other names that are accepted; the published code's among them.
    """

    name: str
    kind: MethodKind
    description: str
    function: Callable[..., dict[str, Tensor]]
    weights: tuple[str, ...] = ()
    needs_labels: bool = False
    aliases: tuple[str, ...] = ()


_Entry = TypeVar("_Entry", bound=LossEntry | MethodEntry)


def _by_name(*entries: _Entry) -> dict[str, _Entry]:
    return {entry.name: entry for entry in entries}


LOSSES: dict[str, LossEntry] = _by_name(
    LossEntry(
        name="triplet",
        description="Triplet hinge on squared distances over all positive-negative pairs.",
        function=triplet_loss,
        aliases=("sym",),
    ),
    LossEntry(
        name="contrastive",
        description="Positives are drawn together, negatives pushed beyond a margin.",
        function=contrastive_loss,
        aliases=("std",),
    ),
)
"""Losses by name."""

METHODS: dict[str, MethodEntry] = _by_name(
    MethodEntry(
        name="coupled",
        kind="coupled",
        description="Absolute and relational terms over coupled views at two resolutions.",
        function=coupled_loss,
        weights=("lambda_ts", "lambda_ss"),
        aliases=("ts_aug",),
    ),
    MethodEntry(
        name="cosine-regression",
        kind="vectors",
        description="The absolute term alone on one plain view, with cached teacher vectors.",
        function=cosine_regression,
        aliases=("ts_reg",),
    ),
    MethodEntry(
        name="regression",
        kind="vectors",
        description="Squared distance to the teacher's vector of the same image.",
        function=regression,
        aliases=("reg",),
    ),
    MethodEntry(
        name="cross-entropy",
        kind="vectors",
        description="Cross-entropy of the coordinates, with the teacher's vector as weights.",
        function=cross_entropy,
        weights=("temperature",),
        aliases=("cross_entropy",),
    ),
    MethodEntry(
        name="rkd",
        kind="batch",
        description="Distances and angles within a batch as the teacher has them.",
        function=rkd_parts,
    ),
    MethodEntry(
        name="darkrank",
        kind="batch",
        description="Likelihood of the teacher's ranking of the nearest images in a batch.",
        function=darkrank,
    ),
)
"""Distillation methods by name."""


def find_loss(name: str) -> LossEntry:
    """The loss of that name or alias.

    Raises:
        ConfigError: There is none; the message lists the closest names.
    """
    return _find(LOSSES, "loss", name)


def find_method(name: str) -> MethodEntry:
    """The distillation method of that name or alias.

    Raises:
        ConfigError: There is none; the message lists the closest names.
    """
    return _find(METHODS, "method", name)


def _find(table: Mapping[str, _Entry], what: str, name: str) -> _Entry:
    for entry in table.values():
        if name in (entry.name, *entry.aliases):
            return entry
    known = [alias for entry in table.values() for alias in (entry.name, *entry.aliases)]
    close = get_close_matches(name, known, n=3) or list(table)
    raise ConfigError(f"{what} {name!r} is unknown: choose {' or '.join(close)}")
