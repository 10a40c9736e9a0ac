"""Learning rate schedules, stepped once after every optimiser step.

Every schedule multiplies: a group with "lr_scale" 10 has ten times the learning rate of a group
with 1 at every step. The published OneCycle and cyclic schedules overwrite the pooling group's
rate with the common one instead.

* onecycle (Smith & Topin, 2018): from lr / 10 up to lr over the first 30 % of the steps, then down
  to lr / 100,000 at the last one, along cosines; momentum runs the other way, from 0.95 to 0.85 and
  back.
* cyclic (Smith, 2017): one triangle from lr / 10 to its peak and back per epoch, half as high in
  each following epoch.
* exponential: lr · exp(−decay · epoch), constant within an epoch.
* none: constant.
"""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, LambdaLR, LRScheduler, OneCycleLR

from ram_cli.errors import ConfigError

SCHEDULES = ("onecycle", "cyclic", "exponential", "none")
"""Names that `build_schedule` accepts."""

_START_DIVISOR = 10.0  # onecycle and cyclic start from lr / 10


def build_schedule(
    optimiser: Optimizer,
    name: str,
    lr: float,
    total_steps: int,
    steps_per_epoch: int,
    decay: float = 0.01,
) -> LRScheduler:
    """Build a schedule; call its `step` after every step of the optimiser.

    To resume, build optimiser and schedule anew, then load the `state_dict` of both.

    Args:
        optimiser: Its groups may hold "lr_scale", their multiple of `lr`; 1 when missing.
        name: "onecycle", "cyclic", "exponential" or "none".
        lr: Peak learning rate of a group of scale 1.
        total_steps: Optimiser steps of the whole training, exactly as many as will be taken.
        steps_per_epoch: Optimiser steps per epoch.
        decay: Of exponential, per epoch; 0.01 in AML, 0.001 in RAML's published code.

    Raises:
        ConfigError: The name is unknown, or a value is out of range; all faults together.
    """
    _check(name, lr, total_steps, steps_per_epoch)
    scales = [float(group.get("lr_scale", 1.0)) for group in optimiser.param_groups]
    peaks = [lr * scale for scale in scales]
    if name == "onecycle":
        return OneCycleLR(
            optimiser,
            max_lr=peaks,
            total_steps=total_steps,
            div_factor=_START_DIVISOR,
            cycle_momentum=_has_momentum(optimiser),
        )
    if name == "cyclic":
        rise = max(steps_per_epoch // 2, 1)
        return CyclicLR(
            optimiser,
            base_lr=[peak / _START_DIVISOR for peak in peaks],
            max_lr=peaks,
            step_size_up=rise,
            step_size_down=max(steps_per_epoch - rise, 1),
            mode="triangular2",
            cycle_momentum=False,
        )
    for group, peak in zip(optimiser.param_groups, peaks, strict=True):
        group["lr"] = peak
    rate = decay if name == "exponential" else 0.0
    return LambdaLR(optimiser, lambda step: math.exp(-rate * (step // steps_per_epoch)))


def _has_momentum(optimiser: Optimizer) -> bool:
    """Whether there is a momentum to cycle: plain SGD is to stay plain."""
    return all("betas" in group or group["momentum"] > 0 for group in optimiser.param_groups)


def _check(name: str, lr: float, total_steps: int, steps_per_epoch: int) -> None:
    problems = []
    if name not in SCHEDULES:
        problems.append(f"schedule {name!r} is unknown: choose {', '.join(SCHEDULES)}")
    if not lr > 0.0:
        problems.append(f"the learning rate is {lr:g}: give a number above 0")
    if total_steps < 1 or steps_per_epoch < 1:
        problems.append(
            f"a training of {total_steps} steps, {steps_per_epoch} per epoch, takes no step: give "
            "more images or epochs, or accumulate fewer batches"
        )
    if problems:
        raise ConfigError(problems)
