"""A search under way: its trials in this process or in others, until their total is reached."""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from typing import Any, Callable, Iterator

import optuna
import progressbar

from nengo_wd.search import trials
from nengo_wd.search.asked import Asked
from nengo_wd.search.opening import opened
from nengo_wd.search.processes import TrialProcess
from nengo_wd.search.worker import Worker

PAUSE = 0.2  # seconds between looks at what the processes have done


def run(asked: Asked, progress_bar: bool) -> optuna.Study:
    """Run a search to its end, and return its study."""
    with opened(asked) as (study, storage):
        with _progress(study, asked, progress_bar) as show:
            if asked.n_processes:
                _run_in_processes(study, asked, storage, show)
            else:
                Worker(study, asked, asked.train, threading.Lock(), show).work()
    _warn_if_all_failed(study, asked)
    return study


@contextlib.contextmanager
def _progress(study: optuna.Study, asked: Asked, progress_bar: bool) -> Iterator[Callable]:
    """Give a function that has the progress bar show what is finished."""
    if not progress_bar:
        yield lambda: None
        return

    bar = progressbar.ProgressBar(max_value=asked.n_trials, prefix=f"{asked.name}: ")

    def show(force: bool = False) -> None:
        bar.update(min(trials.n_finished(study), asked.n_trials), force=force)

    show(force=True)
    try:
        yield show
    finally:
        show(force=True)
        bar.finish(dirty=True)


def _run_in_processes(study: optuna.Study, asked: Asked, storage: Any, show: Callable) -> None:
    """Have each of several threads wait for a process of its own, which trains."""
    asking = threading.Lock()
    processes = [TrialProcess(asked, storage) for _ in range(asked.n_processes)]
    workers = [Worker(study, asked, process, asking) for process in processes]
    threads = [threading.Thread(target=worker.work_until_stopped) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            if _is_done(study, asked) or any(worker.error for worker in workers):
                break
            show()
            time.sleep(PAUSE)
    finally:
        for worker in workers:
            worker.stopped = True
        for process in processes:
            process.kill()
        for thread in threads:
            thread.join()
        show()
    for error in filter(None, (worker.error for worker in workers)):
        raise error


def _is_done(study: optuna.Study, asked: Asked) -> bool:
    return trials.n_finished(study) >= asked.n_trials


def _warn_if_all_failed(study: optuna.Study, asked: Asked) -> None:
    found = trials.counted(study)
    if found and all(trial.state == optuna.trial.TrialState.FAIL for trial in found):
        warnings.warn(
            f"all {len(found)} trials of the search {asked.name!r} failed, and they count: mend "
            "what the warnings name, and give the search another name",
            stacklevel=4,
        )
