import functools
import io
import itertools
import socket
import sys
import warnings
from pathlib import Path

import numpy as np
import optuna
import progressbar
import pytest
import searched
from nengo.exceptions import ValidationError
from optuna.storages._grpc.server import make_server
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from scripts import SUPPORT, run_in_fresh_python

import nengo_wd
from nengo_wd.search import storages, trials
from nengo_wd.search.worker import DeadProcessError

RANGES, N_TRIALS = searched.RANGES, searched.N_TRIALS


def search(train=searched.train, n_trials=N_TRIALS, seed=3, **kwargs):
    kwargs = {"progress_bar": False, "name": "mine", **kwargs}
    return nengo_wd.search.strengths(train, RANGES, n_trials, seed=seed, **kwargs)


def in_memory(*args, **kwargs):
    return search(*args, storage=optuna.storages.InMemoryStorage(), **kwargs)


def states(study):
    return [trial.state.name for trial in study.trials]


def tried(study):
    """Return the strengths of the trials that came to their end, in their order."""
    ended = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    return [[trial.params[name] for name in RANGES] for trial in ended]


def stopping(at, error):
    """Return a function to search with, which raises an error once, in the trial of a number."""
    calls = itertools.count()

    def train(strengths, trial):
        if next(calls) == at:
            raise error
        return searched.error_at(strengths)

    return train


def test_the_best_strengths_are_found():
    study = in_memory(n_trials=60)
    assert len(study.trials) == 60
    assert abs(np.log10(study.best_params["kernels"]) + 3) < 0.5
    assert abs(np.log10(study.best_params["rates"]) + 1) < 0.5
    assert study.best_value == searched.error_at(study.best_params)


def test_strengths_are_suggested_evenly_on_a_logarithmic_scale():
    study = in_memory(n_trials=200, sampler=optuna.samplers.RandomSampler(seed=0), seed=None)
    kernels = np.log10([trial.params["kernels"] for trial in study.trials])
    assert np.all((kernels >= -6) & (kernels <= 0))
    counts, _ = np.histogram(kernels, 4, (-6, 0))
    assert np.all(np.abs(counts - 50) < 4 * np.sqrt(50 * 0.75))


def test_a_seed_says_what_is_tried():
    one, same, other = in_memory(), in_memory(), in_memory(seed=4)
    assert tried(one) == tried(same) != tried(other)
    assert len({tuple(pair) for pair in tried(one)}) == N_TRIALS
    assert np.ptp(np.corrcoef(np.log(tried(one)).T)) > 0.1  # strengths are drawn independently


def test_the_file_is_named_after_the_search(working_folder):
    search(n_trials=2)
    assert [path.name for path in working_folder.iterdir()] == ["mine.db"]


def test_the_search_is_named_after_the_script(working_folder, monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "/there/tune.py", raising=False)
    assert search(n_trials=1, name=None).study_name == "tune"
    assert (working_folder / "tune.db").exists()


def test_a_search_goes_on_until_the_total():
    assert len(search(n_trials=3).trials) == 3
    study = search(n_trials=5)
    assert len(study.trials) == 5
    assert tried(study) == tried(in_memory(n_trials=5))
    assert len(search(n_trials=4).trials) == 5  # nothing is left to do


def test_ctrl_c_puts_the_trial_back(working_folder):
    with pytest.raises(KeyboardInterrupt):
        search(stopping(2, KeyboardInterrupt()), n_trials=6)
    assert [path.name for path in working_folder.iterdir()] == ["mine.db"]
    study = search(n_trials=6)
    assert states(study)[:4] == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]
    assert study.trials[3].params == study.trials[2].params
    assert tried(study) == tried(in_memory(n_trials=6))


def test_python_that_ends_puts_the_trial_back():
    with pytest.raises(SystemExit):
        search(stopping(1, SystemExit()), n_trials=3)
    assert tried(search(n_trials=3)) == tried(in_memory(n_trials=3))


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on(working_folder):
    """A process is killed by the system, as none can prevent, in the middle of its tenth trial."""
    ran = run_in_fresh_python(SUPPORT / "killed_search.py", folder=working_folder)
    assert ran.returncode == -9, ran.stderr
    storage = "sqlite:///killed_search.db"
    before = optuna.load_study(study_name="killed_search", storage=storage)
    assert states(before) == 9 * ["COMPLETE"] + ["RUNNING"]
    study = search(searched.train_and_die_once, name="killed_search")  # the same call again
    assert states(study) == 9 * ["COMPLETE"] + ["FAIL"] + (N_TRIALS - 9) * ["COMPLETE"]
    assert study.trials[:9] == before.trials[:9]
    assert study.trials[10].params == study.trials[9].params
    uninterrupted = in_memory()
    assert tried(study) == tried(uninterrupted)
    assert study.best_params == uninterrupted.best_params


def test_a_trial_that_kills_its_process_is_given_up():
    def train(strengths, trial):
        raise DeadProcessError()

    with pytest.warns(UserWarning, match="all 2 trials"):
        study = in_memory(train, n_trials=2)
    assert states(study) == 2 * 4 * ["FAIL"]  # each is tried four times
    assert [trial.params for trial in study.trials[1:4]] == 3 * [study.trials[0].params]
    assert study.trials[4].params != study.trials[0].params


@pytest.mark.parametrize("error", [ValueError("it diverged"), np.nan, np.inf, None, "text"])
def test_a_trial_that_fails_is_reported_and_counts(error):
    def train(strengths, trial):
        if trial.number == 1:
            if isinstance(error, Exception):
                raise error
            return error
        return searched.error_at(strengths)

    told = "it diverged" if isinstance(error, Exception) else f"train returned {error!r}, which is"
    with pytest.warns(UserWarning, match=f"trial 1 of the search 'mine' failed with .*: {told}"):
        study = in_memory(train, n_trials=4)
    assert states(study) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert told in study.trials[1].user_attrs["error"]
    assert "Traceback" in study.trials[1].user_attrs["error"]


def test_a_search_without_any_success_says_so():
    with pytest.warns(UserWarning, match="all 3 trials of the search 'mine' failed"):
        study = in_memory(lambda strengths, trial: np.nan, n_trials=3)
    assert states(study) == 3 * ["FAIL"]


def failing_or_pruned(strengths, trial):
    """Prune the third trial, and have the others fail."""
    if trial.number == 2:
        trial.report(3.0, 0)
        raise optuna.TrialPruned()
    raise FloatingPointError("it diverged")


ALL_FAILED = r"all 2 trials of the search 'mine' failed.*study.trials\[0\].user_attrs\['error'\]"
NONE_ENDED = (
    r"none of the 3 trials of the search 'mine' is complete: 2 failed, 1 was pruned.*trials\[0\]"
)


@pytest.mark.filterwarnings("ignore:trial", "ignore:all 2 trials")
@pytest.mark.parametrize("storage", [None, "sqlite:///other.db", "memory"])
def test_the_best_of_no_success_says_why(storage):
    storage = optuna.storages.InMemoryStorage() if storage == "memory" else storage
    study = search(lambda strengths, trial: np.nan, n_trials=2, storage=storage)
    for best in ("best_trial", "best_params", "best_value"):
        with pytest.raises(ValidationError, match=ALL_FAILED):
            getattr(study, best)
    study = search(failing_or_pruned, n_trials=3, storage=storage)
    with pytest.raises(ValidationError, match=NONE_ENDED):
        study.best_trial.number  # noqa: B018
    study = search(n_trials=4, storage=storage)
    assert study.best_trial.number == 3


def damaged(how):
    """Search with a function that does something to the file, once."""
    calls = itertools.count()

    def train(strengths, trial):
        if next(calls) == 1:
            how(Path("mine.db"))
        return searched.error_at(strengths)

    search(train, n_trials=3)


@pytest.mark.parametrize(
    "how",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_text(5000 * "nothing ", encoding="utf-8"),
    ],
    ids=["deleted", "emptied", "overwritten"],
)
def test_a_file_that_is_damaged_while_it_is_used_is_named(how, working_folder):
    with pytest.raises(
        ValidationError, match="'mine' can't be kept in mine.db .*any more.*deleted"
    ):
        damaged(how)
    assert not Path("mine.db.lock").exists()


def test_a_storage_that_is_lost_while_it_is_used_is_named():
    def train(strengths, trial):
        Path("shared.db").write_bytes(b"")
        return 0.0

    with pytest.raises(ValidationError, match="can't be kept in sqlite:///shared.db any more"):
        search(train, n_trials=3, storage="sqlite:///shared.db")


def test_errors_of_a_sampler_are_its_own():
    class Broken(optuna.samplers.RandomSampler):
        def before_trial(self, study, trial):
            raise OSError("it is broken")

    with pytest.raises(OSError, match="it is broken"):
        in_memory(n_trials=2, sampler=Broken(), seed=None)


def test_training_may_change_the_working_folder(working_folder, monkeypatch):
    def train(strengths, trial):
        Path("elsewhere").mkdir(exist_ok=True)
        monkeypatch.chdir("elsewhere")
        return searched.error_at(strengths)

    assert len(search(train, n_trials=2).trials) == 2
    found = sorted(path.name for path in working_folder.iterdir())
    assert found == ["elsewhere", "mine.db"]


def test_hopeless_trials_are_pruned_and_count():
    def train(strengths, trial):
        for epoch in range(5):
            trial.report(searched.error_at(strengths), epoch)
            if trial.should_prune():
                raise optuna.TrialPruned()
        return searched.error_at(strengths)

    study = in_memory(train, n_trials=20)
    assert len(study.trials) == 20
    pruned = study.get_trials(states=(TrialState.PRUNED,))
    assert 0 < len(pruned) < 20
    assert all(len(trial.intermediate_values) < 5 for trial in pruned)
    study = in_memory(train, n_trials=20, pruner=optuna.pruners.NopPruner())
    assert states(study) == 20 * ["COMPLETE"]


def test_another_process_is_busy_with_the_file():
    def train(strengths, trial):
        with pytest.raises(ValidationError, match="'mine' in .* is used by another process"):
            search(n_trials=3)
        return 0.0

    search(train, n_trials=1)
    assert len(search(n_trials=2).trials) == 2  # and it is free again


def test_a_trial_too_many_is_withdrawn():
    """Two machines that ask at the same time each get a trial: the later one is withdrawn."""
    storage = optuna.storages.InMemoryStorage()
    asked_meanwhile = []

    class Meanwhile(optuna.samplers.RandomSampler):
        def before_trial(self, study, trial):
            if trial.number == 2:
                asked_meanwhile.append(optuna.load_study(study_name="mine", storage=storage).ask())

    search(n_trials=2, storage=storage, sampler=Meanwhile(), seed=None)
    study = search(n_trials=3, storage=storage, sampler=Meanwhile(), seed=None)
    assert states(study) == ["COMPLETE", "COMPLETE", "COMPLETE", "RUNNING"]
    study.tell(asked_meanwhile[0], 0.0)  # of the other machine, which did not look
    assert len(search(n_trials=3, storage=storage).trials) == 4


def test_the_progress_bar_counts_finished_trials(monkeypatch):
    stream = io.StringIO()
    bar = functools.partial(progressbar.ProgressBar, fd=stream)
    monkeypatch.setattr(progressbar, "ProgressBar", bar)
    search(n_trials=2)
    assert not stream.getvalue()
    search(n_trials=4, progress_bar=True)
    shown = stream.getvalue()
    assert shown.index("mine:  50% (2 of 4)") < shown.index("mine: 100% (4 of 4)")


def test_optuna_is_left_as_it_was():
    before = optuna.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        in_memory(n_trials=2)
    assert optuna.logging.get_verbosity() == before


def test_a_storage_by_its_url():
    study = search(storage="sqlite:///shared.db", n_trials=3)
    assert len(study.trials) == 3
    assert study._storage.get_heartbeat_interval() > 0
    assert Path("shared.db").exists()


def test_silent_machines_are_waited_for(monkeypatch):
    """A trial of a machine that died is tried again on another, once there was no heartbeat."""
    monkeypatch.setattr(storages, "HEARTBEAT", 1)
    monkeypatch.setattr(storages, "GRACE_PERIOD", 1)
    search(storage="sqlite:///shared.db", n_trials=2)
    elsewhere = optuna.load_study(study_name="mine", storage="sqlite:///shared.db")
    running = elsewhere.ask()
    for name, ends in RANGES.items():
        running.suggest_float(name, *ends, log=True)
    elsewhere._storage.record_heartbeat(running._trial_id)
    study = search(storage="sqlite:///shared.db", n_trials=3)
    assert states(study) == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]
    assert study.trials[3].params == running.params


def test_a_grpc_proxy_by_its_url():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    storage = optuna.storages.InMemoryStorage()
    server = make_server(storage, "localhost", port)
    server.start()
    try:
        study = search(storage=f"grpc://localhost:{port}", n_trials=3)
        assert len(study.trials) == 3
        assert tried(study) == tried(in_memory(n_trials=3))
    finally:
        server.stop(None)


def test_a_journal():
    storage = optuna.storages.JournalStorage(JournalFileBackend("mine.log"))
    assert tried(search(storage=storage, n_trials=3)) == tried(in_memory(n_trials=3))


def test_a_trial_keeps_its_place_while_one_before_it_is_tried_again():
    """So that it gets strengths of its own, however early the other one is lost."""
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage)
    first, second = study.ask(), study.ask()
    assert [trials.rank(study, one.number) for one in (first, second)] == [0, 1]
    trials.try_again(study, first.number)
    third = study.ask()
    assert trials.rank(study, second.number) == 1
    assert trials.rank(study, third.number) == 1  # the first again, and the second before it
    assert trials.n_begun(study) == 2
