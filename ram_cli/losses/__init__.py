"""Losses, miners, and the tables of training losses and distillation methods."""

from ram_cli.losses.anchors import k_means, product_anchors, subspaces_for
from ram_cli.losses.contextual import csd_loss, d3_loss, nearest, neighbour_scores
from ram_cli.losses.distance_weighted import (
    distance_weighted_negatives,
    distance_weighted_probabilities,
)
from ram_cli.losses.distillation import (
    PUBLISHED_EPSILON,
    absolute_loss,
    cosine_regression_loss,
    coupled_loss,
    relational_loss,
)
from ram_cli.losses.entries import LossEntry, MethodEntry, MethodKind, NegativeSource
from ram_cli.losses.metric import (
    contrastive_distance_loss,
    contrastive_loss,
    contrastive_plus_loss,
    regression_loss,
    triplet_loss,
)
from ram_cli.losses.miners import (
    hardest_negatives,
    hardest_positives,
    random_negatives,
    teacher_ranked_pairs,
)
from ram_cli.losses.numerics import Reduction
from ram_cli.losses.registry import (
    LOSSES,
    METHODS,
    find_loss,
    find_method,
)
from ram_cli.losses.relations import darkrank_loss, rkd_loss, rkd_parts
from ram_cli.losses.softmax import (
    distance_cross_entropy_loss,
    multi_similarity_loss,
    vector_cross_entropy_loss,
)
from ram_cli.losses.structure import ssp_loss
from ram_cli.losses.symmetric import symmetric_batch_loss
from ram_cli.losses.tuples import Tuples

__all__ = [
    "LOSSES",
    "METHODS",
    "PUBLISHED_EPSILON",
    "LossEntry",
    "MethodEntry",
    "MethodKind",
    "NegativeSource",
    "Reduction",
    "Tuples",
    "absolute_loss",
    "contrastive_distance_loss",
    "contrastive_loss",
    "contrastive_plus_loss",
    "cosine_regression_loss",
    "coupled_loss",
    "csd_loss",
    "d3_loss",
    "darkrank_loss",
    "distance_cross_entropy_loss",
    "distance_weighted_negatives",
    "distance_weighted_probabilities",
    "find_loss",
    "find_method",
    "hardest_negatives",
    "hardest_positives",
    "k_means",
    "multi_similarity_loss",
    "nearest",
    "neighbour_scores",
    "product_anchors",
    "random_negatives",
    "regression_loss",
    "relational_loss",
    "rkd_loss",
    "rkd_parts",
    "ssp_loss",
    "subspaces_for",
    "symmetric_batch_loss",
    "teacher_ranked_pairs",
    "triplet_loss",
    "vector_cross_entropy_loss",
]
