"""Distillation methods that compare a view with what the teacher's space holds around it."""

from ram_cli.losses.contextual import csd_loss, d3_loss
from ram_cli.losses.entries import MethodEntry
from ram_cli.losses.structure import ssp_loss

SPACE_METHODS = (
    MethodEntry(
        name="csd",
        kind="neighbours",
        description="Similarities with the teacher's nearest training images, as a distribution.",
        function=csd_loss,
        weights=("neighbours", "student_temperature", "teacher_temperature"),
    ),
    MethodEntry(
        name="d3",
        kind="neighbours",
        description="Differences of similarities among the teacher's nearest training images.",
        function=d3_loss,
        weights=("neighbours", "feature_weight", "inverted_weight", "consistent_weight"),
        aliases=("d3still",),
    ),
    MethodEntry(
        name="ssp",
        kind="anchors",
        description="Similarities with anchors that the teacher's vectors cluster around.",
        function=ssp_loss,
        weights=("student_temperature", "teacher_temperature"),
    ),
)
"""Rows of the table of methods; none of them needs labels."""
