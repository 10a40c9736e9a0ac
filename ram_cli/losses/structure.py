"""Structure similarity preservation: student and teacher see the same anchors the same way.

Letters: B images, K views of each, D embedding dimension, P subspaces, A anchors in each.
"""

from torch import Tensor
from torch.nn import functional as F

from ram_cli.errors import ConfigError, ModelError
from ram_cli.losses.numerics import check_aligned, in_full_precision


@in_full_precision
def ssp_loss(
    student: Tensor,
    teacher: Tensor,
    anchors: Tensor,
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.1,
) -> dict[str, Tensor]:
    """KL between the similarities of both vectors with the anchors of every subspace; no labels.

    Wu et al., arXiv 2403.00648. Vectors are cut into P parts of unit length; with a and b the
    cosines of a student's and a teacher's part with the A anchors of its subspace,
    L = Σ_A p (log p − log q), p = softmax(b / τ_t), q = softmax(a / τ_s); a mean over all.

    Args:
        student: `[B, K, D]` unit vectors.
        teacher: `[B, K, D]` unit vectors of the same views; detached.
        anchors: `[P, A, D / P]`, of unit length, as `product_anchors` finds them; detached.
        student_temperature: τ_s.
        teacher_temperature: τ_t.

    Returns:
        "loss", a scalar to be minimised, and "agreement", the share of parts whose student and
        teacher have the same nearest anchor.

    Raises:
        ModelError: The shapes do not fit.
        ConfigError: A temperature is not positive.
    """
    check_aligned(student, teacher, "BKD")
    if min(student_temperature, teacher_temperature) <= 0:
        raise ConfigError(
            f"temperatures {(student_temperature, teacher_temperature)} must be above 0."
        )
    parts = anchors.shape[0] if anchors.dim() == 3 else 0
    if parts * anchors.shape[-1] != student.shape[-1]:
        raise ModelError(
            f"anchors of shape {tuple(anchors.shape)} do not fit vectors of {student.shape[-1]} "
            "dimensions: give [P, A, D / P]"
        )
    anchors = anchors.detach().to(student)
    ours = _similarities(student, anchors)
    theirs = _similarities(teacher.detach().to(student), anchors)
    # [P, V, A] cosines
    expected = (theirs / teacher_temperature).log_softmax(dim=-1)
    found = (ours / student_temperature).log_softmax(dim=-1)
    loss = (expected.exp() * (expected - found)).sum(dim=-1).mean()
    same = ours.detach().argmax(dim=-1) == theirs.argmax(dim=-1)
    return {"loss": loss, "agreement": same.to(loss.dtype).mean()}


def _similarities(vectors: Tensor, anchors: Tensor) -> Tensor:
    """Cosines `[P, V, A]` of the parts of `[B, K, D]` vectors with anchors `[P, A, D / P]`."""
    rows = vectors.flatten(0, 1)
    cut = rows.view(len(rows), anchors.shape[0], -1).transpose(0, 1)
    # [P, V, D / P] parts
    return F.normalize(cut, dim=-1) @ anchors.mT
