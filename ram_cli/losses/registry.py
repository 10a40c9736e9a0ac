"""Tables of the losses of `ram train` and the methods of `ram distill`."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

from torch import Tensor

from ram_cli.errors import ConfigError
from ram_cli.losses.distillation import coupled_loss
from ram_cli.losses.entries import LossEntry, MethodEntry
from ram_cli.losses.methods import cosine_regression, cross_entropy, darkrank, regression
from ram_cli.losses.metric import contrastive_loss, triplet_loss
from ram_cli.losses.numerics import Reduction
from ram_cli.losses.relations import rkd_parts
from ram_cli.losses.softmax import multi_similarity_loss
from ram_cli.losses.spaces import SPACE_METHODS
from ram_cli.losses.tuples import TUPLE_METHODS

_Entry = TypeVar("_Entry", bound=LossEntry | MethodEntry)


def _by_name(*entries: _Entry) -> dict[str, _Entry]:
    return {entry.name: entry for entry in entries}


def _multi_similarity(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float,
    reduction: Reduction = "mean",
    *,
    positive_mask: Tensor | None = None,
) -> Tensor:
    """`multi_similarity_loss` among losses that have a margin."""
    return multi_similarity_loss(anchor, positive, negative, reduction, positive_mask=positive_mask)


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
    LossEntry(
        name="multi-similarity",
        description="Positives and negatives weighed by their own similarity, without a margin.",
        function=_multi_similarity,
        aliases=("multi",),
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
        views=8,
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
    *TUPLE_METHODS,
    *SPACE_METHODS,
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
