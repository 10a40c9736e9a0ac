"""How long a training takes, how often it stops to look and to save, and what its epochs show."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ram_cli.engine.objective import Objective
from ram_cli.views import ViewKey


@dataclass(frozen=True, slots=True)
class FitPlan:
    """How long and how often.

    Attributes:
        epochs: Passes over the epoch's images.
        accumulate: Batches per optimiser step; the last step of an epoch takes what is left.
        val_every: Epochs between validations; the last epoch is always validated.
        save_every: Epochs between checkpoints; the last epoch always writes one.
        checkpoint_minutes: Minutes after which a checkpoint is written inside an epoch.
        log_every: Optimiser steps per record in the log.
        workers: Processes that load images.
    """

    epochs: int
    accumulate: int
    val_every: int = 1
    save_every: int = 1
    checkpoint_minutes: float = 5.0
    log_every: int = 10
    workers: int = 0


def total_steps(objective: Objective, epochs: int, accumulate: int) -> int:
    """Optimiser steps of a whole training; an epoch's leftover batches make one more step."""
    return sum(math.ceil(objective.batch_count(e) / accumulate) for e in range(epochs))


class EpochBatches:
    """Batch sampler whose batches are set anew for every epoch; workers persist across epochs."""

    def __init__(self) -> None:
        self.batches: list[list[ViewKey]] = []

    def __iter__(self) -> Iterator[list[ViewKey]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)
