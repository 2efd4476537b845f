"""Firing rates as they are recorded, against what the simulator predicts."""

import copy
import csv
import pickle

import nengo
import numpy as np
import pandas
import pytest
from generations import outputs, sgd, simulator, train
from nengo.exceptions import ValidationError

import nengo_wd
from nengo_wd.regularizers import FiringRates

AMPLITUDE, SHOWN, EXAMPLES = 0.02, 60, 4


class Firing:
    """Two populations with probes; some neurons of the second never fire."""

    def __init__(self):
        with nengo.Network(seed=0) as self.net:
            nengo_wd.configure_settings()
            self.source = nengo.Node(np.zeros(2))
            neuron_type = nengo.LIF(amplitude=AMPLITUDE)
            a = nengo.Ensemble(6, 2, neuron_type=neuron_type, label="a")
            b = nengo.Ensemble(
                4, 2, neuron_type=nengo.LIFRate(), label="b", gain=np.ones(4), bias=[30, 5, -9, -9]
            )
            for ensemble in (a, b):
                nengo.Connection(self.source, ensemble, synapse=None)
            self.a, self.b = nengo.Probe(a.neurons, label="first"), nengo.Probe(b.neurons[[1, 2]])
            self.decoded = nengo.Probe(a)
            self.filtered = nengo.Probe(a.neurons, synapse=0.01)
            self.net.config[self.a].regularizer = FiringRates(maximum=5, l1=0.1)
        rng = np.random.RandomState(0)
        self.data = {self.source: rng.uniform(-1, 1, size=(EXAMPLES, SHOWN, 2))}
        self.inputs = {self.source: rng.uniform(-1, 1, size=(2 * EXAMPLES, 1, 2))}
        self.targets = {self.decoded: np.zeros((2 * EXAMPLES, 1, 2))}

    def expected(self, sim):
        first, second = outputs(sim, self.data, [self.a, self.b])
        means = first.mean(axis=(0, 1), dtype=np.float64) / AMPLITUDE
        return {"first": means, "b": second.mean(axis=(0, 1), dtype=np.float64)}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return records by hand before and after a training, and what they should be."""
    model, log_dir = Firing(), tmp_path_factory.mktemp("log")
    with simulator(model.net, minibatch_size=EXAMPLES) as sim:
        rates = nengo_wd.NeuronRates(sim, model.data, log_dir=log_dir)
        empty = {name: one.shape for name, one in rates.rates.items()}
        expected = [model.expected(sim)]
        rates.record()
        objective = nengo_wd.regularized_objective(sim, {model.decoded: "mse"})
        train(sim, model.inputs, model.targets, objective, sgd(0.5), epochs=3)
        expected.append(model.expected(sim))
        rates.record(loss=2.0)
    assert empty == {"first": (0, 6), "b": (0, 2)}
    return rates, expected, log_dir


def test_records_by_hand(recorded):
    """Of the probes of neurons without a filter, with the amplitude of each taken out."""
    rates, expected, _ = recorded
    assert rates.names == ["first", "b"]
    assert rates.steps.tolist() == [0, 6]
    for name in rates.names:
        np.testing.assert_allclose(rates.rates[name], [one[name] for one in expected], rtol=1e-6)
    means = [[one[name].mean() for name in rates.names] for one in expected]
    np.testing.assert_allclose(rates.mean_rates, means, rtol=1e-6)
    assert rates.mean_rates[1, 0] < rates.mean_rates[0, 0] - 1
    assert rates.silent[0, 1] == 0.5


def test_table(recorded, tmp_path):
    rates, expected, _ = recorded
    rates.to_csv(tmp_path / "rates.csv")
    with open(tmp_path / "rates.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["name"]) for row in rows] == [
        (step, name) for step in "06" for name in ("first", "b")
    ]
    last = expected[1]["first"]
    shown = {key: float(value) for key, value in rows[2].items() if key != "name"}
    of_neurons = {
        "rate": last.mean(),
        "rate_min": last.min(),
        "rate_median": np.median(last),
        "rate_max": last.max(),
        "silent": np.mean(last < 0.1),
    }
    expected = {"step": 6, "epoch": 0, "loss": 2, **of_neurons}
    assert shown == pytest.approx(expected, rel=1e-6)
    read = pandas.read_csv(tmp_path / "rates.csv")
    pandas.testing.assert_frame_equal(rates.to_frame(), read, check_dtype=False)


def test_history_without_its_network(recorded):
    rates, _, _ = recorded
    for copied in (pickle.loads(pickle.dumps(rates.history)), copy.deepcopy(rates.history)):
        assert copied.names == rates.names
        np.testing.assert_array_equal(copied.silent, rates.silent)
        nengo_wd.plotting.rates(copied)


def test_tensorboard_reads_them(recorded):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    rates, expected, log_dir = recorded
    read = EventAccumulator(str(log_dir), {"histograms": 0}).Reload()
    tags = {f"{name}/{column}" for name in rates.names for column in ("rate", "silent")}
    assert set(read.Tags()["scalars"]) == {"loss", *tags}
    assert [event.step for event in read.Scalars("first/rate")] == [0, 6]
    assert read.Scalars("b/silent")[0].value == 0.5
    assert set(read.Tags()["histograms"]) == {"first/rates", "b/rates"}
    histogram = read.Histograms("first/rates")[1].histogram_value
    assert histogram.sum == pytest.approx(expected[1]["first"].sum(), rel=1e-6)


@pytest.mark.generation(3)
def test_records_during_fit():
    """They are made when it is time to, and leave the training as it is without them."""
    biases = []
    for with_records in (True, False):
        model = Firing()
        with simulator(model.net, minibatch_size=EXAMPLES) as sim:
            loss = nengo_wd.regularized_objective(sim, {model.decoded: "mse"})
            sim.compile(sgd(0.5), loss=loss)
            by_epoch = nengo_wd.NeuronRates(sim, model.data, probes=[model.a])
            by_batch = nengo_wd.NeuronRates(sim, model.data, every=3, probes=model.a)
            norms = nengo_wd.WeightNorms(sim, objects=model.net)
            arguments = dict(epochs=2, shuffle=False, verbose=0)
            with pytest.raises(ValidationError, match="same NeuronRates of .* given twice"):
                sim.fit(model.inputs, model.targets, callbacks=[by_epoch] * 2, **arguments)
            callbacks = [by_epoch, by_batch, norms] if with_records else []
            fit = sim.fit(model.inputs, model.targets, callbacks=callbacks, **arguments)
            biases.append(sim.data[model.a.obj.ensemble].bias)
            if with_records:
                expected = model.expected(sim)["first"]
                assert by_epoch.steps.tolist() == norms.steps.tolist() == [0, 2, 4]
                assert by_batch.steps.tolist() == [0, 3, 4]
                np.testing.assert_allclose(by_epoch.losses, [np.nan, *fit.history["loss"]])
                for rates in (by_epoch, by_batch):
                    np.testing.assert_allclose(rates.rates["first"][-1], expected, rtol=1e-6)
    np.testing.assert_array_equal(*biases)


def test_figure(recorded):
    rates, expected, _ = recorded
    firing, silent = nengo_wd.plotting.rates(rates).axes
    for i, (name, line) in enumerate(zip(rates.names, firing.lines)):
        np.testing.assert_array_equal(line.get_ydata(), rates.mean_rates[:, i])
        band = firing.collections[i].get_paths()[0].vertices
        low, high = np.percentile([one[name] for one in expected], (10, 90), axis=1)
        assert band[:, 1].min() == pytest.approx(low.min(), rel=1e-6)
        assert band[:, 1].max() == pytest.approx(high.max(), rel=1e-6)
        np.testing.assert_array_equal(silent.lines[i].get_ydata(), 100 * rates.silent[:, i])
    assert [text.get_text() for text in silent.get_legend().get_texts()] == ["first", "b"]
    assert len(nengo_wd.plotting.rates(rates, "b").axes[0].lines) == 1
    assert len(nengo_wd.plotting.rates(rates, rates.probes["b"]).axes[0].lines) == 1
