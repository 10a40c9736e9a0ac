"""Where the last linear layer starts from, and the one that may follow it: whitening.

Letters: N training images, C pooled channels, D embedding dimension.

A default `nn.Linear` is a poor start for unit vectors: its random bias is as large as its output,
so all embeddings begin close to one common direction. Three better ones:

* `orthogonal_start`: keeps inner products as far as D allows; needs no data. The default.
* `pca_projection`: keeps most of the variance of the backbone's own features.
* `ridge_projection`: maps the student's features onto the teacher's embeddings in closed form, so
  that distillation begins in the teacher's space even where the two architectures differ.
"""

import torch
from torch import Tensor, nn

from ram_cli.errors import ModelError

_EPSILON = 1e-6  # as in the published L2 normalisation, x / (‖x‖ + 1e-6)


def orthogonal_start(layer: nn.Linear) -> None:
    """Give `layer` orthonormal rows (or columns, where D > C) and no bias."""
    nn.init.orthogonal_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def pca_projection(features: Tensor, dimension: int) -> tuple[Tensor, Tensor]:
    """Projection onto the D directions of largest variance, centred.

    Args:
        features: Unit vectors before the projection, `[N, C]`.
        dimension: D, at most C.

    Returns:
        weight `[D, C]` with orthonormal rows, bias `[D]`, in the precision of `features`.

    Raises:
        ModelError: There are fewer than D images or channels.
    """
    if dimension > min(features.shape):
        raise ModelError(
            f"PCA to {dimension} dimensions needs as many images and channels; "
            f"there are {features.shape[0]} and {features.shape[1]}."
        )
    wide = features.double()
    mean = wide.mean(dim=0)
    centred = wide - mean
    _, directions = torch.linalg.eigh(centred.T @ centred)  # eigenvalues ascend
    weight = directions.flip(1)[:, :dimension].T.contiguous()  # [D, C]
    return weight.to(features.dtype), (-weight @ mean).to(features.dtype)


def ridge_projection(
    features: Tensor, targets: Tensor, strength: float = 1e-3
) -> tuple[Tensor, Tensor]:
    """Linear layer that maps features onto target embeddings with least squared error.

    Args:
        features: The student's unit vectors before its projection, `[N, C]`.
        targets: The teacher's embeddings of the same images, `[N, D]`.
        strength: Weight decay of the regression, as a share of the features' mean variance.

    Returns:
        weight `[D, C]`, bias `[D]`, in the precision of `features`.
    """
    wide, wanted = features.double(), targets.double()
    mean, wanted_mean = wide.mean(dim=0), wanted.mean(dim=0)
    centred = wide - mean
    covariance = centred.T @ centred  # [C, C]
    decay = strength * covariance.diagonal().mean().clamp(min=1e-12)
    identity = torch.eye(covariance.shape[0], dtype=torch.float64, device=wide.device)
    solved = torch.linalg.solve(covariance + decay * identity, centred.T @ (wanted - wanted_mean))
    weight = solved.T.contiguous()  # [D, C]
    return weight.to(features.dtype), (wanted_mean - weight @ mean).to(features.dtype)


def whiten(vectors: Tensor, mean: Tensor, projection: Tensor) -> Tensor:
    """Whiten vectors `[N, D]` in float64: P(x − m), then L2; `[N, rows of P]`."""
    whitened = (vectors.double() - mean.double()) @ projection.double().T
    norms: Tensor = whitened.norm(dim=1, keepdim=True)
    return whitened / (norms + _EPSILON)
