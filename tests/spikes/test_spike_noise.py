"""Noise of the size that spikes will have, on rates in training."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import (
    GENERATION,
    outputs,
    outputs_in_training,
    sgd,
    simulator,
    train,
    use_dtype,
)

import nengo_wd
from nengo_wd import nengo_dl
from nengo_wd._spike_training import deviation_of_spikes
from nengo_wd.regularizers import FiringRates

RATES = np.array([5, 8, 20, 50, 100, 250, 500])  # Hz
TAUS = np.array([0.002, 0.005, 0.01, 0.02, 0.05])  # s
AMPLITUDE = 0.01


@pytest.fixture(scope="module")
def filtered():
    """Mean and variance of spikes that Nengo has filtered, by time constant and rate."""
    dt, rest, period = 2e-5, 0.4, 1.0  # s; a whole number of spikes of each rate
    with nengo.Network(seed=0) as net:
        neurons = nengo.Ensemble(
            len(RATES),
            1,
            neuron_type=nengo.SpikingRectifiedLinear(),
            gain=np.ones(len(RATES)),
            bias=RATES,
        ).neurons
        probes = [nengo.Probe(neurons, synapse=nengo.Lowpass(tau)) for tau in TAUS]
    with nengo.Simulator(net, dt=dt, progress_bar=False) as sim:
        sim.run(rest + period)
    recorded = np.array([sim.data[probe][-round(period / dt) :] for probe in probes])
    return recorded.mean(axis=1), recorded.var(axis=1)


def test_formula_against_filtered_spikes(filtered):
    means, variances = filtered
    np.testing.assert_allclose(means, np.broadcast_to(RATES, means.shape), rtol=0.02)
    found = evaluated(deviation_of_spikes, RATES[None, :], TAUS[:, None])
    np.testing.assert_allclose(found**2, variances, rtol=0.02)


def evaluated(function, *arrays, dtype=np.float64):
    tensors = [tf.constant(array, dtype) for array in arrays]
    made = function(*tensors)
    if GENERATION == 3:
        return made.numpy()
    with tf.compat.v1.Session() as session:
        return session.run(made)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_formula_in_both_precisions(dtype):
    rates, taus = np.logspace(-3, 3.5, 200), np.logspace(-3.5, 1, 50)[:, None]
    x = 1 / (2 * np.longdouble(rates) * taus)
    exact = np.sqrt(rates / (2 * taus) * (1 / np.tanh(x) - 1 / x))
    found = evaluated(deviation_of_spikes, rates, taus, dtype=dtype)
    np.testing.assert_allclose(found, exact, rtol=1e-5 if dtype == np.float32 else 1e-6)
    np.testing.assert_array_equal(evaluated(deviation_of_spikes, -rates, taus, dtype=dtype), found)


@pytest.mark.parametrize("rate, tau", [(0, 0.02), (50, 0), (0, 0), (50, -0.1)])
def test_no_rate_and_no_time_constant_have_no_noise(rate, tau):
    assert evaluated(deviation_of_spikes, [float(rate)], [float(tau)]) == 0


class Neurons:
    """Neurons that fire regularly at given rates, and weights that read them out."""

    def __init__(self, noise=0.02, rates=RATES, dtype="float32", configured=True, **settings):
        with nengo.Network(seed=0) as self.net:
            if configured:
                nengo_wd.configure_settings()
            nengo_dl.configure_settings(trainable=None, **settings)
            use_dtype(dtype)
            self.source = nengo.Node(np.zeros(1), label="source")
            self.ensemble = nengo.Ensemble(
                len(rates),
                1,
                neuron_type=nengo.SpikingRectifiedLinear(amplitude=AMPLITUDE),
                gain=np.ones(len(rates)),
                bias=rates,
                label="ensemble",
            )
            nengo.Connection(
                self.source, self.ensemble.neurons, transform=np.ones((len(rates), 1)), synapse=None
            )
            end = nengo.Node(size_in=len(rates))
            eye = np.eye(len(rates))
            self.weights = nengo.Connection(self.ensemble.neurons, end, transform=eye, synapse=None)
            self.read = nengo.Probe(end, label="read")
            self.rates = nengo.Probe(self.ensemble.neurons, label="rates")
            self.some = nengo.Probe(self.ensemble.neurons[1:3], label="some")
        if noise is not None:
            self.net.config[nengo.ensemble.Neurons].spike_noise = noise

    def inputs(self, n_examples=4, n_steps=3):
        shape = (n_examples, n_steps, 1)
        return {self.source: np.random.RandomState(3).uniform(-2, 2, shape)}

    def targets(self, n_examples=4, n_steps=3):
        shape = (n_examples, n_steps, self.ensemble.n_neurons)
        return {self.read: np.random.RandomState(4).uniform(0, 2, shape)}

    def simulator(self, n_examples=4, **kwargs):
        return simulator(self.net, minibatch_size=n_examples, **kwargs)


def mse():
    return "mse" if GENERATION == 3 else nengo_dl.objectives.mse


def trained(model, epochs=2, seed=None, data=None, **kwargs):
    """Return the weights after training, without a shuffle."""
    with model.simulator(seed=seed, **kwargs) as sim:
        train(
            sim,
            *(data or (model.inputs(8), model.targets(8))),
            {model.read: mse()},
            sgd(0.1),
            epochs,
        )
        return np.array(sim.data[model.weights].weights)


@pytest.mark.parametrize("tau", TAUS)
def test_noise_has_mean_and_variance_of_filtered_spikes(tau, filtered):
    n_examples, n_steps = 200, 1000
    model = Neurons(noise=float(tau))
    shown = {model.source: np.zeros((n_examples, n_steps, 1))}
    with model.simulator(n_examples) as sim:
        (found,) = outputs_in_training(sim, shown, [model.read])
    found = found.reshape(-1, len(RATES)).astype(np.float64) / AMPLITUDE
    variances = filtered[1][list(TAUS).index(tau)]
    np.testing.assert_allclose(
        found.mean(axis=0), RATES, atol=5 * np.sqrt(variances.max() / len(found)), rtol=0
    )
    np.testing.assert_allclose(found.var(axis=0), variances, rtol=0.02)


def test_noise_is_independent_by_example_step_and_neuron():
    model = Neurons(rates=np.full(20, 50.0))
    with model.simulator(50) as sim:
        (found,) = outputs_in_training(sim, {model.source: np.zeros((50, 40, 1))}, [model.read])
    noise = found / AMPLITUDE - 50
    # of 65,536 values, or of more
    assert len(np.unique(noise)) > 0.95 * 2**16 * (1 - np.exp(-noise.size / 2**16))
    flat = noise.reshape(-1, 20)
    pairs = {
        "neurons": (flat[:, :-1], flat[:, 1:]),
        "steps": (noise[:, :-1], noise[:, 1:]),
        "examples": (noise[:-1], noise[1:]),
    }
    for name, (one, other) in pairs.items():
        correlation = np.corrcoef(one.ravel(), other.ravel())[0, 1]
        assert abs(correlation) < 5 / np.sqrt(one.size), name


# -- what does not change ------------------------------------------------------------------


def test_without_noise_training_is_what_it_was():
    np.testing.assert_array_equal(trained(Neurons(None)), trained(Neurons(None, configured=False)))


@pytest.mark.parametrize("noise", [0.02, 0.001])
def test_prediction_and_loss_are_what_they_were(noise):
    found = []
    for model in (Neurons(noise=None), Neurons(noise=noise)):
        with model.simulator() as sim:
            found.append(outputs(sim, model.inputs(), [model.read, model.rates]))
    for plain, noisy in zip(*found):
        np.testing.assert_array_equal(plain, noisy)


def test_probes_of_neurons_record_rates_without_noise():
    found = []
    for model in (Neurons(noise=None), Neurons()):
        with model.simulator() as sim:
            probes = [model.rates, model.some, model.read]
            found.append(outputs_in_training(sim, model.inputs(), probes))
    for plain, noisy in zip(*(one[:2] for one in found)):
        np.testing.assert_array_equal(plain, noisy)
    assert np.abs(found[0][2] - found[1][2]).min() > 0


@pytest.mark.generation(3)
def test_gradients_do_not_go_through_the_noise():
    """Of sum(c * w * (A * r + noise)), they are c * w * A by r, and c * (A * r + noise) by w."""
    model = Neurons(dtype="float64")
    c = np.random.RandomState(5).uniform(-1, 1, (4, 3, len(RATES)))
    with model.simulator() as sim:
        shown = {"source": model.inputs()[model.source], "n_steps": np.full((4, 1), 3)}
        with tf.GradientTape() as tape:
            noisy = tf.nest.flatten(sim.keras_model(shown, training=True))[0]
            loss = tf.reduce_sum(c * noisy)
        variables = {tuple(v.shape): v for v in sim.keras_model.trainable_variables}
        wanted = [variables[shape] for shape in ((len(RATES),), (len(RATES), len(RATES)))]
        by_bias, by_weight = tape.gradient(loss, wanted)
    np.testing.assert_allclose(by_bias, c.sum(axis=(0, 1)) * AMPLITUDE, rtol=1e-12)
    expected = np.einsum("bti,btj->ij", c, noisy.numpy())
    np.testing.assert_allclose(by_weight, expected, rtol=1e-12)


# -- seeds ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_equal_runs_are_equal():
    first, second = (trained(Neurons()) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - trained(Neurons(noise=None))).max() > 1e-4


@pytest.mark.slow
def test_seed_of_the_simulator_decides():
    first, second = (trained(Neurons(), seed=seed) for seed in (1, 2))
    assert np.abs(first - second).max() > 1e-5


@pytest.mark.slow
def test_batches_have_other_noise():
    """Two epochs of a batch are one epoch of two; two batches of equal noise would be others."""
    model = Neurons()
    data = model.inputs(), model.targets()
    twice = [{key: np.concatenate([x, x]) for key, x in part.items()} for part in data]
    epochs = trained(model, 2, data=data)
    np.testing.assert_array_equal(epochs, trained(model, 1, data=twice))
    first = trained(model, 1, data=data)
    with model.simulator() as sim:
        before = np.array(sim.data[model.weights].weights)
    assert np.abs((epochs - first) - (first - before)).max() > 1e-5


@pytest.mark.generation(3)
@pytest.mark.traced
@pytest.mark.slow
@pytest.mark.parametrize("compiles", [False, True])
def test_resumed_training_goes_on_with_the_same_noise(compiles, tmp_path):
    model = Neurons(stateful=False)
    data = model.inputs(8), model.targets(8)

    def fit(sim, epochs):
        sim.fit(*data, epochs=epochs, shuffle=False, verbose=0)
        return np.array(sim.data[model.weights].weights)

    def compiled(sim):
        sim.compile(tf.keras.optimizers.Adam(0.01), loss={model.read: "mse"}, jit_compile=compiles)
        return sim

    with model.simulator() as sim:
        whole = fit(compiled(sim), 4)
    with model.simulator() as sim:
        fit(compiled(sim), 2)
        path = tf.train.Checkpoint(sim.keras_model).save(str(tmp_path / "state"))
    with model.simulator() as sim:
        tf.train.Checkpoint(compiled(sim).keras_model).restore(path)
        np.testing.assert_array_equal(fit(sim, 2), whole)


@pytest.mark.generation(3)
@pytest.mark.traced
def test_xla_has_the_same_noise():
    model, found = Neurons(), []
    for compiles in (False, True):
        with model.simulator() as sim:
            found += outputs_in_training(sim, model.inputs(), [model.read], compiles)
    np.testing.assert_allclose(*found, rtol=1e-5)


@pytest.mark.slow
def test_loops_of_all_kinds_have_the_same_noise():
    found = []
    for settings, unrolled in (({}, 1), ({}, 3), ({"use_loop": False}, 3)):
        if GENERATION == 3 or not settings:
            model = Neurons(**settings)
            with model.simulator(unroll_simulation=unrolled) as sim:
                found += outputs_in_training(sim, model.inputs(), [model.read])
    for one in found[1:]:
        np.testing.assert_allclose(one, found[0], rtol=1e-6)


# -- where, and how large ------------------------------------------------------------------


def noise_of(model, sim):
    """Return the standard deviation of the noise of each neuron."""
    shown = {model.source: np.zeros((50, 40, 1))}
    noisy, rates = outputs_in_training(sim, shown, [model.read, model.rates])
    return np.std(noisy - rates, axis=(0, 1)) / AMPLITUDE


@pytest.mark.parametrize("value, factor", [(0.02, 1), (None, 0)])
def test_objects_and_subnetworks_win_over_classes(value, factor):
    one = dict(neuron_type=nengo.SpikingRectifiedLinear(), gain=np.ones(1), bias=np.full(1, 50.0))
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings()
        net.config[nengo.ensemble.Neurons].spike_noise = 0.005
        source = nengo.Node(np.zeros(1))
        by_class, by_object = (nengo.Ensemble(1, 1, **one) for _ in range(2))
        net.config[by_object.neurons].spike_noise = value
        with nengo.Network() as inner:
            nengo_wd.configure_settings()
            inner.config[nengo.ensemble.Neurons].spike_noise = value
            inside = nengo.Ensemble(1, 1, **one)
        probes = []
        for ensemble in (by_class, by_object, inside):
            nengo.Connection(source, ensemble.neurons, transform=[[1]], synapse=None)
            end = nengo.Node(size_in=1)
            nengo.Connection(ensemble.neurons, end, synapse=None)
            probes.append(nengo.Probe(end))
    with simulator(net, minibatch_size=50) as sim:
        found = outputs_in_training(sim, {source: np.zeros((50, 100, 1))}, probes)
    by_tau = [float(evaluated(deviation_of_spikes, [50.0], [tau])[0]) for tau in (0.005, 0.02)]
    expected = [by_tau[0], factor * by_tau[1], factor * by_tau[1]]
    np.testing.assert_allclose(np.std(found, axis=(1, 2))[:, 0], expected, rtol=0.05)


@pytest.mark.generation(3)
def test_variables_change_at_once():
    tau = tf.Variable(0.0, trainable=False)
    model = Neurons(noise=tau)
    with model.simulator(50) as sim:
        for value in (0.0, 0.02, 0.005):
            tau.assign(value)
            expected = evaluated(deviation_of_spikes, RATES, [value])
            np.testing.assert_allclose(noise_of(model, sim), expected, rtol=0.1)


@pytest.mark.generation(3)
@pytest.mark.slow
def test_schedules_have_their_value_at_the_training_step():
    schedule = tf.keras.optimizers.schedules.PiecewiseConstantDecay([1, 3], [0.05, 0.02, 0.005])
    model = Neurons(noise=schedule)
    with model.simulator(50) as sim:
        sim.compile(sgd(0.0), loss={model.read: "mse"})
        for step, tau in ((0, 0.05), (1, 0.05), (2, 0.02), (4, 0.005)):
            sim.keras_model.optimizer.iterations.assign(step)
            expected = evaluated(deviation_of_spikes, RATES, [tau])
            np.testing.assert_allclose(noise_of(model, sim), expected, rtol=0.1)


@pytest.mark.generation(3)
def test_schedules_need_an_optimizer_that_counts():
    model = Neurons(noise=tf.keras.optimizers.schedules.ExponentialDecay(0.05, 10, 0.5))
    with model.simulator() as sim:
        with pytest.raises(RuntimeError, match="no training step to look a schedule up at"):
            outputs_in_training(sim, model.inputs(), [model.read])


def test_penalties_on_rates_leave_the_noise_out():
    found = []
    for noise in (None, 0.005):
        model = Neurons(noise=noise, rates=np.array([1.0, 3.0, 10.0]))
        model.net.config[model.rates].regularizer = FiringRates(5, 8, l2=1.0)
        with model.simulator() as sim:
            loss = nengo_wd.regularized_objective(sim, {model.read: zero_loss})
            train(sim, model.inputs(), model.targets(), loss, sgd(0.001))
            found.append(np.array(sim.data[model.ensemble].bias))
    np.testing.assert_allclose(*found, rtol=1e-6)
    assert np.abs(found[0] - [1.0, 3.0, 10.0]).max() > 1e-3


def zero_loss(y_true, y_pred):
    return 0 * tf.reduce_sum(y_pred)
