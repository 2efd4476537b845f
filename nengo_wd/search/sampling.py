"""Suggestions that follow from a seed, also when a search is stopped and goes on."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial

from nengo_wd.search import trials


class SeededSampler(BaseSampler):
    """Optuna's ``TPESampler``, seeded anew for each trial, by how many trials came before it.

    What it suggests depends on the trials so far, and on nothing that a process keeps to itself.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def _tpe(self, study: optuna.Study, trial: FrozenTrial, what: str = "") -> TPESampler:
        place = [self.seed, trials.rank(study, trial.number), zlib.crc32(what.encode())]
        return TPESampler(seed=int(np.random.SeedSequence(place).generate_state(1)[0]))

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict:
        """Return the distributions of the strengths that are suggested together."""
        return self._tpe(study, trial).infer_relative_search_space(study, trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict) -> dict:
        """Suggest several strengths together."""
        return self._tpe(study, trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        """Suggest one strength."""
        one = self._tpe(study, trial, param_name)
        return one.sample_independent(study, trial, param_name, param_distribution)
