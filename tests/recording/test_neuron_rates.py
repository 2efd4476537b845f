"""Firing rates as they are recorded, against what the simulator predicts."""

import copy
import csv
import pickle
import warnings

import nengo
import numpy as np
import pandas
import pytest
import tensorflow as tf
from generations import GENERATION, outputs, sgd, simulator, train
from nengo.exceptions import ValidationError

import nengo_wd
from nengo_wd import nengo_dl
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


def test_gaps(recorded):
    """They are those of the formula of rates, by example, so that none cancels another."""
    rates, _, _ = recorded
    model = Firing()
    with simulator(model.net, minibatch_size=EXAMPLES) as sim:
        with_spikes = outputs(sim, model.data, [model.a])[0].mean(axis=1, dtype=np.float64)
        built = sim.data[model.a.obj.ensemble]
    current = model.data[model.source] @ built.scaled_encoders.T + built.bias
    period = 0.002 + 0.02 * np.log1p(1 / (np.maximum(current, 1.0001) - 1))
    on_rates = np.where(current > 1, 1 / period, 0).mean(axis=1)
    gaps = with_spikes / AMPLITUDE - on_rates
    assert rates.gaps[0] == pytest.approx([np.abs(gaps).mean(), 0], rel=1e-3)
    assert np.abs(gaps.mean()) < 0.9 * rates.gaps[0, 0]


def test_without_gaps(monkeypatch):
    """They are NaN if they are not asked for, which spares a run, or if nothing can train."""
    model, modes = Firing(), []
    run = nengo_wd._seam.activities.summed_magnitudes
    monkeypatch.setattr(
        nengo_wd._seam.activities,
        "summed_magnitudes",
        lambda *args: modes.append(args[4:]) or run(*args),
    )
    with simulator(model.net, minibatch_size=EXAMPLES) as sim:
        rates = nengo_wd.NeuronRates(sim, model.data, gap=False)
        rates.record()
        assert len(modes) == 1 and np.isnan(rates.gaps).all()
        assert len(nengo_wd.plotting.rates(rates).axes) == 2
    with model.net:
        nengo_dl.configure_settings(inference_only=True)
    with simulator(model.net, minibatch_size=EXAMPLES) as sim:
        rates = nengo_wd.NeuronRates(sim, model.data)
        rates.record()
    assert len(modes) == 2 and np.isnan(rates.gaps).all()


class Signed(nengo.RectifiedLinear):
    """Neurons whose rates have a sign, which NengoDL runs in Python."""

    def step_math(self, dt, J, output):  # noqa: N803 - Nengo's name
        output[...] = self.amplitude * J

    step = step_math


def types_with_signs():
    """Return types of neurons whose outputs have signs, and the currents of a rate of 300 Hz."""
    types = {"rates": (Signed(amplitude=AMPLITUDE), 300)}
    if GENERATION == 3:
        leaky = nengo_dl.SpikingLeakyReLU(negative_slope=1, amplitude=AMPLITUDE)
        tanh = nengo.RegularSpiking(nengo.Tanh(tau_ref=0.002), amplitude=AMPLITUDE)
        types.update(leaky=(leaky, 300), tanh=(tanh, np.arctanh(0.6)))
    return types


@pytest.mark.filterwarnings("ignore:.*native TensorFlow implementation")
@pytest.mark.parametrize("name", types_with_signs())
def test_spikes_of_either_sign(name):
    """A rate is that of spikes, whatever their sign, also of neurons whose sign changes."""
    neuron_type, current = types_with_signs()[name]
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(1), label="source")
        bias = np.array([current, -current, 0, 0])
        a = nengo.Ensemble(4, 1, label="a", neuron_type=neuron_type, gain=np.ones(4), bias=bias)
        transform = current * np.array([[0], [0], [1], [0]])
        nengo.Connection(source, a.neurons, synapse=None, transform=transform)
        end = nengo.Node(size_in=1)
        nengo.Connection(a.neurons, end, transform=np.ones((1, 4)), label="out")
        probe = nengo.Probe(a.neurons)
    data = {source: np.repeat([1.0, -1.0], 100)[None, :, None]}
    with simulator(net) as sim:
        recorded = outputs(sim, data, [probe])[0][0].astype(float)
        rates = nengo_wd.NeuronRates(sim, data)
        rates.record()
        if name != "rates":
            energy = nengo_wd.Energy(sim, data).to_frame().set_index("name")
            assert energy.events["out"] / 0.2 == pytest.approx(rates.rates["a"].sum(), rel=1e-5)
    np.testing.assert_allclose(rates.rates["a"][0], [300, 300, 300, 0], atol=11)
    by_hand = np.abs(recorded).mean(axis=0) / AMPLITUDE
    np.testing.assert_allclose(rates.rates["a"][0], by_hand, rtol=1e-5)
    assert recorded[:, 1].max() <= 0 and abs(recorded[:, 2].mean()) < 20 * AMPLITUDE
    assert rates.silent[0, 0] == 0.25


@pytest.mark.generation(3)
@pytest.mark.slow
def test_learned_weights_stay():
    """Training learns the same, whatever is recorded; each record has the weights of its time."""
    learned = []
    for every in (None, "epoch", "batch"):
        with nengo.Network(seed=0) as net:
            source = nengo.Node(np.zeros(1), label="source")
            a = nengo.Ensemble(6, 1, label="a")
            nengo.Connection(source, a, synapse=None)
            conn = nengo.Connection(
                a, nengo.Node(size_in=1), function=lambda x: 0, learning_rule_type=nengo.PES(0.1)
            )
            nengo.Connection(nengo.Node([1.0]), conn.learning_rule, synapse=None)
            rates, probe = nengo.Probe(a.neurons), nengo.Probe(a)
        data, targets = {source: np.ones((4, 8, 1))}, {probe: np.ones((4, 8, 1))}
        with simulator(net, minibatch_size=2) as sim:
            sim.compile(sgd(0.0), loss={probe: "mse"})
            callbacks = [nengo_wd.NeuronRates(sim, data, every, [rates])] if every else []
            sim.fit(data, targets, epochs=2, callbacks=callbacks, verbose=0)
            learned.append(sim.data[conn].weights)
    assert np.abs(learned[0]).max() > 0
    np.testing.assert_array_equal(learned[1], learned[0])
    np.testing.assert_array_equal(learned[2], learned[0])


def test_each_record_shows_the_same():
    """Noise is the same in each, and goes on in the simulation as if nothing was recorded."""
    noise = nengo.processes.WhiteNoise(scale=False)
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(1), label="source")
        signal = nengo.Node(nengo.processes.WhiteSignal(1.0, 5), label="signal")
        a = nengo.Ensemble(6, 1, label="a", noise=noise)
        for node in (source, signal):
            nengo.Connection(node, a, synapse=None)
        probe = nengo.Probe(a.neurons)
    ran = []
    for n_records in (0, 2):
        with simulator(net) as sim:
            rates = nengo_wd.NeuronRates(sim, {source: np.ones((1, 40, 1))})
            for _ in range(3):
                sim.run_steps(20, progress_bar=False)
                for _ in range(n_records):
                    rates.record()
            ran.append(sim.data[probe])
    np.testing.assert_array_equal(*ran)
    first, second, *_ = rates.rates["a"]
    np.testing.assert_array_equal(first, second)
    assert first.max() > 0


@pytest.mark.generation(3)
def test_layers_that_count_their_calls():
    """What a layer assigns by itself stays as it was."""

    class Counting(tf.keras.layers.Layer):
        def build(self, shape):
            self.count = self.add_weight(name="count", initializer="zeros", trainable=False)

        def call(self, inputs):
            self.count.assign_add(1.0)
            return inputs

    layer = Counting()
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(4), label="source")
        a = nengo.Ensemble(4, 1, label="a", neuron_type=nengo.SpikingRectifiedLinear())
        nengo.Connection(nengo_dl.Layer(layer)(source), a.neurons, synapse=None)
        nengo.Probe(a.neurons)
    with simulator(net) as sim:
        data = {source: np.ones((1, 5, 4))}
        rates = nengo_wd.NeuronRates(sim, data)
        rates.record()
        assert layer.count.numpy() == 0
        sim.predict(data, verbose=0)
        assert layer.count.numpy() == 5


def test_no_epochs_and_no_records():
    """A training that ends before its first epoch has nothing to compare a record with."""
    model = Firing()
    with simulator(model.net, minibatch_size=EXAMPLES) as sim:
        rates = nengo_wd.NeuronRates(sim, model.data)
        rates.on_train_end()
        assert rates.steps.tolist() == [0]


def test_one_time_step_is_warned_of():
    """Where neurons spike: rates are the same in each step."""
    model = Firing()
    with simulator(model.net, minibatch_size=EXAMPLES) as sim:
        with pytest.warns(UserWarning, match="is shown one time step of data"):
            nengo_wd.NeuronRates(sim, {model.source: np.ones((EXAMPLES, 1, 2))})
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            nengo_wd.NeuronRates(sim, {model.source: np.ones((EXAMPLES, 1, 2))}, probes=[model.b])
            shown = {model.source: np.ones((EXAMPLES, 2, 2)).tolist()}
            nengo_wd.NeuronRates(sim, shown).record()


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
        "gap": rates.gaps[1, 0],
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
    tags = {f"{name}/{column}" for name in rates.names for column in ("rate", "gap", "silent")}
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
    firing, silent, gap = nengo_wd.plotting.rates(rates).axes
    for i, (name, line) in enumerate(zip(rates.names, firing.lines)):
        np.testing.assert_array_equal(line.get_ydata(), rates.mean_rates[:, i])
        band = firing.collections[i].get_paths()[0].vertices
        low, high = np.percentile([one[name] for one in expected], (10, 90), axis=1)
        assert band[:, 1].min() == pytest.approx(low.min(), rel=1e-6)
        assert band[:, 1].max() == pytest.approx(high.max(), rel=1e-6)
        np.testing.assert_array_equal(silent.lines[i].get_ydata(), 100 * rates.silent[:, i])
        np.testing.assert_array_equal(gap.lines[i].get_ydata(), rates.gaps[:, i])
    assert [text.get_text() for text in gap.get_legend().get_texts()] == ["first", "b"]
    assert len(nengo_wd.plotting.rates(rates, "b").axes[0].lines) == 1
    assert len(nengo_wd.plotting.rates(rates, rates.probes["b"]).axes[0].lines) == 1
