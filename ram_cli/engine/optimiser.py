"""Optimisers whose parameter groups keep their own share of the learning rate."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.optim import Optimizer

from ram_cli.errors import ConfigError, ModelError

OPTIMISERS = ("sgd", "adam", "adamw")
"""Names that `build_optimiser` accepts."""


def build_optimiser(
    parameter_groups: Iterable[Mapping[str, Any]],
    name: str,
    lr: float,
    weight_decay: float,
    momentum: float,
) -> Optimizer:
    """Build an optimiser over parameter groups.

    Args:
        parameter_groups: Each holds "params" and may hold "weight_decay" and "lr_scale", the
            group's multiple of `lr` (GeM's exponent: 10; one exponent per channel: 100). A group
            that holds "lr" alone gets the scale "lr" / `lr`. Every group of the result has both.
        name: "sgd", "adam" or "adamw".
        lr: Learning rate of a group of scale 1.
        weight_decay: Of the groups that state none; decoupled from the gradient in adamw only.
        momentum: Of sgd; the others keep (0.9, 0.999).

    Raises:
        ConfigError: The name is unknown, or a value is out of range; all faults together.
        ModelError: No group holds a parameter.
    """
    _check(name, lr, weight_decay, momentum)
    groups = [_scaled(group, lr, weight_decay) for group in parameter_groups]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise ModelError("the network has no parameter to train: unfreeze a part of it")
    # One kernel per group instead of a dozen: on a CPU a tenth of a student's whole step.
    fused = all(p.device.type in ("cpu", "cuda") for group in groups for p in group["params"])
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, fused=fused)
    if name == "adam":
        return torch.optim.Adam(groups, lr=lr, fused=fused)
    return torch.optim.AdamW(groups, lr=lr, fused=fused)


def _scaled(group: Mapping[str, Any], lr: float, weight_decay: float) -> dict[str, Any]:
    scale = float(group.get("lr_scale", group.get("lr", lr) / lr))
    own = {"params": list(group["params"]), "lr_scale": scale, "lr": lr * scale}
    return {"weight_decay": weight_decay, **group, **own}


def _check(name: str, lr: float, weight_decay: float, momentum: float) -> None:
    problems = []
    if name not in OPTIMISERS:
        problems.append(f"optimiser {name!r} is unknown: choose {', '.join(OPTIMISERS)}")
    if not lr > 0.0:
        problems.append(f"the learning rate is {lr:g}: give a number above 0")
    if not weight_decay >= 0.0:
        problems.append(f"the weight decay is {weight_decay:g}: give 0 or more")
    if not 0.0 <= momentum < 1.0:
        problems.append(f"the momentum is {momentum:g}: give a number from 0 to below 1")
    if problems:
        raise ConfigError(problems)
