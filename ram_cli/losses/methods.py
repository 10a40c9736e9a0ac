"""What the rows of the table of distillation methods minimise: losses that name their parts.

Letters: B images in a batch, D embedding dimension.
"""

from torch import Tensor

from ram_cli.losses.distillation import cosine_regression_loss
from ram_cli.losses.metric import regression_loss
from ram_cli.losses.relations import darkrank_loss
from ram_cli.losses.softmax import vector_cross_entropy_loss


def cosine_regression(student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
    """(1 − s·t)² of one view per image: `[B, D]` and `[B, D]` → "loss" and "absolute"."""
    return cosine_regression_loss(student.unsqueeze(1), teacher.unsqueeze(1))


def regression(student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
    """½‖s − t‖² (`regression_loss`): `[B, D]` and `[B, D]` → "loss" and "similarity"."""
    return _aligned(regression_loss(student, teacher), student, teacher)


def cross_entropy(student: Tensor, teacher: Tensor, temperature: float) -> dict[str, Tensor]:
    """`vector_cross_entropy_loss`: `[B, D]` and `[B, D]` → "loss" and "similarity"."""
    return _aligned(vector_cross_entropy_loss(student, teacher, temperature), student, teacher)


def darkrank(student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
    """`darkrank_loss` as published: `[B, D]` and `[B, D]` → "loss"."""
    return {"loss": darkrank_loss(student, teacher)}


def _aligned(loss: Tensor, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
    cosines = (student.detach() * teacher.detach()).sum(dim=-1)  # [B]
    return {"loss": loss, "similarity": cosines.mean()}
