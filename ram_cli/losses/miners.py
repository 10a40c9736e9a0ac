"""Choice of positives and negatives for training tuples, by similarity.

Vectors are tensors, searched on the device the pool lies on; labels and results are numpy arrays.
Scores are computed for blocks of queries, so that Q × N of them never exist at once.

Letters: Q queries, N images of the pool, D embedding dimension.
"""

import numpy as np
import torch
from torch import Tensor

from ram_cli.errors import DataError
from ram_cli.losses.pools import (
    BLOCK_SCORES,
    Labels,
    Positions,
    blocks,
    check_labels,
    check_vectors,
    too_few_negatives,
)


def hardest_positives(
    embeddings: Tensor, labels: Labels, count: int, *, block_scores: int = BLOCK_SCORES
) -> Positions:
    """The least similar other images of each image's class.

    An image is told from its positives by position, so an exact duplicate is a positive.

    Args:
        embeddings: `[N, D]` unit vectors.
        labels: `[N]` class of every image.
        count: Positives per image.
        block_scores: Most scores held at once.

    Returns:
        Positions `[N, count]`, the hardest first.

    Raises:
        DataError: A class has fewer than `count` + 1 images.
        ModelError: Labels and vectors do not pair.
        TrainingError: A vector is not finite.
    """
    check_vectors(embeddings=embeddings)
    check_labels(embeddings=(embeddings, labels))
    classes, sizes = np.unique(labels, return_counts=True)
    if len(sizes) and sizes.min() <= count:
        smallest = int(sizes.argmin())
        raise DataError(
            f"class {classes[smallest]} has {sizes[smallest]} image(s), too few for {count} "
            f"positives of each: ask for fewer, or leave out classes below {count + 1} images"
        )
    classes_here = torch.tensor(labels).to(embeddings.device)
    found = np.empty((len(labels), count), dtype=np.int64)
    for rows in blocks(len(labels), len(labels), block_scores):
        scores = embeddings[rows] @ embeddings.T
        other = classes_here[rows].unsqueeze(1) != classes_here
        other[:, rows].fill_diagonal_(True)  # the image itself
        hardest = scores.masked_fill_(other, torch.inf).topk(count, dim=1, largest=False)
        found[rows] = hardest.indices.cpu().numpy()
    return found


def hardest_negatives(
    query: Tensor,
    pool: Tensor,
    query_labels: Labels,
    pool_labels: Labels,
    count: int,
    *,
    one_per_label: bool = True,
    block_scores: int = BLOCK_SCORES,
) -> Positions:
    """The pool images most similar to each query that are not of its class or cluster.

    Radenović et al., TPAMI 2018: at most one image per cluster, so that negatives differ.

    Args:
        query: `[Q, D]` unit vectors.
        pool: `[N, D]` unit vectors; of the teacher when training is asymmetric.
        query_labels: `[Q]` class or cluster of every query.
        pool_labels: `[N]` class or cluster of every pool image.
        count: Negatives per query.
        one_per_label: Whether a query's negatives must be of different clusters.
        block_scores: Most scores held at once.

    Returns:
        Positions in the pool `[Q, count]`, the hardest first.

    Raises:
        DataError: The pool holds too few possible negatives for a query.
        ModelError: Labels and vectors do not pair.
        TrainingError: A vector is not finite.
    """
    check_vectors(query=query, pool=pool)
    check_labels(query=(query, query_labels), pool=(pool, pool_labels))
    labels_here = torch.tensor(pool_labels).to(pool.device)
    anchors_here = torch.tensor(query_labels).to(pool.device)
    found = np.empty((len(query), count), dtype=np.int64)
    for rows in blocks(len(query), len(pool), block_scores):
        scores = query[rows].to(pool) @ pool.T
        scores.masked_fill_(anchors_here[rows].unsqueeze(1) == labels_here, -torch.inf)
        for rank in range(count):
            best, position = scores.max(dim=1)
            if bool(torch.isinf(best).any()):
                row = int(torch.isinf(best).nonzero()[0])
                raise too_few_negatives(rows.start + row, query_labels, rank, count)
            found[rows, rank] = position.cpu().numpy()
            scores.scatter_(1, position.unsqueeze(1), -torch.inf)
            if one_per_label:
                taken = labels_here[position].unsqueeze(1) == labels_here
                scores.masked_fill_(taken, -torch.inf)
    return found


def random_negatives(
    query_labels: Labels,
    pool_labels: Labels,
    count: int,
    generator: np.random.Generator,
) -> Positions:
    """Random pool images of other classes or clusters, at most one of each.

    Args:
        query_labels: `[Q]` class or cluster of every query.
        pool_labels: `[N]` class or cluster of every pool image.
        count: Negatives per query.
        generator: Source of randomness; queries draw from it in their order.

    Returns:
        Positions in the pool `[Q, count]`.

    Raises:
        DataError: The pool holds too few possible negatives for a query.
    """
    found = np.empty((len(query_labels), count), dtype=np.int64)
    for row, label in enumerate(query_labels):
        chosen: dict[int, int] = {}  # by class
        for position in generator.permutation(len(pool_labels)):
            if len(chosen) == count:
                break
            if pool_labels[position] != label:
                chosen.setdefault(int(pool_labels[position]), int(position))
        if len(chosen) < count:
            raise too_few_negatives(row, query_labels, len(chosen), count)
        found[row] = list(chosen.values())
    return found


def teacher_ranked_pairs(
    query: Tensor,
    pool: Tensor,
    generator: np.random.Generator,
    *,
    query_positions: Positions | None = None,
    top: int = 300,
    block_scores: int = BLOCK_SCORES,
) -> tuple[Positions, Positions]:
    """Two random images of each query's nearest, the nearer one as positive: no labels needed.

    Budnik & Avrithis, CVPR 2021, triplets ranked by the teacher.

    Args:
        query: `[Q, D]` teacher vectors.
        pool: `[N, D]` teacher vectors.
        generator: Source of randomness.
        query_positions: `[Q]` position of every query in the pool, -1 where it is not there; the
            query itself is never drawn. All are taken as absent when not given.
        top: Length of the list the two are drawn from.
        block_scores: Most scores held at once.

    Returns:
        Positions in the pool of the positives `[Q]` and of the negatives `[Q]`.

    Raises:
        DataError: The pool holds fewer than two other images.
        TrainingError: A vector is not finite.
    """
    check_vectors(query=query, pool=pool)
    inside = np.full(len(query), -1) if query_positions is None else query_positions
    length = min(top, len(pool) - int((inside >= 0).any()))
    if length < 2:
        raise DataError(
            f"a pool of {len(pool)} image(s) and a list of {top} leave no two to rank: enlarge them"
        )
    first = generator.integers(0, length, size=len(query))
    second = (first + generator.integers(1, length, size=len(query))) % length
    # [Q], two different places in the list
    places = torch.from_numpy(np.sort(np.stack([first, second], axis=1), axis=1)).to(pool.device)
    own = torch.tensor(inside).to(pool.device)
    found = np.empty((len(query), 2), dtype=np.int64)
    for rows in blocks(len(query), len(pool), block_scores):
        scores = query[rows].to(pool) @ pool.T
        present = (own[rows] >= 0).nonzero().squeeze(1)
        scores[present, own[rows][present]] = -torch.inf
        nearest = scores.topk(length, dim=1).indices
        found[rows] = nearest.gather(1, places[rows]).cpu().numpy()
    return found[:, 0], found[:, 1]
