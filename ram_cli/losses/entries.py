"""What the tables of losses and of distillation methods say of each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

MethodKind = Literal["coupled", "vectors", "batch", "tuples", "ranked", "neighbours", "anchors"]
"""What a distillation method learns from, and what its function is called with.

* coupled: several views of an image that both networks see; student and teacher `[B, K, D]`.
* vectors: one plain view per image and the teacher's vector of it, computed once; student and
  teacher `[B, D]`.
* batch: the same, but the images of a batch are compared with each other, so that it takes three.
* tuples: an anchor, another image of its class and images of other classes; `Tuples`.
* ranked: an anchor and two images near it, in the order that the teacher has them; `Tuples` of one
  positive and one negative.
* neighbours: one plain view or several coupled ones, compared with the training images nearest to
  the teacher's vector; student and teacher `[B, K, D]`, teacher's vectors of all images `[N, D]`.
* anchors: the same views, compared with anchors of the teacher's space; student and teacher
  `[B, K, D]`, anchors `[P, A, D / P]`.
"""

NegativeSource = Literal["hard", "random"]
"""Where negatives come from: the nearest of a pool, anew in each epoch, or any of the pool."""


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
        negatives: Where its negatives come from, unless a person says otherwise; None where there
            is no choice.
        views: Coupled views of an image, unless a person says otherwise; 0 for one plain view.
        looks_at_teacher: Whether it compares with the teacher's vectors even where positives and
            negatives go through the student.
        aliases: Other names that are accepted; the published code's among them.
    """

    name: str
    kind: MethodKind
    description: str
    function: Callable[..., dict[str, Tensor]]
    weights: tuple[str, ...] = ()
    negatives: NegativeSource | None = None
    views: int = 0
    looks_at_teacher: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def takes_views(self) -> bool:
        """Whether it can train on coupled views."""
        return self.kind in ("coupled", "neighbours", "anchors")

    @property
    def needs_labels(self) -> bool:
        """Whether positives and negatives are told apart by class."""
        return self.kind == "tuples"

    @property
    def runs_symmetric(self) -> bool:
        """Whether its positives and negatives may go through the student."""
        return self.kind == "ranked" or self.negatives is not None

    @property
    def needs_mining(self) -> bool:
        """Whether images are embedded anew in each epoch to find negatives."""
        return self.negatives == "hard"
