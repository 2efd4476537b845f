"""Searches that can't be done, and starts that can't be kept."""

import os
import sys

import nengo
import numpy as np
import pytest
import searched
import tensorflow as tf
from bad_inputs import Row, check, table
from generations import simulator
from matplotlib.figure import Figure

import nengo_wd
from nengo_wd import plotting


def search(**kwargs):
    given = dict(train=searched.train, ranges=searched.RANGES, n_trials=1, name="mine")
    return nengo_wd.search.strengths(**{**given, "progress_bar": False, **kwargs})


def row(what, pattern, **kwargs):
    return Row(what, lambda s: search(**kwargs), pattern)


RANGES = {
    "low above high": (1e-1, 1e-3),
    "low as high": (1e-3, 1e-3),
    "zero": (0, 1),
    "negative": (-1.0, 1.0),
    "infinite": (1e-3, np.inf),
    "NaN": (np.nan, 1.0),
    "beyond float32": (1.0, 1e39),
}
NO_RANGES = {"a number": 0.1, "one number": (0.1,), "three": (1, 2, 3), "texts": ("0.1", "1")}
NO_RANGES.update({"text": "01", "None": None, "bool": (True, 2.0)})
ROWS = [
    row(f"range with {kind}", "range of 'rates' is .*, but must go up from", ranges={"rates": ends})
    for kind, ends in RANGES.items()
]
ROWS += [
    row(f"range that is {kind}", "range of 'rates' is .*give two numbers", ranges={"rates": ends})
    for kind, ends in NO_RANGES.items()
]
ROWS += [
    row(f"ranges={ranges!r}", "are no ranges; give a dictionary", ranges=ranges)
    for ranges in ({}, None, (1e-3, 1), ["rates"])
]
ROWS += [
    row(f"strength {name!r}", "is no name of a strength", ranges={name: (1, 2)})
    for name in (1, "", None)
]
ROWS += [
    row(f"{attr}={value!r}", f"{attr}=.* must be a whole number from", **{attr: value})
    for attr in ("n_trials", "n_jobs", "trials_per_process")
    for value in (0, -1, 2.5, "3", True)
    if (attr, value) != ("n_jobs", True)  # which is 1
]
ROWS += [row(f"seed={seed!r}", "seed=.* whole", seed=seed) for seed in (-1, 0.5, "0", 2**32)]
ROWS += [row(f"name={name!r}", "name=.* must be a text", name=name) for name in ("", 3)]
ROWS += [row(f"name={name!r}", "can't be that of a file", name=name) for name in ("a/b", "a:b")]
ROWS += [
    row("no function", "'train.py' can't be called", train="train.py"),
    row("local function", "can't be sent to other processes", train=lambda s, t: 0.0, n_jobs=2),
    row("seed of a sampler", "seed=0 is not for a sampler of your own", seed=0, sampler=object()),
]


def in_memory():
    import optuna

    return optuna.storages.InMemoryStorage()


def of_study(**kwargs):
    """Search where there is another study of that name already."""
    import optuna

    storage = in_memory()
    study = optuna.create_study(study_name="mine", storage=storage, **kwargs)
    study.add_trial(
        optuna.create_trial(
            params={"width": 2.0},
            distributions={"width": optuna.distributions.FloatDistribution(1, 3)},
            **({"values": [0.0, 0.0]} if "directions" in kwargs else {"value": 0.0}),
        )
    )
    search(storage=storage)


def over_others():
    storage = in_memory()
    search(storage=storage)
    search(storage=storage, ranges={"kernels": (1e-3, 1), "biases": (1e-3, 1)})


def figure(**kwargs):
    """Plot a search of one trial."""
    plotting.search(search(storage=in_memory()), **kwargs)


def figure_of_nothing():
    import optuna

    plotting.search(optuna.create_study(study_name="empty", storage=in_memory()))


def not_written_to():
    search(storage="sqlite:///read_only.db")
    search(storage="sqlite:///file:read_only.db?mode=ro&uri=true")


def in_folder_that_is_gone():
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir("../gone")
    search()


def without_optuna(shared):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "optuna", None)
        patch.setitem(sys.modules, "optuna.storages", None)
        search()


def small_network():
    with nengo.Network(seed=0) as net:
        nengo.Probe(nengo.Ensemble(5, 1))
    return net


def of_compiled(then):
    with simulator(small_network()) as sim:
        sim.compile("sgd", loss="mse")
        then(sim)


def compiled_anew(sim):
    start = nengo_wd.search.Start(sim)
    sim.compile("adam", loss="mse")
    start.restore()


def restored_when_closed(shared):
    with simulator(small_network()) as sim:
        sim.compile("sgd", loss="mse")
        start = nengo_wd.search.Start(sim)
    start.restore()


WITH_OPTUNA = [
    Row(name, lambda s, call=call: call(), pattern)
    for name, call, pattern in (
        ("maximized", lambda: of_study(direction="maximize"), "'mine' .* does not minimize"),
        ("two errors", lambda: of_study(directions=2 * ["minimize"]), "'mine' .* minimize one"),
        ("another study", of_study, r"over \['width'\], not over \['kernels', 'rates'\]"),
        ("other names", over_others, r"over \['kernels', 'rates'\], not over \['biases'"),
        (
            "folder is gone",
            in_folder_that_is_gone,
            "'mine' can't be kept in mine.db.*: unable to open",
        ),
        ("not writable", not_written_to, "'mine' can't be kept in .*read_only.db.*readonly"),
    )
]
WITH_OPTUNA += [
    Row("figure of no study", lambda s: plotting.search(3), "expected an optuna.Study, got 3"),
    Row("figure of nothing", lambda s: figure_of_nothing(), "no trial of the search 'empty' came"),
    Row("axes", lambda s: figure(axes=Figure().subplots(2)), r"axes has shape \(2,\), but must"),
]
WITH_OPTUNA += [
    row(f"storage={storage!r}", pattern, storage=storage)
    for storage, pattern in (
        ("mine.db", "storage='mine.db' can't keep a search: it is neither a URL"),
        (3, "storage=3 can't keep"),
        ("nosuch://there", "'mine' can't be kept in nosuch://there"),
        ("sqlite:////no/such/folder/a.db", "can't be kept in .*unable to open"),
    )
]
WITH_OPTUNA += [
    Row(
        "password", lambda s: search(storage="nosuch://me:secret@there/db"), "in nosuch://me:...@t"
    ),
    Row(
        "memory for processes",
        lambda s: search(storage=in_memory(), n_jobs=2),
        "memory of this process can't be shared",
    ),
    Row("closed start", lambda s: nengo_wd.search.Start(s.closed), "is closed", Exception),
    Row("restored late", restored_when_closed, "is closed", Exception),
    Row("no simulator", lambda s: nengo_wd.search.Start(3), "expected a nengo_dl.Simulator, got 3"),
    Row("not compiled", lambda s: nengo_wd.search.Start(s.sim), "here.* is not compiled"),
    Row("inference only", lambda s: nengo_wd.search.Start(s.inference_only), "untrained"),
    Row(
        "no callback",
        lambda s: nengo_wd.search.Start(s.sim, [tf.keras.callbacks.Callback(), 3]),
        "3 in callbacks is no tf.keras.callbacks.Callback",
    ),
    Row("compiled anew", lambda s: of_compiled(compiled_anew), "compiled anew after this Start"),
]
ROWS += [one._replace(generation=3) for one in WITH_OPTUNA]
ROWS += [
    Row("no Optuna", without_optuna, "needs Optuna 5.*: pip install", ImportError),
    Row("NengoDL 2", lambda s: nengo_wd.search.Start(s.sim), "NengoDL 3", NotImplementedError, 2),
]


@table(ROWS)
def test_search(row, shared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(row, shared)
