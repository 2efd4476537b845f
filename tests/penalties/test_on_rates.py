"""Firing rates as settings on probes of neurons."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from by_hand import rate_penalty
from generations import (
    assign,
    outputs,
    sgd,
    simulator,
    tensor_node,
    total_loss,
    train,
    use_dtype,
    variable,
)
from nengo.exceptions import ValidationError

import nengo_wd
from nengo_wd import nengo_dl
from nengo_wd.regularizers import FiringRates

ARGUMENTS = {
    "range": dict(minimum=20, maximum=60, l1=0.5, l2=0.25),
    "percentile": dict(minimum=20, maximum=60, l1=0.5, l2=0.25, percentile=70),
}
EXAMPLES = 6


class Recorded:
    """An ensemble with a penalty on its rates, in a precision."""

    def __init__(self, regularizer, neuron_type, dtype="float32", neurons=None, **kwargs):
        with nengo.Network(seed=0) as self.net:
            use_dtype(dtype)
            nengo_wd.configure_settings()
            self.source = nengo.Node(np.zeros(2))
            self.ensemble = nengo.Ensemble(5, 2, neuron_type=neuron_type, label="ensemble")
            nengo.Connection(self.source, self.ensemble, synapse=None)
            every = self.ensemble.neurons
            some = every if neurons is None else every[neurons]
            self.rates = nengo.Probe(some, label="rates", **kwargs)
            self.probe = nengo.Probe(self.ensemble, label="decoded")
            self.net.config[self.rates].regularizer = regularizer

    def data(self, rng, n_steps):
        inputs = {self.source: rng.uniform(-1, 1, size=(EXAMPLES, n_steps, 2))}
        return inputs, {self.probe: rng.uniform(-1, 1, size=(EXAMPLES, n_steps, 2))}


def penalty_and_rates(model, rng, n_steps, amplitude, minibatch_size=EXAMPLES):
    """Return the penalty as the simulator reports it, and the rates that it is about."""
    inputs, targets = model.data(rng, n_steps)
    with simulator(model.net, minibatch_size=minibatch_size) as sim:
        objective = nengo_wd.regularized_objective(sim, {model.probe: "mse"})
        total = total_loss(sim, inputs, targets, objective)
        decoded, activity = outputs(sim, inputs, [model.probe, model.rates])
    assert activity.shape[1] == n_steps
    error = np.mean((decoded.astype(np.float64) - targets[model.probe]) ** 2)
    return total - error, np.abs(activity.astype(np.float64)).mean(axis=1) / amplitude


@pytest.mark.parametrize("amplitude, n_steps", [(1.0, 1), (0.01, 7)])
@pytest.mark.parametrize("form", ARGUMENTS)
def test_penalty_equals_that_of_numpy(form, amplitude, n_steps, rng):
    """In float32, with one time step or several."""
    model = Recorded(FiringRates(**ARGUMENTS[form]), nengo.LIFRate(amplitude=amplitude))
    penalty, rates = penalty_and_rates(model, rng, n_steps, amplitude)
    assert penalty == pytest.approx(rate_penalty(rates, **ARGUMENTS[form]), rel=1e-4)
    assert np.std(rates) > 10


@pytest.mark.parametrize("form", ARGUMENTS)
def test_penalty_on_spikes(form, rng):
    """What is reported without training is about spikes, whose rates are those over time."""
    model = Recorded(FiringRates(**ARGUMENTS[form]), nengo.LIF(amplitude=0.1), "float64")
    penalty, rates = penalty_and_rates(model, rng, 40, 0.1)
    assert np.allclose(rates * 40 / 1000, np.round(rates * 40 / 1000))  # whole spikes
    assert penalty == pytest.approx(rate_penalty(rates, **ARGUMENTS[form]), rel=1e-9)


def test_percentile_is_that_of_each_minibatch(rng):
    arguments = ARGUMENTS["percentile"]
    model = Recorded(FiringRates(**arguments), nengo.LIFRate(), "float64")
    penalty, rates = penalty_and_rates(model, rng, 1, 1.0, minibatch_size=3)
    of_batches = [rate_penalty(batch, **arguments) for batch in np.split(rates, 2)]
    assert penalty == pytest.approx(np.mean(of_batches), rel=1e-9)


@pytest.mark.parametrize("neuron_type", [nengo.Sigmoid(), nengo_dl.SoftLIFRate(amplitude=0.5)])
def test_other_neurons(neuron_type, rng):
    model = Recorded(FiringRates(**ARGUMENTS["range"]), neuron_type, "float64")
    amplitude = getattr(neuron_type, "amplitude", 1)
    penalty, rates = penalty_and_rates(model, rng, 2, amplitude)
    assert penalty == pytest.approx(rate_penalty(rates, **ARGUMENTS["range"]), rel=1e-9)


@pytest.mark.generation(3)
@pytest.mark.parametrize("form", ARGUMENTS)
def test_spikes_of_either_sign(form, rng):
    """Rates are magnitudes: a spike counts whatever its sign."""
    neuron_type = nengo_dl.SpikingLeakyReLU(negative_slope=0.5, amplitude=0.1)
    model = Recorded(FiringRates(**ARGUMENTS[form]), neuron_type, "float64")
    model.ensemble.gain, model.ensemble.bias = np.full(5, 200.0), np.full(5, 5.0)
    penalty, rates = penalty_and_rates(model, rng, 40, 0.1)
    assert penalty == pytest.approx(rate_penalty(rates, **ARGUMENTS[form]), rel=1e-9)


@pytest.mark.generation(3)
@pytest.mark.parametrize("minimum, maximum, towards", [(150, None, 1), (0, 20, -1)])
def test_gradients_of_either_sign(minimum, maximum, towards):
    """Magnitudes move towards the range, and a silent neuron wakes with a positive output."""
    neuron_type = nengo_dl.LeakyReLU(negative_slope=0.5, amplitude=0.1)
    model = Recorded(FiringRates(minimum, maximum, l1=1.0), neuron_type, "float64")
    before = np.array([100.0, -100, 0, 120, -60])
    model.ensemble.gain, model.ensemble.bias = np.ones(5), before
    inputs = {model.source: np.zeros((EXAMPLES, 1, 2))}
    with simulator(model.net, minibatch_size=EXAMPLES) as sim:
        targets = {model.probe: outputs(sim, inputs, [model.probe])[0]}  # of no other gradient
        objective = nengo_wd.regularized_objective(sim, {model.probe: "mse"})
        train(sim, inputs, targets, objective, sgd(10.0))
        change = sim.data[model.ensemble].bias - before
    silent = 1 if minimum else 0
    np.testing.assert_allclose(change, 2.0 * towards * np.array([1, -0.5, silent, 1, -0.5]))


@pytest.mark.parametrize("probe", [dict(neurons=[3, 1]), dict(sample_every=0.003)])
def test_some_neurons_and_all_steps(probe, rng):
    """A probe of some neurons is about these; each step counts, whichever are shown."""
    model = Recorded(FiringRates(**ARGUMENTS["range"]), nengo.LIFRate(), "float64", **probe)
    penalty, rates = penalty_and_rates(model, rng, 7, 1.0)
    assert rates.shape == (EXAMPLES, len(probe.get("neurons", range(5))))
    assert penalty == pytest.approx(rate_penalty(rates, **ARGUMENTS["range"]), rel=1e-9)


@pytest.mark.parametrize("minimum, maximum, n_steps", [(200, None, 1), (0, 5, 3)])
def test_training_moves_rates_towards_the_range(minimum, maximum, n_steps, rng):
    """Spiking neurons are trained on their rates, and without targets for the probe."""
    model = Recorded(FiringRates(minimum, maximum, l2=1e-3), nengo.LIF(amplitude=0.01))
    inputs, targets = model.data(rng, n_steps)
    long = {model.source: np.tile(inputs[model.source][:, :1], (1, 100, 1))}
    means = []
    with simulator(model.net, minibatch_size=EXAMPLES) as sim:
        means.append(outputs(sim, long, [model.rates])[0].mean() / 0.01)
        objective = nengo_wd.regularized_objective(sim, {model.probe: "mse"})
        train(sim, inputs, targets, objective, sgd(0.1), epochs=20)
        means.append(outputs(sim, long, [model.rates])[0].mean() / 0.01)
    assert (means[1] > means[0] + 10) if minimum else (means[1] < means[0] - 10)


def test_strength_that_is_a_variable(rng):
    model = Recorded(None, nengo.LIFRate(), "float64")
    inputs, targets = model.data(rng, 1)
    with simulator(model.net, minibatch_size=EXAMPLES) as sim:
        strength = variable(sim, np.float64(0.0))
        model.net.config[model.rates].regularizer = FiringRates(10, 30, l1=strength)
        objective = nengo_wd.regularized_objective(sim, {model.probe: "mse"})
        totals = []
        for value in (0.0, 1.0, 3.0):
            assign(sim, strength, value)
            totals.append(total_loss(sim, inputs, targets, objective))
    assert totals[2] - totals[0] == pytest.approx(3 * (totals[1] - totals[0]), rel=1e-9)
    assert totals[1] > totals[0] + 1


def test_neurons_behind_a_layer(rng):
    with nengo.Network(seed=0) as net:
        use_dtype("float64")
        nengo_wd.configure_settings()
        source = nengo.Node(np.zeros(2))
        x = tensor_node(lambda *args: 100 * args[-1], 2, 2)
        nengo.Connection(source, x, synapse=None)
        neurons = nengo_dl.tensor_layer(x, nengo.RectifiedLinear(amplitude=0.5), synapse=None)
        probe = nengo.Probe(neurons)
        net.config[nengo.Probe].regularizer = FiringRates(**ARGUMENTS["range"])
        decoded = nengo.Probe(x)  # which is none of neurons, as the class setting allows
    inputs = {source: rng.uniform(0, 1, size=(4, 2, 2))}
    with simulator(net, minibatch_size=4) as sim:
        objective = nengo_wd.regularized_objective(sim, {decoded: "mse"})
        total = total_loss(sim, inputs, {decoded: np.zeros((4, 2, 2))}, objective)
        shown, activity = outputs(sim, inputs, [decoded, probe])
    penalty = rate_penalty(activity.mean(axis=1) / 0.5, **ARGUMENTS["range"])
    assert total == pytest.approx(np.mean(shown**2) + penalty, rel=1e-9)
    assert penalty > 1


@pytest.mark.generation(3)
def test_converted_model(rng):
    """Neurons whose rates are scaled have an amplitude of their own."""
    inputs = tf.keras.Input((3,))
    hidden = tf.keras.layers.Dense(4, "relu", bias_initializer="ones", name="hidden")
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(2)(hidden(inputs)))
    converter = nengo_wd.Converter(model, scale_firing_rates=50)
    with converter.net:
        nengo_wd.configure_settings()
        rates = nengo.Probe(converter.layers[hidden])
    converter.net.config[rates].regularizer = FiringRates(**ARGUMENTS["range"])
    x = rng.uniform(-1, 1, size=(4, 1, 3))
    with simulator(converter.net, minibatch_size=4) as sim:
        objective = nengo_wd.regularized_objective(sim, None)
        sim.compile(loss=objective)
        total = sim.evaluate({converter.inputs[inputs]: x}, verbose=0)["loss"]
    by_keras = tf.keras.Model(inputs, model.layers[1].output).predict(x[:, 0], verbose=0)
    assert total == pytest.approx(rate_penalty(50 * by_keras, **ARGUMENTS["range"]), rel=1e-4)


@pytest.mark.parametrize("neurons, n_steps", [(None, 1), ([3, 1], 3)])
def test_minimum_wakes_silent_neurons(neurons, n_steps, rng):
    """Neurons far below their threshold for each example, which have no gradient otherwise.

    The first neuron is not silent, so that there are decoders for the other probe.
    """
    model = Recorded(FiringRates(10, 30, l1=1e-2), nengo.LIF(amplitude=0.01), neurons=neurons)
    model.ensemble.gain, model.ensemble.bias = np.full(5, 0.5), np.array([1.2, -1, -1, -1, -1])
    inputs, targets = model.data(rng, n_steps)
    long = {model.source: np.tile(inputs[model.source][:, :1], (1, 200, 1))}
    means = []
    with simulator(model.net, minibatch_size=EXAMPLES) as sim:
        means.append(outputs(sim, long, [model.rates])[0].mean(axis=(0, 1)) / 0.01)
        objective = nengo_wd.regularized_objective(sim, {model.probe: "mse"})
        train(sim, inputs, targets, objective, sgd(0.3), epochs=80)
        means.append(outputs(sim, long, [model.rates])[0].mean(axis=(0, 1)) / 0.01)
    silent = means[0] == 0
    assert np.sum(silent) == (4 if n_steps == 1 else 2)
    assert np.all(means[1][silent] > 5)


def test_each_probe_wakes_its_own_neurons():
    """Whatever the ensembles' order, a part of one or all of it, and whatever their neurons."""
    with nengo.Network(seed=0) as net:
        use_dtype("float64")
        nengo_wd.configure_settings()
        source = nengo.Node(np.zeros(1))
        types = (nengo.RectifiedLinear(), nengo.LIFRate(amplitude=0.5), nengo.RectifiedLinear())
        ensembles = [
            nengo.Ensemble(3, 1, neuron_type=one, gain=np.ones(3), bias=np.full(3, -2.0))
            for one in types
        ]
        for ensemble in ensembles:
            nengo.Connection(source, ensemble, synapse=None)
        parts = (slice(None, 2), None, [2])
        for ensemble, part in zip(ensembles, parts):
            every = ensemble.neurons
            probe = nengo.Probe(every if part is None else every[part])
            net.config[probe].regularizer = FiringRates(1, l1=3.0)
        decoded = nengo.Probe(source)
    inputs, targets = {source: np.zeros((2, 3, 1))}, {decoded: np.zeros((2, 3, 1))}
    with simulator(net, minibatch_size=2) as sim:
        objective = nengo_wd.regularized_objective(sim, {decoded: "mse"})
        train(sim, inputs, targets, objective, sgd(0.125))
        biases = [sim.data[ensemble].bias for ensemble in ensembles]
    slopes = (1, 1 / 0.02, 1)  # of rates in Hz
    for bias, part, slope in zip(biases, parts, slopes):
        expected = np.full(3, -2.0)
        woken = slice(None) if part is None else part
        expected[woken] += 0.125 * 3 * slope / len(expected[woken])
        np.testing.assert_allclose(bias, expected, rtol=1e-9)


def test_gradients_beside_the_probe_stay():
    """What else a silent neuron is connected to is trained as without the probe."""
    biases = []
    for regularizer in (FiringRates(10, l1=1e-30), None):
        model = Recorded(regularizer, nengo.LIFRate(), "float64")
        model.ensemble.gain, model.ensemble.bias = np.ones(5), np.array([-1.0, 2, 3, -1, 2])
        inputs = {model.source: np.full((EXAMPLES, 1, 2), 0.1)}
        targets = {model.probe: np.ones((EXAMPLES, 1, 2))}
        with simulator(model.net, minibatch_size=EXAMPLES) as sim:
            objective = nengo_wd.regularized_objective(sim, {model.probe: "mse"})
            train(sim, inputs, targets, objective, sgd(0.1))
            sim.freeze_params(model.net)
            biases.append(np.array(model.ensemble.bias))
    np.testing.assert_allclose(biases[0], biases[1], rtol=1e-12)
    assert biases[0][1] != 2 and biases[0][0] == -1


@pytest.mark.generation(3)
def test_spikes_after_training_are_near_the_range(rng):
    """The mean distance from 10 to 30 Hz is a third of that before, or less."""
    with nengo.Network(seed=0) as net:
        nengo_dl.configure_settings(trainable=None)
        nengo_wd.configure_settings()
        source = nengo.Node(np.zeros(8))
        x = nengo_dl.Layer(nengo_wd.RegularizedDense(30, kernel_regularizer=None))(source)
        rates = nengo.Probe(nengo_dl.Layer(nengo.LIF(amplitude=0.01))(x))
        net.config[rates].regularizer = FiringRates(10, 30, l2=1e-3)
    x = rng.uniform(-1, 1, size=(128, 1, 8))
    distances = []
    with simulator(net, minibatch_size=32) as sim:

        def add_distance():
            spikes = sim.predict({source: np.tile(x[:32], (1, 500, 1))}, verbose=0)[rates]
            distances.append(rate_penalty(spikes.mean(axis=1) / 0.01, 10, 30, l1=1))

        add_distance()
        optimizer = tf.keras.optimizers.Adam(0.01)
        sim.compile(optimizer, loss=nengo_wd.regularized_objective(sim, None))
        sim.fit({source: x}, epochs=40, verbose=0)
        add_distance()
    assert distances[1] < distances[0] / 3


def test_probe_that_keeps_its_last_step():
    model = Recorded(FiringRates(10, 30, l1=1), nengo.LIF())
    with model.net:
        nengo_dl.configure_settings(keep_history=False)
    with simulator(model.net) as sim:
        with pytest.raises(ValidationError, match="rates.* keeps the last time step alone"):
            nengo_wd.regularized_objective(sim, {model.probe: "mse"})
        with pytest.raises(ValidationError, match="rates.* keeps the last time step alone"):
            nengo_wd.NeuronRates(sim, {model.source: np.ones((1, 5, 2))})


@pytest.mark.parametrize("own", ["decoded", "filtered", "input"])
def test_probe_without_rates(own):
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings()
        ensemble = nengo.Ensemble(5, 2, label="ensemble")
        probes = {
            "decoded": nengo.Probe(ensemble, label="decoded"),
            "filtered": nengo.Probe(ensemble.neurons, synapse=0.1, label="filtered"),
            "input": nengo.Probe(ensemble.neurons, "input", label="input"),
        }
        net.config[probes[own]].regularizer = FiringRates(10, 30, l1=1)
    with simulator(net) as sim, pytest.raises(ValidationError, match=f"{own}.* but records"):
        nengo_wd.regularized_objective(sim, {probes[own]: "mse"})
