import _thread
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import optuna
import pytest
import searched
from nengo.exceptions import SimulationError, ValidationError

import nengo_wd
from nengo_wd.search import request, worker

RANGES = searched.RANGES


def search(train, n_trials, name="mine", **kwargs):
    return nengo_wd.search.strengths(
        train, RANGES, n_trials, name=name, seed=0, progress_bar=False, **kwargs
    )


def test_a_process_serves_one_trial_unless_told_otherwise():
    def of(**kwargs):
        given = {"n_jobs": 1, "trials_per_process": None, **kwargs}
        found = request.Request(
            searched.train, RANGES, 1, None, "mine", None, sampler=None, pruner=None, **given
        )
        return found.n_processes, found.trials_per_process

    assert of() == (0, 1)
    assert of(n_jobs=2) == (2, 1)
    assert of(trials_per_process=1) == (1, 1)
    assert of(n_jobs=3, trials_per_process=4) == (3, 4)


@pytest.mark.slow
def test_trials_in_processes():
    """Trial 0 has its process killed, 1 fails and 2 is pruned; four trials a process."""
    with pytest.warns(UserWarning, match="trial 1 of .* failed .* FloatingPointError: it diverged"):
        study = search(searched.train_in_processes, 7, n_jobs=2, trials_per_process=4)
    states = [trial.state.name for trial in study.trials]
    assert states[:3] == ["FAIL", "FAIL", "PRUNED"]
    assert states[3:] == 5 * ["COMPLETE"]  # seven that count, and the one that was lost
    assert [t.params for t in study.trials[1:]].count(study.trials[0].params) == 1
    assert "in train_in_processes" in study.trials[1].user_attrs["error"]
    assert study.trials[2].value == 3.0
    served = [(t.user_attrs["process"], t.user_attrs["served"]) for t in study.trials[1:]]
    assert os.getpid() not in dict(served)
    assert len(set(served)) == 7 and max(n for _, n in served) <= 4
    assert not multiprocessing.active_children()


@pytest.fixture
def ctrl_c():
    """Have Ctrl-C interrupt, also where a shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_processes_and_puts_trials_back(monkeypatch):
    monkeypatch.setattr(worker, "_serve", searched.serve_for_ever)
    ended = threading.Event()
    threading.Thread(target=_press_ctrl_c, args=(ended,), daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        search(searched.train, 5, n_jobs=2)
    ended.set()
    assert not multiprocessing.active_children()
    before = optuna.load_study(study_name="mine", storage="sqlite:///mine.db")
    states = [trial.state.name for trial in before.trials]
    assert sorted(states) == ["FAIL", "FAIL", "WAITING", "WAITING"]
    study = search(searched.train, 5)
    states = [trial.state.name for trial in study.trials]
    assert states == ["FAIL", "FAIL"] + 5 * ["COMPLETE"]
    lost, again = ([trial.params for trial in study.trials[i : i + 2]] for i in (0, 2))
    assert all(params in again for params in lost)


def _press_ctrl_c(ended):
    while len(list(Path().glob("training_*"))) < 2:
        time.sleep(0.02)
    _thread.interrupt_main()
    while not ended.wait(30):  # Python loses one that comes while it collects garbage
        _thread.interrupt_main()


def test_a_process_that_can_not_begin(monkeypatch):
    monkeypatch.setattr(worker, "_serve", searched.end_at_once)
    with pytest.raises(SimulationError, match="'mine' ended before it could begin .exit code 3"):
        search(searched.train, 2, n_jobs=2)
    assert len(search(searched.train, 2).trials) == 2


def test_a_process_that_imports_the_script_searches_nothing(monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "_config", {})
    monkeypatch.setattr(multiprocessing.current_process(), "_name", "nengo_wd.search mine")
    with pytest.raises(ValidationError, match="if __name__ == .__main__.:"):
        search(searched.train, 1)
