"""Workers, which run the trials of a search until the total is reached, here or in processes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
import warnings
from concurrent import futures
from typing import Any, Callable

import numpy as np
import optuna
from nengo.exceptions import SimulationError
from optuna.exceptions import OptunaError

from nengo_wd.search import trials
from nengo_wd.search.request import PROCESS, Request
from nengo_wd.search.storages import opened

SPAWN: Any = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
EXIT_TIMEOUT = 5  # seconds until a process has ended
MACHINES_INTERVAL = 1.0  # seconds between looks at the trials of other machines
THREADS_INTERVAL = 0.2  # seconds between looks at the trials of other threads
MAX_TEXT = 4000  # characters of a traceback


def run(request: Request, progress_bar: bool) -> optuna.Study:
    """Run a search to its end, and return its study."""
    with opened(request) as study, trials.progress_shown(
        study, request.n_trials, progress_bar
    ) as show:
        if request.n_processes:
            _run_in_processes(study, request, show)
        else:
            Worker(study, request, threading.Lock(), show).work()
    trials.warn_if_all_failed(study)
    return study


def _run_in_processes(study: optuna.Study, request: Request, show: Callable) -> None:
    """Run workers in threads, each of which waits for its own process."""
    lock = threading.Lock()
    workers = [ProcessWorker(study, request, lock) for _ in range(request.n_processes)]
    with futures.ThreadPoolExecutor(len(workers)) as pool:
        threads = running = {pool.submit(worker.work) for worker in workers}
        try:
            while running and trials.n_finished(study) < request.n_trials:
                show()
                done, running = futures.wait(threads, THREADS_INTERVAL, futures.FIRST_EXCEPTION)
                for thread in done:
                    thread.result()  # raises its error
        finally:
            while running:  # they may start other processes meanwhile
                for worker in workers:
                    worker.stop()
                running = futures.wait(threads, THREADS_INTERVAL).not_done
            show()


class DeadProcessError(BaseException):
    """The process of a trial died; not an Exception, so that Optuna leaves the trial running."""


@dataclasses.dataclass(eq=False)
class Worker:
    """Runs trials of a study, one after another, in this process."""

    study: optuna.Study
    request: Request
    lock: Any  # workers that share it take trials one at a time, so that none takes too many
    show: Callable = lambda: None  # called after each trial
    stopped = False
    _number: int | None = None  # of the trial that runs

    def prepare(self) -> None:
        """Prepare to train, before there is a trial."""

    def train(self, strengths: dict[str, float], trial: optuna.Trial) -> tuple:
        """Train with strengths, and return an `outcome`."""
        return outcome(self.request.train, strengths, trial)

    def work(self) -> None:
        """Run trials until the total is reached, by this worker and others."""
        while not self.stopped and trials.n_finished(self.study) < self.request.n_trials:
            if trials.n_begun(self.study) < self.request.n_trials:
                self.prepare()
                self._run_one()
            elif self._has_heartbeats():
                time.sleep(MACHINES_INTERVAL)
                optuna.storages.fail_stale_trials(self.study)
            else:
                return
            self.show()

    def _has_heartbeats(self) -> bool:
        """Tell whether the storage notices dead machines, so that waiting ends."""
        interval = getattr(self.study._storage, "get_heartbeat_interval", lambda: None)
        return interval() is not None

    def _run_one(self) -> None:
        """Run a trial, if one is left; put it back if it is interrupted."""
        with contextlib.ExitStack() as turn:
            turn.enter_context(self.lock)
            if trials.n_begun(self.study) >= self.request.n_trials:
                return
            self._number = None
            try:
                objective = functools.partial(self._objective, turn=turn)
                self.study.optimize(objective, n_trials=1, catch=(Exception,))
            except BaseException as error:  # Ctrl-C, train ends Python, or its process died
                has_died = isinstance(error, DeadProcessError)
                if self._number is not None:
                    most = trials.MAX_RETRIES if has_died and not self.stopped else None
                    trials.try_again(self.study, self._number, most)
                if not has_died:
                    raise

    def _objective(self, trial: optuna.Trial, turn: contextlib.ExitStack) -> float:
        """Return the error of a trial; for another outcome, raise what Optuna expects."""
        self._number = trial.number
        turn.close()  # the trial exists and counts, so others may take theirs
        if trials.rank(self.study, trial.number) >= self.request.n_trials:
            # another machine took the last trial at the same time
            trial.set_user_attr(trials.WITHDRAWN, True)
            raise OptunaError("the total number of trials is reached")
        ranges = self.request.ranges
        strengths = {name: trial.suggest_float(name, *ranges[name], log=True) for name in ranges}
        kind, found, *text = self.train(strengths, trial)
        if kind == "pruned":
            raise optuna.TrialPruned(found)
        if kind == "failed":
            trial.set_user_attr("error", text[0][-MAX_TEXT:])
            which = f"trial {trial.number} of the search {self.request.name!r}"
            warnings.warn(f"{which} failed with {strengths}: {found}", stacklevel=2)
            raise OptunaError(found)
        return found


class ProcessWorker(Worker):
    """Runs trials in a process, which it replaces after some trials, and if it dies."""

    def __init__(self, study: optuna.Study, request: Request, lock: Any) -> None:
        super().__init__(study, request, lock)
        self._job = pickle.dumps((request.train, request.name, study._storage, request.pruner))
        self._process: Any = None
        self._connection: Any = None
        self._left = 0  # trials for the process

    def work(self) -> None:
        """Run trials until the total is reached, and end the process."""
        try:
            super().work()
        finally:
            self._end()

    def prepare(self) -> None:
        """Start a process, unless the one before can run another trial."""
        if self._left and self._process.is_alive():
            return
        self._end()
        self._connection, theirs = SPAWN.Pipe()
        name = f"{PROCESS} {self.request.name}"
        self._process = SPAWN.Process(target=_serve, args=(theirs, self._job), name=name)
        self._process.daemon = True  # it ends with this process
        self._process.start()
        theirs.close()
        try:
            self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            raise SimulationError(
                f"a process of the search {self.request.name!r} ended before it could begin (exit "
                f"code {self._process.exitcode}); what it printed says why. In a script, call "
                'strengths below: if __name__ == "__main__":'
            ) from None
        self._left = self.request.trials_per_process

    def train(self, strengths: dict[str, float], trial: optuna.Trial) -> tuple:
        """Have the process train with strengths, and return its `outcome`."""
        self._left -= 1
        try:
            self._connection.send((trial._trial_id, strengths))
            return self._connection.recv()
        except (EOFError, OSError):
            self._left = 0
            raise DeadProcessError("the process of the trial died") from None

    def stop(self) -> None:
        """Take no more trials, and end the process, even if it is training."""
        self.stopped = True
        self._kill()

    def _end(self) -> None:
        """End the process, which is not training, and wait for its end."""
        if self._process is not None:
            self._connection.close()  # so it ends by itself
            self._process.join(EXIT_TIMEOUT)
            self._kill()

    def _kill(self) -> None:
        """Kill the process, if it runs; the worker's thread and that of `run` call this."""
        process = self._process  # the worker's thread may replace it
        if process is not None and process.is_alive():
            process.kill()
            process.join()


def _serve(connection: Any, job: bytes) -> None:
    """Train for each trial that is sent, until the connection ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that sends trials
    threading.Thread(target=_end_with_parent, daemon=True).start()
    train, name, storage, pruner = pickle.loads(job)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.RandomSampler()  # never used: the strengths are sent
    study = optuna.load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner)
    connection.send("ready")
    while True:
        try:
            trial_id, strengths = connection.recv()
        except EOFError:
            return
        connection.send(outcome(train, strengths, optuna.Trial(study, trial_id)))


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()  # type: ignore[union-attr]
    os._exit(1)


def outcome(train: Callable, strengths: dict[str, float], trial: optuna.Trial) -> tuple:
    """Train, and return ("value", error), ("pruned", why) or ("failed", what, traceback)."""
    try:
        return "value", _finite(train(strengths, trial))
    except optuna.TrialPruned as pruned:
        return "pruned", str(pruned)
    except Exception as error:
        return "failed", f"{type(error).__name__}: {error}", traceback.format_exc()


def _finite(error: Any) -> float:
    """Return what ``train`` returned as a finite number, or raise."""
    try:
        number = float(error)
    except (TypeError, ValueError):
        raise SimulationError(f"train returned {error!r}, which is not a number") from None
    if not np.isfinite(number):
        raise SimulationError(f"train returned {number}, which is not a finite number")
    return number
