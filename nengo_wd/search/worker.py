"""What runs the trials of a search, one after another, until the total is reached."""

from __future__ import annotations

import contextlib
import time
import traceback
import warnings
from typing import Any, Callable

import numpy as np
import optuna
from nengo.exceptions import SimulationError

from nengo_wd.search import trials
from nengo_wd.search.asked import Asked

PAUSE = 1.0  # seconds between looks at what other machines do
MOST_TEXT = 4000  # characters of a traceback


class DeadProcessError(Exception):
    """The process of a trial died."""


class FailedTrialError(Exception):
    """A trial failed in another process: what is told of it, and its traceback."""


class Worker:
    """Runs trials of a study, here or in a process.

    Parameters
    ----------
    study : optuna.Study
        The study.
    asked : Asked
        What was asked for.
    train : callable
        What takes strengths and a trial, and returns the error. Where it has a method ``prepare``,
        that is called before there is a trial.
    asking : threading.Lock
        What workers of a process hold while one of them takes a trial, so that none is too many.
    show : callable
        What is called after each trial.
    """

    def __init__(
        self,
        study: optuna.Study,
        asked: Asked,
        train: Callable,
        asking: Any,
        show: Callable = lambda: None,
    ) -> None:
        self.study, self.asked, self.train = study, asked, train
        self.asking, self.show = asking, show
        self.stopped = False
        self.error: BaseException | None = None
        self._number: int | None = None  # of the trial that runs
        self._lost = False

    def work_until_stopped(self) -> None:
        """Run trials in a thread; keep an error, but not one that comes of being stopped."""
        try:
            self.work()
        except BaseException as error:
            self.error = None if self.stopped else error

    def work(self) -> None:
        """Run trials until the total is reached, by whomever."""
        while not self.stopped and trials.n_finished(self.study) < self.asked.n_trials:
            if self._one_is_left():
                getattr(self.train, "prepare", lambda: None)()
                self._run_one()
                self.show()
            elif self._knows_of_silence():
                time.sleep(PAUSE)
                optuna.storages.fail_stale_trials(self.study)
                self.show()
            else:
                return

    def _one_is_left(self) -> bool:
        return trials.n_begun(self.study) < self.asked.n_trials

    def _knows_of_silence(self) -> bool:
        """Tell whether trials of a machine that died would be tried again: waiting has an end."""
        interval = getattr(self.study._storage, "get_heartbeat_interval", lambda: None)
        return interval() is not None

    def _run_one(self) -> None:
        with contextlib.ExitStack() as turn:
            turn.enter_context(self.asking)
            if not self._one_is_left():
                return
            self._number, self._lost = None, False
            try:
                self.study.optimize(
                    lambda trial: self._objective(trial, turn), n_trials=1, catch=(Exception,)
                )
            except BaseException:  # Ctrl-C, or train ends Python
                self._try_again()
                raise
            if self._lost:
                self._try_again(None if self.stopped else trials.MOST_TRIES)

    def _try_again(self, most: int | None = None) -> None:
        if self._number is not None:
            trials.try_again(self.study, self._number, most)

    def _objective(self, trial: optuna.Trial, turn: contextlib.ExitStack) -> float:
        self._number = trial.number
        turn.close()  # the trial is there, and counts: others may take theirs
        if trials.rank(self.study, trial.number) >= self.asked.n_trials:
            # other machines took the last one at the same time
            trial.set_user_attr(trials.WITHDRAWN, True)
            raise optuna.exceptions.OptunaError("there are as many trials as were asked for")
        strengths = {
            name: trial.suggest_float(name, *ends, log=True)
            for name, ends in self.asked.ranges.items()
        }
        try:
            return finite(self.train(strengths, trial))
        except optuna.TrialPruned:
            raise
        except DeadProcessError:
            self._lost = True
            raise
        except Exception as error:
            self._report(trial, strengths, error)
            raise

    def _report(self, trial: optuna.Trial, strengths: dict, error: Exception) -> None:
        told = f"{type(error).__name__}: {error}"
        text = traceback.format_exc()
        if isinstance(error, FailedTrialError):
            told, text = error.args
        trial.set_user_attr("error", text[-MOST_TEXT:])
        warnings.warn(
            f"trial {trial.number} of the search {self.asked.name!r} failed with {strengths}: "
            f"{told}",
            stacklevel=2,
        )


def finite(error: Any) -> float:
    """Return what ``train`` returned as a finite number, or raise."""
    try:
        number = float(error)
    except (TypeError, ValueError):
        raise SimulationError(f"train returned {error!r}, which is no number") from None
    if not np.isfinite(number):
        raise SimulationError(f"train returned {number}, which is no finite number")
    return number
