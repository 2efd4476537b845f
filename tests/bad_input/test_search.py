"""Searches that can't be done, and starts that can't be kept."""

import os
import sys
import traceback
from urllib.parse import unquote

import nengo
import numpy as np
import pytest
import searched
import tensorflow as tf
from bad_inputs import Row, check, table
from generations import simulator
from matplotlib.figure import Figure
from nengo.exceptions import ValidationError

import nengo_wd
from nengo_wd import plotting
from nengo_wd._simulators import check_watched


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
    row(f"ranges={ranges!r}", "are not ranges; give a dictionary", ranges=ranges)
    for ranges in ({}, None, (1e-3, 1), ["rates"])
]
ROWS += [
    row(f"strength {name!r}", "is not the name of a strength", ranges={name: (1, 2)})
    for name in (1, "", None)
]
ROWS += [
    row(f"{attr}={value!r}", f"{attr}=.* must be a whole number from", **{attr: value})
    for attr in ("n_trials", "n_jobs", "trials_per_process")
    for value in (0, -1, 2.5, "3", True)
    if (attr, value) != ("n_jobs", True)  # which is 1
]
ROWS += [row(f"seed={seed!r}", "seed=.* whole", seed=seed) for seed in (-1, 0.5, "0", 2**32)]
ROWS += [row(f"name={name!r}", "name=.* must be a string", name=name) for name in ("", 3)]
ROWS += [row(f"name={name!r}", "can't be the name of a file", name=name) for name in ("a/b", "a:b")]
ROWS += [
    row("no function", "'train.py' can't be called", train="train.py"),
    row("local function", "can't be sent to other processes", train=lambda s, t: 0.0, n_jobs=2),
    row("seed of a sampler", "seed=0 is not for a sampler of your own", seed=0, sampler=object()),
]


def optuna_of():
    import optuna

    return optuna


def in_memory():
    return optuna_of().storages.InMemoryStorage()


def pruner_of_here():
    """Return a pruner whose class is in a function, where no other process finds it."""

    class Here(optuna_of().pruners.NopPruner):
        pass

    return Here()


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


def watching(monitor, direction="minimize"):
    """Return Optuna's callback, which has its trial and its metric."""
    from optuna_integration import TFKerasPruningCallback

    return TFKerasPruningCallback(optuna_of().create_study(direction=direction).ask(), monitor)


def trained_with(callbacks):
    of_compiled(lambda sim: sim.fit(n_steps=1, verbose=0, callbacks=callbacks))


GET_GREATER = ("val_probe_accuracy", "acc", "sparse_categorical_accuracy_1", "out_auc", "f1_score")
GET_GREATER += ("probe_recall", "mean_io_u", "val_precision_at_recall_2", "val_r2_score")
GET_LESS = ("loss", "accuracy_loss", "val_accuracy_mse", "pace", "error", "val_probe_mae")


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
    Row("figure of nothing", lambda s: figure_of_nothing(), "no trial of .* 'empty' is complete"),
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
    row(f"{attr}={value!r}", f"{attr}={pattern}.*is not an? .*; give an inst", **{attr: value})
    for attr, value, pattern in (
        ("pruner", "median", "'median'"),
        ("pruner", 3, "3"),
        ("sampler", 3, "3"),
        ("sampler", "tpe", "'tpe'"),
        ("sampler", dict, "<class 'dict'>"),
    )
]
WITH_OPTUNA += [
    Row(
        "pruner that can't be sent",
        lambda s: search(pruner=pruner_of_here(), n_jobs=2),
        "pruner=.* can't be sent to other processes",
    ),
    Row(
        "class of a sampler",
        lambda s: search(sampler=optuna_of().samplers.TPESampler),
        r"sampler=<class '.*TPESampler'> is a class; give an instance, such as .*\(\)",
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
        "3 in callbacks is not a tf.keras.callbacks.Callback",
    ),
    *(
        Row(
            f"watches {metric}",
            lambda s, metric=metric: check_watched([watching(metric)]),
            f"TFKerasPruningCallback watches '{metric}', which should be high, .*minimizes"
            ".* prune the best.*1 - accuracy",
        )
        for metric in GET_GREATER
    ),
    Row(
        "pruned by accuracy",
        lambda s: trained_with([tf.keras.callbacks.Callback(), watching("acc")]),
        "TFKerasPruningCallback watches 'acc'",
    ),
    Row(
        "pruned by accuracy, one callback",
        lambda s: trained_with(watching("acc")),
        "TFKerasPruningCallback watches 'acc'",
    ),
    Row(
        "pruned by accuracy, in a list of Keras'",
        lambda s: trained_with(tf.keras.callbacks.CallbackList([watching("acc")])),
        "TFKerasPruningCallback watches 'acc'",
    ),
    Row("compiled anew", lambda s: of_compiled(compiled_anew), "compiled again after this Start"),
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


SECRETS = {
    "nosuch://me:secret@there/db": "nosuch://me:***@there/db",
    "nosuch://me:sec@secret@there/db": "nosuch://me:***@there/db",
    "nosuch://me:sec:secret@there/db": "nosuch://me:***@there/db",
    "nosuch://me:sec/secret?x@there/db": "nosuch://me:***@there/db",
    "nosuch://there/db?password=secret": "nosuch://there/db?password=***",
    "nosuch://there/db?sslmode=on&password=sec@secret&timeout=3": (
        "nosuch://there/db?sslmode=on&password=***&timeout=3"
    ),
    "nosuch://me:secret@there/db?Passwd=secret": "nosuch://me:***@there/db?Passwd=***",
    "me:secret@there/db": "storage='me:***@there/db' can't keep",
    "host=there password=secret": "storage='host=there password=***' can't keep",
    "sqlite:////no/such/folder/a.db?password=secret": "a.db?password=***",
    "sqlite:////no/such/a@folder:8/a@b.db": "sqlite:////no/such/a@folder:8/a@b.db",
    "grpc://me:secret@there:port": "grpc://me:***@there:port",
}


@pytest.mark.generation(3)
@pytest.mark.parametrize("storage", SECRETS)
def test_errors_tell_no_passwords(storage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValidationError) as caught:
        search(storage=storage)
    assert SECRETS[storage] in str(caught.value)
    assert "secret" not in "".join(traceback.format_exception_only(caught.type, caught.value))
    error = caught.value
    while error is not None:  # all that a traceback prints
        assert "secret" not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.generation(3)
@pytest.mark.parametrize("secret", ["secret", "se%20cret"])
def test_errors_of_drivers_tell_no_passwords(secret, tmp_path, monkeypatch):
    """Whatever a driver says, it does not say the password, as it was given or decoded."""

    def refused(url, **kwargs):
        raise RuntimeError(f"no connection with {url} or {unquote(secret)}") from OSError(url)

    from nengo_wd.search import storages

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(storages, "RDBStorage", refused)
    for url in (f"nosuch://me:{secret}@there/db", f"nosuch://there/db?password={secret}"):
        with pytest.raises(ValidationError, match="no connection with|OSError|nosuch") as caught:
            search(storage=url)
        printed = "".join(traceback.format_exception(*caught._excinfo))
        assert f"{secret}@" not in str(caught.value) and secret not in str(caught.value)
        assert unquote(secret) not in str(caught.value)
        assert caught.value.__cause__ is None and "The above exception" not in printed


@pytest.mark.generation(3)
def test_other_metrics_and_studies_are_left_alone():
    check_watched([watching(metric) for metric in GET_LESS])
    check_watched([watching(metric, "maximize") for metric in GET_GREATER])
    check_watched(None)
