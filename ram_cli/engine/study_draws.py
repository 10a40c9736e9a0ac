"""What a study searches, and how the values of a trial are drawn."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial


@dataclass(frozen=True, slots=True)
class Span:
    """Values of one setting to search: from `low` to `high`, evenly in their logarithm or not."""

    low: float
    high: float
    log: bool = False


class Draws(BaseSampler):
    """Tree-structured Parzen estimators whose draws depend on seed, trial and setting alone.

    One generator per process, all of them started from one seed, would make the processes that
    share a study try the same values; and a process that goes on after a kill would start its
    generator anew. With a generator for each (seed, trial number, name) neither can happen.
    """

    def __init__(self, seed: int, given: Mapping[str, float]) -> None:
        self._seed, self._given = seed, given

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Nothing: every setting is drawn by itself."""
        return {}

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """Nothing: every setting is drawn by itself."""
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw one setting of one trial; the first trial has the given ones."""
        if trial.number == 0:
            return self._given[param_name]
        entropy = [self._seed, trial.number, zlib.crc32(param_name.encode())]
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        sampler = TPESampler(seed=seed, multivariate=False)
        return sampler.sample_independent(study, trial, param_name, param_distribution)
