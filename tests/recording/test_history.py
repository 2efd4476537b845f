"""Records as a table."""

import copy
import csv
import pickle
import subprocess
import sys

import numpy as np
import pandas
import pytest
from generations import simulator
from nengo.exceptions import ValidationError
from networks import Ensembles, readout_network

import nengo_wd


def recorded_twice(sim):
    norms = nengo_wd.WeightNorms(sim, objects=sim.model.toplevel)
    norms.record()
    norms.record(step=5, epoch=1, loss=4.0)
    return norms


def test_table(tmp_path):
    net, _, _, _ = readout_network()
    with simulator(net) as sim:
        norms = recorded_twice(sim)
    norms.to_csv(tmp_path / "norms.csv")
    with open(tmp_path / "norms.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["name"]) for row in rows] == [
        (step, name) for step in "05" for name in norms.names
    ]
    row = rows[-len(norms.names) + norms.names.index("readout.kernel")]
    assert {key: float(value) for key, value in row.items() if key != "name"} == pytest.approx(
        {
            "step": 5,
            "epoch": 1,
            "loss": 4,
            "norm": np.sqrt(6),
            "channel_mean": np.sqrt(2),
            "channel_max": np.sqrt(2),
            "penalty": 3,
            "share": 0.75,
            "zeros": 0,
            "zero_channels": 0,
            "multiplier": np.nan,
            "target_norm": np.nan,
        },
        nan_ok=True,
    )


def test_frame(tmp_path):
    net, _, _, _ = readout_network()
    with simulator(net) as sim:
        norms = recorded_twice(sim)
    norms.to_csv(tmp_path / "norms.csv")
    read = pandas.read_csv(tmp_path / "norms.csv")
    pandas.testing.assert_frame_equal(norms.to_frame(), read, check_dtype=False)


def test_frame_without_pandas(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    net, _, _, _ = readout_network()
    with simulator(net) as sim, pytest.raises(ImportError, match="needs pandas"):
        recorded_twice(sim).to_frame()


READ = """
import pickle, sys
from nengo_wd import plotting
with open(sys.argv[1], "rb") as file:
    history = pickle.load(file)
history.to_csv(sys.argv[2])
plotting.norms(history), plotting.histograms(history)
"""


@pytest.mark.slow
def test_history_without_its_simulator(tmp_path):
    """Pickled, and read in a process that has no network."""
    net, _, _, _ = readout_network()
    with simulator(net) as sim:
        norms = recorded_twice(sim)
        copied = copy.deepcopy(norms.history)
        (tmp_path / "history").write_bytes(pickle.dumps(norms.history))
        assert norms.parameters["readout.kernel"].obj in net.nodes  # as before
    norms.to_csv(tmp_path / "expected.csv")
    arguments = [str(tmp_path / name) for name in ("history", "read.csv")]
    subprocess.run([sys.executable, "-c", READ, *arguments], check=True)
    assert (tmp_path / "read.csv").read_text(encoding="utf-8") == (
        tmp_path / "expected.csv"
    ).read_text(encoding="utf-8")
    for name, norm in norms.channel_norms.items():
        np.testing.assert_array_equal(copied.channel_norms[name], norm)
    assert copied.parameters["readout.kernel"].shape == (2, 3)


def test_channels_that_are_left_out(tmp_path):
    """Tables stay the same, and so does what is known of the last record."""
    model = Ensembles(regularizer="l2")
    with simulator(model.net) as sim:
        every = nengo_wd.WeightNorms(sim)
        less = nengo_wd.WeightNorms(sim, channels=False)
        for step in range(3):
            for norms in (every, less):
                norms.record(step=step, loss=1.0)
    for name in [column.name for column in less.history.columns]:
        np.testing.assert_array_equal(less.column(name), every.column(name))
    np.testing.assert_array_equal(less.total_penalties, every.total_penalties)
    assert list(map(str, less.rows())) == list(map(str, every.rows()))
    for name, of_channels in less.last_channel_norms.items():
        np.testing.assert_array_equal(of_channels, every.channel_norms[name][-1])
    nengo_wd.plotting.compare({"one": less, "other": every})
    assert less.history.last.measured.channel_sums
    assert not any(one.measured.channel_sums for one in less.history._records[:-1])
    assert not any(one.measured.parts is not None for one in less.history._records[:-1])
    for function in (lambda: less.channel_norms, lambda: nengo_wd.plotting.histograms(less)):
        with pytest.raises(ValidationError, match="channels=False keeps the norms of channels"):
            function()
    less.history.rewind(1)
    with pytest.raises(ValidationError, match="channels=False keeps the norms of channels"):
        less.last_channel_norms  # noqa: B018 - it raises
