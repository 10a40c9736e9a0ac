"""What a view is compared with in the teacher's space: the training images, or anchors of them."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from ram_cli.losses import MethodEntry, product_anchors
from ram_cli.settings import DistillSettings

LossFunction = Callable[..., dict[str, Tensor]]


def space_loss(
    method: MethodEntry, settings: DistillSettings, teacher_vectors: Tensor, *, plain: bool
) -> LossFunction:
    """The method's loss with its space in place.

    Args:
        method: Of kind "neighbours" or "anchors".
        settings: Of the command.
        teacher_vectors: `[N, D]` of the training images, where they are to be computed with.
        plain: Student and teacher see the very views that `teacher_vectors` are of.

    Returns:
        Function of student and teacher vectors and the method's weights: `[B, D]` if `plain`,
        else `[B, K, D]`.

    Raises:
        ConfigError: The vectors cannot be cut into so many subspaces.
    """
    if method.kind == "neighbours":
        bound = partial(method.function, bank=teacher_vectors, own_in_bank=plain)
    else:
        anchors = product_anchors(
            teacher_vectors, settings.anchors, settings.subspaces, seed=settings.seed
        )
        bound = partial(method.function, anchors=anchors)
    return partial(_of_one_view, bound) if plain else bound


def _of_one_view(
    function: LossFunction, student: Tensor, teacher: Tensor, **weights: float
) -> dict[str, Tensor]:
    return function(student.unsqueeze(1), teacher.unsqueeze(1), **weights)
