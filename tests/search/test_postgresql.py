"""A search on a real PostgreSQL server, which a package brings along."""

import subprocess
import sys
import tempfile
from pathlib import Path

import optuna
import pgserver
import pytest
import searched
from scripts import SUPPORT, environment

import nengo_wd

SCRIPT = SUPPORT / "search_of_machine.py"


@pytest.fixture(scope="module")
def server():
    """Give the URL of a database on a server of its own."""
    with tempfile.TemporaryDirectory() as folder:  # not one of pytest's, which are for one user
        server = pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


def machine(url, folder, *arguments):
    """Start a machine that takes part in the search."""
    folder.mkdir()
    command = [sys.executable, str(SCRIPT), url, *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment(), stderr=subprocess.PIPE)


def test_two_machines_one_of_which_is_killed_in_a_trial(server, working_folder):
    doomed = machine(server, working_folder / "doomed", "doomed")
    other = machine(server, working_folder / "other")
    assert doomed.wait() == -9, doomed.stderr.read().decode()
    assert other.wait() == 0, other.stderr.read().decode()
    study = optuna.load_study(study_name="mine", storage=server)
    states = [trial.state.name for trial in study.trials]
    assert states.count("COMPLETE") == searched.N_TRIALS
    assert states.count("FAIL") == 1 and len(states) == searched.N_TRIALS + 1
    lost = study.trials[states.index("FAIL")]
    (again,) = [t for t in study.trials if t.system_attrs.get("retry_history") == [lost.number]]
    assert again.params == lost.params and again.state.name == "COMPLETE"
    machines = [trial.user_attrs["machine"] for trial in study.trials]
    assert machines.count("doomed") >= 8
    # of its trials the best is the fourth, before which there is nothing to learn from
    alone = nengo_wd.search.strengths(
        searched.train,
        searched.RANGES,
        searched.N_TRIALS,
        storage=optuna.storages.InMemoryStorage(),
        seed=2,
        progress_bar=False,
    )
    assert study.best_value <= alone.best_value
    nothing = nengo_wd.search.strengths(  # is left to do
        searched.train, searched.RANGES, searched.N_TRIALS, server, "mine", progress_bar=False
    )
    assert len(nothing.trials) == len(states)


def test_processes_of_one_machine(server):
    study = nengo_wd.search.strengths(
        searched.train,
        searched.RANGES,
        10,
        server,
        "processes",
        n_jobs=2,
        trials_per_process=9,
        progress_bar=False,
    )
    assert [trial.state.name for trial in study.trials] == 10 * ["COMPLETE"]
