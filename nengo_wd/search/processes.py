"""Processes that train: each serves trials one after another, and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from typing import Any

import optuna
from nengo.exceptions import SimulationError

from nengo_wd.search.asked import PROCESS, Asked
from nengo_wd.search.worker import DeadProcessError, FailedTrialError, finite

SPAWN: Any = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
PATIENCE = 5  # seconds until a process has ended


class TrialProcess:
    """Trains in a process of its own, which is replaced after so many trials, and if it dies."""

    def __init__(self, asked: Asked, storage: Any) -> None:
        self.asked = asked
        self.job = pickle.dumps((asked.train, asked.name, storage, asked.pruner))
        self._process: Any = None
        self._connection: Any = None
        self._left, self._killed = 0, False
        self._changing = threading.Lock()  # as it is killed from another thread

    def prepare(self) -> None:
        """Start a process, unless there is one that can serve another trial."""
        if self._left and self._process.is_alive():
            return
        self.end()
        with self._changing:
            if self._killed:
                return
            self._connection, theirs = SPAWN.Pipe()
            self._process = SPAWN.Process(
                target=_serve, args=(theirs, self.job), name=f"{PROCESS} {self.asked.name}"
            )
            self._process.daemon = True  # which ends with this one
            self._process.start()
            theirs.close()
        try:
            self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            raise SimulationError(
                f"a process of the search {self.asked.name!r} ended before it could begin (exit "
                f"code {self._process.exitcode}); what it printed says why. In a script, strengths "
                'has to be called below: if __name__ == "__main__":'
            ) from None
        self._left = self.asked.trials_per_process

    def __call__(self, strengths: dict[str, float], trial: optuna.Trial) -> float:
        """Have the process train with strengths, and return the error."""
        self._left -= 1
        try:
            self._connection.send((trial._trial_id, strengths))
            kind, *found = self._connection.recv()
        except (EOFError, OSError):
            self._left = 0
            raise DeadProcessError("the process of the trial died") from None
        if kind == "pruned":
            raise optuna.TrialPruned(*found)
        if kind == "failed":
            raise FailedTrialError(*found)
        return found[0]

    def end(self) -> None:
        """End the process, which is not busy, and wait until it has."""
        if self._process is not None:
            self._connection.close()  # on which it ends by itself
            self._process.join(PATIENCE)
            self.kill(for_good=False)

    def kill(self, for_good: bool = True) -> None:
        """End the process, busy or not, and wait until it has."""
        with self._changing:
            self._killed = self._killed or for_good
            if self._process is not None and self._process.is_alive():
                self._process.kill()
                self._process.join()


def _serve(connection: Any, job: bytes) -> None:
    """Train for each trial that is asked for, until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    threading.Thread(target=_end_with_parent, daemon=True).start()
    train, name, storage, pruner = pickle.loads(job)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.RandomSampler()  # not asked: strengths are there
    study = optuna.load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner)
    connection.send("ready")
    while True:
        try:
            trial_id, strengths = connection.recv()
        except EOFError:
            return
        connection.send(_answer(train, strengths, optuna.Trial(study, trial_id)))


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()  # type: ignore[union-attr]
    os._exit(1)


def _answer(train: Any, strengths: dict[str, float], trial: optuna.Trial) -> tuple:
    """Return the error of a trial, or what became of it instead."""
    try:
        return "value", finite(train(strengths, trial))
    except optuna.TrialPruned as pruned:
        return "pruned", str(pruned)
    except Exception as error:
        return "failed", f"{type(error).__name__}: {error}", traceback.format_exc()
