"""The trials of a study: those that count, and those that are tried again."""

from __future__ import annotations

import copy

import optuna
from optuna.trial import FrozenTrial, TrialState

WITHDRAWN = "withdrawn"  # the mark of a trial that was one too many
MOST_TRIES = 3  # of a trial that a process or machine died of, beside the first


def counted(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that count: all but those that were tried again, or withdrawn."""
    return _counted(study.get_trials(deepcopy=False))


def _counted(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    again = _tried_again(trials)
    return [t for t in trials if t.number not in again and WITHDRAWN not in t.user_attrs]


def _tried_again(trials: list[FrozenTrial]) -> set[int]:
    """Return the numbers of the trials that stand again behind others."""
    return {number for t in trials for number in t.system_attrs.get("retry_history", ())}


def n_finished(study: optuna.Study) -> int:
    """Return the number of trials that are finished, and count."""
    return sum(trial.state.is_finished() for trial in counted(study))


def n_begun(study: optuna.Study) -> int:
    """Return the number of trials that are finished or running, and count."""
    return sum(trial.state != TrialState.WAITING for trial in counted(study))


def rank(study: optuna.Study, number: int) -> int:
    """Return how many of the trials that count came before that of a number.

    A trial that is tried again behind it came before it all the same.
    """
    so_far = [trial for trial in study.get_trials(deepcopy=False) if trial.number <= number]
    return sum(trial.number < number for trial in _counted(so_far))


def try_again(study: optuna.Study, number: int, most: int | None = None) -> None:
    """Have a trial that did not come to its end tried again, with the same strengths.

    It is only then marked as failed: whoever dies in between loses none.
    """
    trials = study.get_trials(deepcopy=False)
    trial = trials[number]
    if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
        return
    if number not in _tried_again(trials):
        again(most)(study, copy.deepcopy(trial))  # it changes the trial that it is given
    if not trial.state.is_finished():
        study.tell(number, state=TrialState.FAIL)


def again(most: int | None = MOST_TRIES) -> optuna.storages.RetryHeartbeatStaleTrialCallback:
    """Return what has a trial tried again, up to so many times."""
    return optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=most)


def try_running_again(study: optuna.Study) -> None:
    """Have all trials tried again that are said to run, where none can be running."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        try_again(study, trial.number)
