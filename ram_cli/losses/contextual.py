"""Losses over the nearest training images of each view, as the teacher sees them; no labels.

A list holds a view's own teacher vector and then the most similar of the N bank vectors, which are
the teacher's vectors of the training images. The teacher scores the list by its vector of the view,
the student by its own; both scores are cosines with *teacher* vectors, so the student is drawn into
the teacher's space. Teacher and bank are detached: the teacher never learns.

Letters: B images, K views of each, V = B·K, M entries of a list, N bank vectors, D embedding
dimension; s student and t teacher vectors of unit length.
"""

import torch
from torch import Tensor

from ram_cli.errors import ConfigError, ModelError
from ram_cli.losses.numerics import check_aligned, in_full_precision, safe_sqrt
from ram_cli.losses.pools import BLOCK_SCORES

D3_FEATURE_WEIGHT = 50.0 / 256**0.5
"""The published weight of 50 at the published batch of 256 images.

The published term is a norm over the batch divided by its size, so it shrinks with the root of the
batch; a mean over images does not.
"""
D3_SOFTENING = 0.1
"""What is added to the teacher's difference before dividing by it."""


@in_full_precision
def csd_loss(
    student: Tensor,
    teacher: Tensor,
    bank: Tensor,
    *,
    neighbours: int = 4096,
    student_temperature: float = 1.0,
    teacher_temperature: float = 0.01,
    own_in_bank: bool = False,
) -> dict[str, Tensor]:
    """Contextual similarity distillation: KL between two distributions over a view's list.

    Wu et al., CVPR 2022. With a_m and b_m the student's and the teacher's scores of the list,
    L = Σ_m p_m (log p_m − log q_m), p = softmax(b / τ_t), q = softmax(a / τ_s); mean over views.

    Args:
        student: `[B, K, D]` unit vectors.
        teacher: `[B, K, D]` unit vectors of the same views; detached.
        bank: `[N, D]` teacher's unit vectors of the training images.
        neighbours: M, entries of a list, its own vector included; cut to what the bank holds.
        student_temperature: τ_s.
        teacher_temperature: τ_t.
        own_in_bank: The bank holds exactly these teacher vectors too.

    Returns:
        "loss", a scalar to be minimised, and "agreement", the share of views whose student finds
        the view's own teacher vector first in the list.

    Raises:
        ModelError: The shapes do not fit.
        ConfigError: A list would hold fewer than two entries, or a temperature is not positive.
    """
    _check_temperatures(student_temperature, teacher_temperature)
    ours, theirs = neighbour_scores(student, teacher, bank, neighbours, own_in_bank=own_in_bank)
    expected = (theirs / teacher_temperature).log_softmax(dim=1)
    found = (ours / student_temperature).log_softmax(dim=1)
    # [V, M] log-probabilities
    loss = (expected.exp() * (expected - found)).sum(dim=1).mean()
    agreement = (ours.detach().argmax(dim=1) == 0).to(loss.dtype).mean()
    return {"loss": loss, "agreement": agreement}


@in_full_precision
def d3_loss(
    student: Tensor,
    teacher: Tensor,
    bank: Tensor,
    *,
    neighbours: int = 10,
    feature_weight: float = D3_FEATURE_WEIGHT,
    inverted_weight: float = 2.0,
    consistent_weight: float = 1.0,
    own_in_bank: bool = False,
) -> dict[str, Tensor]:
    """Decoupled differential distillation: differences of similarities, not similarities, are kept.

    Xie et al., CVPR 2024. With a_m and b_m the student's and the teacher's scores of the list
    without its own vector, every pair of entries has r_ij = (Δa − Δb) / (0.1 + |Δb|) with
    Δa = a_i − a_j and Δb = b_i − b_j. It is *inverted* where Δa·Δb < 0: the student ranks the two
    the other way round; *consistent* where Δa·Δb > 0. Each kind gives √(Σ r²) / (M − 1) per view.
    The feature term is |1 − s·t|. All are means over views. Entries that the teacher scores
    equally have no order to keep.

    Args:
        student: `[B, K, D]` unit vectors.
        teacher: `[B, K, D]` unit vectors of the same views; detached.
        bank: `[N, D]` teacher's unit vectors of the training images.
        neighbours: M, entries of a list, its own vector included; cut to what the bank holds.
        feature_weight: α, of the feature term.
        inverted_weight: β, of inverted pairs.
        consistent_weight: γ, of consistent pairs.
        own_in_bank: The bank holds exactly these teacher vectors too.

    Returns:
        Scalars: "loss", to be minimised, and its unweighted, detached parts "feature", "inverted"
        and "consistent".

    Raises:
        ModelError: The shapes do not fit.
        ConfigError: A list would hold fewer than two entries.
    """
    ours, theirs = neighbour_scores(student, teacher, bank, neighbours, own_in_bank=own_in_bank)
    feature = (1.0 - ours[:, 0]).abs().mean()
    gap = _differences(ours[:, 1:])
    expected = _differences(theirs[:, 1:])
    # [V, M - 1, M - 1], entry i against entry j
    squares = ((gap - expected) / (D3_SOFTENING + expected.abs())).square()
    order = gap.detach() * expected
    entries = ours.shape[1] - 1
    inverted = (safe_sqrt((squares * (order < 0)).sum(dim=(1, 2))) / entries).mean()
    consistent = (safe_sqrt((squares * (order > 0)).sum(dim=(1, 2))) / entries).mean()
    loss = feature_weight * feature + inverted_weight * inverted + consistent_weight * consistent
    return {
        "loss": loss,
        "feature": feature.detach(),
        "inverted": inverted.detach(),
        "consistent": consistent.detach(),
    }


def neighbour_scores(
    student: Tensor,
    teacher: Tensor,
    bank: Tensor,
    neighbours: int,
    *,
    own_in_bank: bool = False,
    block_scores: int = BLOCK_SCORES,
) -> tuple[Tensor, Tensor]:
    """Cosines of every view with its list, by the student and by the teacher.

    The bank is searched in blocks, so V × N scores of the teacher never exist at once.

    Args:
        student: `[B, K, D]` unit vectors.
        teacher: `[B, K, D]` unit vectors; detached.
        bank: `[N, D]` teacher's unit vectors.
        neighbours: M, at least 2; cut to what the bank holds.
        own_in_bank: The nearest vector of the bank is the view's own, and is not listed twice.
        block_scores: Most scores of the search held at once.

    Returns:
        Student's and teacher's cosines `[V, M]`, the view's own vector first, then the teacher's
        nearest first.

    Raises:
        ModelError: The shapes do not fit.
        ConfigError: A list would hold fewer than two entries.
    """
    check_aligned(student, teacher, "BKD")
    bank = bank.detach().to(student)
    flat, aims = student.flatten(0, 1), teacher.detach().to(student).flatten(0, 1)
    # [V, D] both
    if bank.dim() != 2 or bank.shape[1] != flat.shape[1]:
        raise ModelError(
            f"bank of shape {tuple(bank.shape)} does not fit vectors of {flat.shape[1]} "
            "dimensions: give the teacher's vectors [N, D] of the training images"
        )
    skipped = int(own_in_bank)
    listed = min(neighbours - 1, len(bank) - skipped)
    if listed < 1:
        raise ConfigError(
            f"neighbours: {neighbours} of {len(bank)} training image(s) leave no other image to "
            "compare with. Ask for 2 or more, or train on more images."
        )
    scores, positions = nearest(aims, bank, listed + skipped, block_scores=block_scores)
    scores, positions = scores[:, skipped:], positions[:, skipped:]
    ours = torch.cat([(flat * aims).sum(dim=1, keepdim=True), _scored(flat, bank, positions)], 1)
    theirs = torch.cat([aims.square().sum(dim=1, keepdim=True), scores], 1)
    return ours, theirs


def nearest(
    query: Tensor, bank: Tensor, count: int, *, block_scores: int = BLOCK_SCORES
) -> tuple[Tensor, Tensor]:
    """The `count` bank vectors most similar to each query, best first.

    Args:
        query: `[V, D]`.
        bank: `[N, D]`, N ≥ `count`.
        count: How many to find.
        block_scores: Most scores held at once, beside the best so far.

    Returns:
        Scores and positions in the bank, both `[V, count]`.
    """
    step = max(count, block_scores // max(len(query), 1))
    best = query.new_empty(len(query), 0)
    places = torch.empty(len(query), 0, dtype=torch.int64, device=query.device)
    for start in range(0, len(bank), step):
        scores = query @ bank[start : start + step].T
        here = torch.arange(start, start + scores.shape[1], device=query.device)
        best = torch.cat([best, scores], 1)
        places = torch.cat([places, here.expand_as(scores)], 1)
        best, kept = best.topk(min(count, best.shape[1]), dim=1)
        places = places.gather(1, kept)
    return best, places


def _scored(student: Tensor, bank: Tensor, positions: Tensor) -> Tensor:
    """Cosines `[V, M]` of students `[V, D]` with bank vectors at positions `[V, M]`."""
    # Whichever keeps less for the way back: the listed vectors, or scores of the whole bank.
    if positions.shape[1] * bank.shape[1] <= len(bank):
        return (bank[positions] @ student.unsqueeze(2)).squeeze(2)
    return (student @ bank.T).gather(1, positions)


def _differences(scores: Tensor) -> Tensor:
    """Differences `[V, M, M]` of scores `[V, M]`, entry i minus entry j."""
    return scores.unsqueeze(2) - scores.unsqueeze(1)


def _check_temperatures(*temperatures: float) -> None:
    if min(temperatures) <= 0:
        raise ConfigError(f"temperatures {temperatures} must be above 0.")
