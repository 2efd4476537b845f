"""The trials of a study: which of them count, which are repeated, and which is the best."""

from __future__ import annotations

import contextlib
import copy
import warnings
import zlib
from collections import Counter
from typing import Any, Callable, Iterator

import numpy as np
import optuna
import progressbar
from nengo.exceptions import ValidationError
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

WITHDRAWN = "withdrawn"  # the mark of a trial beyond the total
MAX_RETRIES = 3  # of a trial whose process or machine died, after the first try
STATES = {"FAIL": "failed", "PRUNED": "was pruned", "RUNNING": "is running"}


def counted_trials(study: optuna.Study, first: int | None = None) -> list[FrozenTrial]:
    """Return the trials that count, of the ``first`` or all: neither repeated nor withdrawn."""
    trials = study.get_trials(deepcopy=False)[:first]
    again = _repeated(trials)
    return [t for t in trials if t.number not in again and WITHDRAWN not in t.user_attrs]


def _repeated(trials: list[FrozenTrial]) -> set[int]:
    return {number for t in trials for number in t.system_attrs.get("retry_history", ())}


def n_finished(study: optuna.Study) -> int:
    """Return the number of trials that count and are finished."""
    return sum(trial.state.is_finished() for trial in counted_trials(study))


def n_begun(study: optuna.Study) -> int:
    """Return the number of trials that count and are finished or running."""
    return sum(trial.state != TrialState.WAITING for trial in counted_trials(study))


def rank(study: optuna.Study, number: int) -> int:
    """Return how many of the trials before the one with this number counted when it began."""
    return sum(trial.number < number for trial in counted_trials(study, number + 1))


def try_again(study: optuna.Study, number: int, most: int | None = None) -> None:
    """Put an unfinished or failed trial back, with its strengths, up to ``most`` times."""
    trials = study.get_trials(deepcopy=False)
    trial = trials[number]
    if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
        return
    if number not in _repeated(trials):
        put_back = RetryHeartbeatStaleTrialCallback(most)
        put_back(study, copy.deepcopy(trial))  # it changes the trial
    if not trial.state.is_finished():  # last, or it is lost if this process dies in between
        study.tell(number, state=TrialState.FAIL)


@contextlib.contextmanager
def progress_shown(study: optuna.Study, n_trials: int, progress_bar: bool) -> Iterator[Callable]:
    """Give a function that shows the number of finished trials in a progress bar."""
    if not progress_bar:
        yield lambda: None
        return
    bar = progressbar.ProgressBar(max_value=n_trials, prefix=f"{study.study_name}: ")

    def show(force: bool = False) -> None:
        bar.update(min(n_finished(study), n_trials), force=force)

    show(force=True)
    try:
        yield show
    finally:
        show(force=True)
        bar.finish(dirty=True)


def warn_if_all_failed(study: optuna.Study) -> None:
    """Warn the caller of `nengo_wd.search.strengths` if all trials failed."""
    found = counted_trials(study)
    if found and all(trial.state == TrialState.FAIL for trial in found):
        fault = f"all {len(found)} trials of the search {study.study_name!r} failed, and they count"
        remedy = "correct what the warnings say, and give the search another name"
        warnings.warn(f"{fault}: {remedy}", stacklevel=4)


class Study(optuna.Study):
    """Optuna's study; if it has no best trial, its error says why."""

    @property
    def best_trial(self) -> FrozenTrial:
        """The trial with the least error, with ``best_params`` and ``best_value``."""
        found = counted_trials(self)
        if all(trial.state != TrialState.COMPLETE for trial in found):
            raise ValidationError(_why_none_is_best(self.study_name, found), attr="best_trial")
        return super().best_trial


def _why_none_is_best(name: str, found: list[FrozenTrial]) -> str:
    """Say what happened to the trials of a search, and where the first error is."""
    counts = Counter(STATES.get(trial.state.name, "waits") for trial in found)
    if set(counts) == {"failed"}:
        message = f"all {len(found)} trials of the search {name!r} failed"
    else:
        told = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        message = f"none of the {len(found)} trials of the search {name!r} is complete: {told}"
    errors = [trial.number for trial in found if "error" in trial.user_attrs]
    where = f"; study.trials[{errors[0]}].user_attrs['error'] has a traceback" if errors else ""
    return f"{message}, so there is no best trial{where}"


class SeededSampler(BaseSampler):
    """Optuna's ``TPESampler``, seeded anew for each trial with the number of trials before it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def _tpe(self, study: optuna.Study, trial: FrozenTrial, what: str = "") -> TPESampler:
        place = [self.seed, rank(study, trial.number), zlib.crc32(what.encode())]
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
