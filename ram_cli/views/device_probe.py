"""Whether an accelerator can make coupled views, found by making some."""

from functools import cache
from importlib.util import find_spec

import numpy as np
import torch

from ram_cli.views.coupled import finished_views
from ram_cli.views.deferred import collate_deferred, deferred_sample
from ram_cli.views.draw import draw_views
from ram_cli.views.spec import InputSpec, ViewKey

TOLERANCE = 1.0
"""Largest mean difference from the views of a CPU, in grey levels; what is measured is 0.25, as
those are rounded at the end."""
_SIDES = (17, 48)
_PLAIN = (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)  # inputs are grey levels


@cache
def obstacle_to_device_views(device: torch.device) -> str | None:
    """Why coupled views are not to be made on a device; None if they are.

    Args:
        device: Where the networks are.
    """
    if device.type != "cuda":
        return f"not for {device.type}"
    if find_spec("triton") is None:
        return "Triton is not installed"
    try:
        difference = largest_mean_difference(device)
    except Exception as error:  # noqa: BLE001 - no compiler, a GPU too old, whatever Triton raises
        lines = str(error).strip().splitlines()
        return lines[0] if lines else type(error).__name__
    if not difference <= TOLERANCE:
        return f"views differ by {difference:.2g} grey levels from those of a CPU"
    return None


def largest_mean_difference(device: torch.device) -> float:
    """Mean difference of views of noise from those of a CPU, in grey levels; of the worse side."""
    random = np.random.default_rng(0)
    anchor, partner = (
        random.integers(0, 256, shape, dtype=np.uint8) for shape in ((61, 50, 3), (40, 90, 3))
    )
    draws = draw_views(ViewKey(0, 0, 0, 1), 0, 8, *anchor.shape[:2], mixup_alpha=0.2)
    sample = deferred_sample(0, draws, anchor, partner, _SIDES)
    specs = [InputSpec(side, *_PLAIN) for side in _SIDES]
    made = collate_deferred([sample]).inputs(specs[0], specs[1], device)
    expected = finished_views(draws, anchor, partner, _SIDES)
    differences = [
        (ours.cpu() - torch.from_numpy(theirs)).abs().mean()
        for ours, theirs in zip(made, expected, strict=True)
    ]
    return float(torch.stack(differences).max())
