"""Records as a table."""

import csv

import numpy as np
import pandas
import pytest
from generations import simulator
from networks import readout_network

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
    with open(tmp_path / "norms.csv", newline="") as file:
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
        }
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
