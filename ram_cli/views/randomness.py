"""Random generators that depend on nothing but what they are for."""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """Uses of randomness that must not repeat each other."""

    DRAW = 0
    INSTANCE_PLAN = 1
    CLASS_PLAN = 2
    PAIR_PLAN = 3
    SHAPE_ORDER = 4
    NEGATIVES = 5
    POOL = 6


def generator(stream: Stream, seed: int, epoch: int, position: int = 0) -> np.random.Generator:
    """A generator that is a pure function of its arguments, none of them negative."""
    sequence = np.random.SeedSequence((seed, epoch, position), spawn_key=(int(stream),))
    return np.random.Generator(np.random.Philox(sequence))
