"""Training with spikes: outputs of prediction, with the gradients of rates."""

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
    use_dtype,
)

import nengo_wd
from nengo_wd import nengo_dl
from nengo_wd.regularizers import FiringRates

N_NEURONS, N_EXAMPLES, N_STEPS = 12, 3, 40
TYPES = {
    "LIF": lambda: nengo.LIF(amplitude=0.02),
    "SpikingRectifiedLinear": lambda: nengo.SpikingRectifiedLinear(amplitude=0.5),
}
if GENERATION == 3:
    TYPES.update(
        AdaptiveLIF=lambda: nengo.AdaptiveLIF(tau_n=0.05, inc_n=0.005),
        Izhikevich=nengo.Izhikevich,
        RegularSpiking=lambda: nengo.RegularSpiking(nengo.Tanh(), amplitude=0.1),
        SpikingLeakyReLU=lambda: nengo_dl.SpikingLeakyReLU(negative_slope=0.2),
    )
RANDOM = ("PoissonSpiking", "StochasticSpiking")
SCALES = {"SpikingRectifiedLinear": 200.0, "SpikingLeakyReLU": 200.0, "Izhikevich": 20.0}


class Spiking:
    """Two layers of neurons, on constant inputs to the first one."""

    def __init__(self, neuron_type, aware=True, dtype="float64", n_layers=2, smoothing=None):
        scale = self.scale = SCALES.get(type(neuron_type).__name__, 3.0)
        with nengo.Network(seed=0) as self.net:
            nengo_wd.configure_settings()
            nengo_dl.configure_settings(trainable=None)
            if smoothing is not None:
                nengo_dl.configure_settings(lif_smoothing=smoothing)
            use_dtype(dtype)
            self.source = nengo.Node(np.zeros(N_NEURONS), label="source")
            x = self.source
            self.probes, self.layers = [], []
            for i in range(n_layers):
                ensemble = nengo.Ensemble(
                    N_NEURONS,
                    1,
                    neuron_type=neuron_type,
                    gain=np.ones(N_NEURONS),
                    bias=np.full(N_NEURONS, scale / 3),
                )
                transform = np.random.RandomState(i).uniform(-1, 1, (N_NEURONS, N_NEURONS))
                nengo.Connection(
                    x,
                    ensemble.neurons,
                    transform=scale * (transform if i else np.eye(N_NEURONS)),
                    synapse=0.01 if i else None,
                )
                x = ensemble.neurons
                self.layers.append(ensemble)
                self.probes.append(nengo.Probe(x))
        if aware:
            self.net.config[nengo.ensemble.Neurons].spiking_aware_training = True

    def inputs(self, n_steps=N_STEPS):
        values = np.random.RandomState(1).uniform(-1, 1, (N_EXAMPLES, 1, N_NEURONS))
        return {self.source: np.tile(values, (1, n_steps, 1))}

    def simulator(self, **kwargs):
        return simulator(self.net, minibatch_size=N_EXAMPLES, **kwargs)


@pytest.mark.traced
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", TYPES)
def test_outputs_are_those_of_prediction(name, dtype):
    model = Spiking(TYPES[name](), dtype=dtype)
    with model.simulator() as sim:
        predicted = outputs(sim, model.inputs(), model.probes)
    with model.simulator() as sim:
        spikes = outputs_in_training(sim, model.inputs(), model.probes)
    for one, other in zip(spikes, predicted):
        np.testing.assert_array_equal(one, other)
        assert 0 < np.count_nonzero(one) < one.size


@pytest.mark.generation(3)
@pytest.mark.traced
@pytest.mark.slow
@pytest.mark.parametrize("name", TYPES)
def test_outputs_are_those_of_prediction_where_xla_compiles(name):
    model = Spiking(TYPES[name](), dtype="float32")
    with model.net:
        nengo_wd.configure_settings(jit_compile=True)
    with model.simulator() as sim:
        predicted = outputs(sim, model.inputs(), model.probes)
    with model.simulator() as sim:
        spikes = outputs_in_training(sim, model.inputs(), model.probes, compiles=True)
    for one, other in zip(spikes, predicted):
        np.testing.assert_array_equal(one, other)


@pytest.mark.generation(3)
@pytest.mark.parametrize("name", RANDOM)
def test_neurons_that_spike_at_random_do_in_training(name):
    """They draw other numbers in training than in prediction, of the same distribution."""
    model = Spiking(getattr(nengo, name)(nengo.LIFRate()), n_layers=1)
    with model.simulator() as sim:
        (spikes,) = outputs_in_training(sim, model.inputs(2000), model.probes)
        (predicted,) = outputs(sim, model.inputs(2000), model.probes)
    np.testing.assert_allclose(np.unique(spikes % 1000), [0])
    rates = predicted.mean(axis=1)
    assert (np.abs(spikes.mean(axis=1) - rates) < 6 * np.sqrt(np.maximum(rates, 1) / 2)).all()
    assert rates.max() > 20


# -- gradients -----------------------------------------------------------------------------


def gradients(sim, model, inputs, weights, probe):
    """Return the gradients of a weighted sum of outputs in training by the inputs."""
    shown = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(shown)
        steps = tf.fill((N_EXAMPLES, 1), inputs.shape[1])
        found = sim.keras_model(
            {sim.get_name(model.source): shown, "n_steps": steps}, training=True
        )
        found = dict(zip(sim.model.probes, tf.nest.flatten(found)))
        loss = tf.reduce_sum(weights * found[probe])
    return tape.gradient(loss, shown).numpy()


@pytest.mark.generation(3)
@pytest.mark.parametrize(
    "name, smoothing", [*((name, None) for name in (*TYPES, *RANDOM)), ("LIF", 0.05)]
)
@pytest.mark.slow
def test_gradients_are_those_of_rates(name, smoothing):
    """They are compared with finite differences of what other neurons output in training."""
    kind = TYPES.get(name, lambda: getattr(nengo, name)(nengo.LIFRate()))
    model = Spiking(kind(), n_layers=1, smoothing=smoothing)
    inputs = model.inputs()[model.source]
    weights = np.random.RandomState(2).uniform(-1, 1, inputs.shape)
    with model.simulator() as sim:
        found = gradients(sim, model, inputs, weights, model.probes[0])
    # at an adaptation that follows spikes, their rates are those of LIF
    with model.simulator() as sim:
        (spikes,) = outputs_in_training(sim, {model.source: inputs}, model.probes)
    shifted = inputs - adaptation(kind(), spikes) / model.scale
    neurons = nengo.LIF() if name == "AdaptiveLIF" else kind()
    other = Spiking(neurons, aware=False, n_layers=1, smoothing=smoothing)
    with other.simulator() as sim:
        up, down = (
            outputs_in_training(sim, {other.source: shifted + shift}, other.probes)[0]
            for shift in (1e-6, -1e-6)
        )
    expected = weights * (up - down) / 2e-6
    is_near = np.abs(found - expected) < 1e-4 * (1 + np.abs(expected))
    assert is_near.mean() > 0.97  # but for kinks between both
    assert np.count_nonzero(found) > found.size / 5


def adaptation(neurons, spikes, dt=0.001):
    """Return what adaptive neurons subtract from their current at each step, by Nengo's formula."""
    found = np.zeros_like(spikes)
    for t in range(spikes.shape[1] - 1 if isinstance(neurons, nengo.AdaptiveLIF) else 0):
        change = neurons.inc_n * spikes[:, t] - found[:, t]
        found[:, t + 1] = found[:, t] + dt / neurons.tau_n * change
    return found


@pytest.mark.generation(3)
def test_no_gradient_goes_through_states():
    """The output at a step depends on earlier inputs, and its gradient on those of the step."""
    model = Spiking(nengo.LIF(), n_layers=1)
    weights = np.zeros((N_EXAMPLES, N_STEPS, N_NEURONS))
    weights[:, 20] = 1
    with model.simulator() as sim:
        found = gradients(sim, model, model.inputs()[model.source], weights, model.probes[0])
    assert np.count_nonzero(found[:, 20]) and not np.count_nonzero(np.delete(found, 20, axis=1))


# -- settings, penalties -------------------------------------------------------------------


def test_only_those_that_are_asked_spike():
    model, plain = (Spiking(nengo.LIF(), aware=False) for _ in range(2))
    model.net.config[model.layers[0].neurons].spiking_aware_training = True
    with model.simulator() as sim:
        predicted = outputs(sim, model.inputs(), model.probes)
    with model.simulator() as sim:
        found = outputs_in_training(sim, model.inputs(), model.probes)
    with plain.simulator() as sim:
        rates = outputs_in_training(sim, plain.inputs(), plain.probes)
    np.testing.assert_array_equal(found[0], predicted[0])
    assert len(np.unique(found[1])) > 10 and len(np.unique(predicted[1])) == 2
    assert np.abs(found[1] - rates[1]).max() > 0  # since spikes come in


@pytest.mark.generation(3)
@pytest.mark.parametrize("minimum", [0, 100])
def test_penalties_are_on_spikes_with_gradients_of_rates(minimum):
    """The penalty is on the rate of spikes; its gradient is the slope of rates, or of a line."""
    model = Spiking(nengo.SpikingRectifiedLinear(), n_layers=1)
    regularizer = FiringRates(minimum, minimum, l1=0.5)
    model.net.config[model.probes[0]].regularizer = regularizer
    with model.simulator() as sim:
        (spikes,) = outputs(sim, model.inputs(), model.probes)
    with model.simulator() as sim:
        loss = nengo_wd.regularized_objective(sim, {model.probes[0]: "mse"})
        sim.compile(sgd(0.0), loss=loss)
        steps = {"n_steps": np.full((N_EXAMPLES, 1), N_STEPS)}
        inputs = tf.constant(model.inputs()[model.source])
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            sim.keras_model({"source": inputs, **steps}, training=True)
            (penalty,) = sim.tensor_graph.losses
        found = tape.gradient(penalty, inputs).numpy()
        currents = model.scale * inputs.numpy() + sim.data[model.layers[0]].bias
    rates = spikes.mean(axis=1)
    assert float(penalty) == pytest.approx(0.5 * np.abs(rates - minimum).mean())
    slopes = np.sign(rates - minimum)[:, None] * 0.5 / rates.size / N_STEPS * model.scale
    is_wanted = (currents > 0) | (minimum > 0)  # those that are silent, too
    np.testing.assert_allclose(found, np.where(is_wanted, slopes, 0), atol=1e-12)
