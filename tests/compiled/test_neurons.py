"""Neurons that NengoDL would run in Python: as in nengo.Simulator, and with gradients."""

import contextlib

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import GENERATION, simulator, use_dtype
from nengo.dists import Choice, Uniform
from nengo.neurons import settled_firingrate

import nengo_wd
from nengo_wd import nengo_dl

if GENERATION != 3:  # Nengo has not all of these neurons there
    pytest.skip("neurons of NengoDL 3", allow_module_level=True)

N_NEURONS, N_STEPS, DT = 4, 200, 0.001
TYPES = {
    nengo.AdaptiveLIF: [
        {},
        {"tau_n": 0.1, "inc_n": 0.1, "tau_rc": 0.03, "tau_ref": 0.0015, "amplitude": 0.5},
        {
            "tau_n": 0.2,
            "min_voltage": -1,
            "initial_state": {
                "voltage": Uniform(-1, 1),
                "refractory_time": Uniform(0, 0.005),
                "adaptation": Uniform(0, 3),
            },
        },
        {"tau_ref": 0, "inc_n": 0},
    ],
    nengo.AdaptiveLIFRate: [
        {},
        {"tau_n": 0.1, "inc_n": 0.02, "tau_rc": 0.03, "tau_ref": 0.004, "amplitude": 2},
        {"tau_n": 0.5, "initial_state": {"adaptation": Uniform(0, 3)}},
    ],
    nengo.Izhikevich: [
        {},
        {"reset_voltage": -55, "reset_recovery": 4},
        {"tau_recovery": 0.1, "initial_state": {"recovery": Uniform(-15, 0)}},
        {"coupling": 0.25, "initial_state": {"voltage": Uniform(-70, -50)}},
    ],
}
CURRENTS = {nengo.Izhikevich: (0, 20)}  # of the others: (-1, 6)
BOTH = pytest.mark.parametrize("compiles", [False, True], ids=["uncompiled", "compiled"])


class Populations:
    """A network of neurons of one type with several parameters, with currents from a Node."""

    def __init__(self, kinds, currents, dtype, compiles=False):
        with nengo.Network(seed=1) as self.net:
            use_dtype(dtype)
            nengo_wd.configure_settings(jit_compile=compiles)
            self.node = nengo.Node(lambda t: currents[round(t / DT) - 1], size_out=N_NEURONS)
            self.probes = []
            for neurons in kinds:
                ens = nengo.Ensemble(
                    N_NEURONS, 1, gain=Choice([1]), bias=Choice([0]), neuron_type=neurons
                )
                nengo.Connection(self.node, ens.neurons, synapse=None)
                self.probes += [nengo.Probe(ens.neurons, key) for key in neurons.probeable]


def currents_of(kind, rng, n_steps=N_STEPS):
    """Return currents that change every ten steps, as numbers that float32 has."""
    low, high = CURRENTS.get(kind, (-1, 6))
    return rng.uniform(low, high, (n_steps, N_NEURONS)).astype(np.float32).repeat(10, 0)[:n_steps]


@BOTH
@pytest.mark.parametrize(
    "kind, dtype, tolerance",
    [
        (nengo.AdaptiveLIF, "float32", 1e-5),
        (nengo.AdaptiveLIF, "float64", 1e-10),
        (nengo.AdaptiveLIFRate, "float32", 1e-5),
        (nengo.AdaptiveLIFRate, "float64", 1e-10),
        (nengo.Izhikevich, "float64", 1e-10),  # float32: the next test
    ],
)
@pytest.mark.slow
def test_all_steps_are_those_of_nengo(kind, dtype, tolerance, compiles, rng):
    kinds = [kind(**parameters) for parameters in TYPES[kind]]
    network = Populations(kinds, currents_of(kind, rng), dtype, compiles)
    with nengo.Simulator(network.net, progress_bar=False) as reference:
        reference.run_steps(N_STEPS)
    with simulator(network.net) as sim:
        sim.run_steps(N_STEPS)
    for probe in network.probes:
        expected = reference.data[probe]
        assert probe.attr != "output" or np.count_nonzero(expected) > 10
        largest = max(1, np.abs(expected).max())
        np.testing.assert_allclose(sim.data[probe], expected, rtol=0, atol=tolerance * largest)


@BOTH
def test_each_step_of_izhikevich_neurons_is_that_of_nengo(compiles, rng):
    # from the states of the step before: the upstroke of a spike multiplies what is rounded
    kinds = [nengo.Izhikevich(**parameters) for parameters in TYPES[nengo.Izhikevich]]
    currents = currents_of(nengo.Izhikevich, rng)
    network = Populations(kinds, currents, "float32", compiles)
    with simulator(network.net) as sim:
        sim.run_steps(N_STEPS)
    for place, neurons in enumerate(kinds):
        found = [sim.data[probe] for probe in network.probes[3 * place : 3 * place + 3]]
        assert np.count_nonzero(found[0]) > 10
        expected = [array[:-1].astype(float) for array in found]
        neurons.step(DT, currents[1:].astype(float), *expected)
        for after, array in zip(expected, found):
            np.testing.assert_allclose(array[1:], after, rtol=1e-5, atol=2e-4)


# -- training ------------------------------------------------------------------------------


def trained(network, sim, currents, weights, compiles):
    """Return outputs in training mode, and the gradient of their weighted sum by the currents."""

    def function(currents):
        with tf.GradientTape() as tape:
            tape.watch(currents)
            n_steps = tf.fill((1, 1), currents.shape[1])
            outputs = sim.keras_model([currents, n_steps], training=True)
            loss = tf.add_n([tf.reduce_sum(w * out) for w, out in zip(weights, outputs)])
        return outputs[:-1], tape.gradient(loss, currents)

    function = tf.function(function, autograph=False, jit_compile=True) if compiles else function
    outputs, gradient = function(tf.constant(currents[None]))
    return [np.array(one)[0] for one in outputs], gradient.numpy()[0]


def adaptive_rates(neurons, currents, sigma=None):
    """Return the rates of adaptive neurons, and their adaptation, stepped by Nengo's formulas."""
    cls = nengo.LIFRate if sigma is None else nengo_dl.SoftLIFRate
    options = {} if sigma is None else {"sigma": sigma}
    kind = cls(
        tau_rc=neurons.tau_rc, tau_ref=neurons.tau_ref, amplitude=neurons.amplitude, **options
    )
    adaptation, rates, adaptations = np.zeros(N_NEURONS), [], []
    for current in currents:
        out = np.zeros(N_NEURONS)
        kind.step(DT, current - adaptation, out)
        adaptation += DT / neurons.tau_n * (neurons.inc_n * out - adaptation)
        rates.append(out)
        adaptations.append(adaptation.copy())
    return np.array(rates), np.array(adaptations)


def differences(function, at, delta=1e-6):
    """Return the central finite differences of a function of an array."""
    found = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        step = np.zeros_like(at)
        step[place] = delta
        found[place] = (function(at + step) - function(at - step)) / (2 * delta)
    return found


@BOTH
@pytest.mark.parametrize(
    "kind, sigma",
    [(nengo.AdaptiveLIF, None), (nengo.AdaptiveLIF, 0.1), (nengo.AdaptiveLIFRate, None)],
)
def test_adaptive_neurons_train_on_rates_that_adapt(kind, sigma, compiles, rng):
    neurons = kind(tau_n=0.01, inc_n=0.02, tau_rc=0.03, amplitude=2)
    currents, weights = rng.uniform(1.5, 4, (8, N_NEURONS)), rng.uniform(-1, 1, (8, N_NEURONS))
    currents[:, 0] = 0.5  # below threshold, where only smoothing has a gradient
    network = Populations([neurons], currents, "float64")
    with network.net:
        if sigma is not None:
            nengo_dl.configure_settings(lif_smoothing=sigma)
    with simulator(network.net) as sim:
        every = [weights] + [np.zeros_like(weights)] * (len(network.probes) - 1)
        outputs, gradient = trained(network, sim, currents, every, compiles)
    rates, adaptations = adaptive_rates(neurons, currents, sigma)
    np.testing.assert_allclose(outputs[0], rates, rtol=1e-10)
    np.testing.assert_allclose(outputs[-1], adaptations, rtol=1e-10)
    assert adaptations.max() > 0.5

    def loss(currents):
        return np.sum(weights * adaptive_rates(neurons, currents, sigma)[0])

    expected = differences(loss, currents)
    assert (gradient[:, 0] != 0).all() == (sigma is not None)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6)


@BOTH
def test_izhikevich_neurons_train_on_the_rates_of_nengo(compiles, rng):
    kinds = [nengo.Izhikevich(), nengo.Izhikevich(tau_recovery=0.1)]
    currents = np.linspace(0.3, 40.3, 5 * N_NEURONS).reshape(5, N_NEURONS)
    weights = rng.uniform(-1, 1, (5, N_NEURONS))
    network = Populations(kinds, currents, "float64")
    with simulator(network.net) as sim:
        every = [weights * (probe.attr == "output") for probe in network.probes]

        def outputs_at(currents):
            return trained(network, sim, currents, every, False)[0]

        outputs, gradient = trained(network, sim, currents, every, compiles)
        for neurons, found in zip(kinds, outputs[::3]):
            expected = neurons.rates(currents.ravel(), np.ones(1), np.zeros(1))[:, 0]
            np.testing.assert_allclose(found.ravel(), expected, rtol=0.05, atol=5)

        def loss(currents):
            return sum(np.sum(w * out) for w, out in zip(every, outputs_at(currents)))

        some = np.zeros((5, N_NEURONS), bool)
        some[[1, 3, 4], [0, 2, 3]] = True
        for place in zip(*np.nonzero(some)):
            step = np.zeros_like(currents)
            step[place] = 1e-4
            slope = (loss(currents + step) - loss(currents - step)) / 2e-4
            np.testing.assert_allclose(gradient[place], slope, rtol=1e-6)


def test_rates_of_izhikevich_neurons_are_measured_with_the_time_step():
    currents = np.full((1, N_NEURONS), 15.0)
    network = Populations([nengo.Izhikevich()], currents, "float64")
    with nengo_dl.Simulator(network.net, dt=0.0005, progress_bar=False) as sim:
        outputs, _ = trained(network, sim, currents, [currents, 0, 0], False)
    state = {name: np.zeros(1) for name in ("output", "voltage", "recovery")}
    step = nengo.Izhikevich().step
    expected = settled_firingrate(step, np.array([15.0]), state, 0.0005, sim_time=4)
    np.testing.assert_allclose(outputs[0][0], expected[0], atol=0.5)


@BOTH
def test_a_network_of_adaptive_neurons_learns(compiles, rng):
    currents = rng.uniform(1, 3, N_NEURONS)[None].repeat(10, 0)
    network = Populations([nengo.AdaptiveLIF(tau_n=0.1)], currents, "float32", compiles)
    targets = {network.probes[0]: np.full((1, 10, N_NEURONS), 60.0)}
    with simulator(network.net) as sim:
        sim.compile(tf.optimizers.Adam(0.1), loss={network.probes[0]: "mse"})
        losses = sim.fit({network.node: currents[None]}, targets, epochs=20, verbose=0).history
    assert losses["loss"][-1] < 0.5 * losses["loss"][0]


def test_neurons_that_only_predict_have_no_rates():
    with nengo.Network(seed=0) as net:
        nengo_dl.configure_settings(inference_only=True)
        ens = nengo.Ensemble(3, 1, neuron_type=nengo.Izhikevich(), gain=Choice([1]), bias=[9] * 3)
        probe = nengo.Probe(ens.neurons)
    with nengo.Simulator(net, progress_bar=False) as reference, simulator(net) as sim:
        for one in (reference, sim):
            one.run_steps(100)
    np.testing.assert_allclose(sim.data[probe], reference.data[probe], rtol=1e-6)


# -- which neurons -------------------------------------------------------------------------


class Stepping(nengo.AdaptiveLIF):
    """A type of a user's own, which may step in another way."""


@pytest.mark.parametrize(
    "kind, is_in_python",
    [*((kind, False) for kind in TYPES), (Stepping, True), (nengo.PoissonSpiking, False)],
)
def test_python_steps_subclasses_alone(kind, is_in_python):
    neurons = kind(nengo.Tanh()) if kind is nengo.PoissonSpiking else kind()
    network = Populations([neurons], np.zeros((1, N_NEURONS)), "float32")
    warned = pytest.warns(UserWarning, match="falling back to Python")
    with warned if is_in_python else contextlib.nullcontext(), simulator(network.net):
        pass
