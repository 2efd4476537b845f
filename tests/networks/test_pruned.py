"""Smaller networks, against zeroing neurons one by one, and against Nengo's own simulator."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from nengo.solvers import NoSolver
from random_networks import (
    KINDS,
    NATIVE,
    STEPS,
    Random,
    check_that_exactly_those_go,
    outputs,
    simulator,
)
from slowly import slow_but

import nengo_wd
from nengo_wd import nengo_dl

pytestmark = [
    pytest.mark.generation(3),
    pytest.mark.filterwarnings("ignore:.*size_out' is being overwritten"),
]

QUICK = {"decoded", "convolutional layer"}


@pytest.mark.traced  # once for many predictions
@pytest.mark.parametrize("kind", slow_but(QUICK, KINDS))
def test_exactly_the_neurons_that_can_go(kind):
    model = Random(list(KINDS).index(kind), spiking=False, kinds=[kind])
    check_that_exactly_those_go(model)


@pytest.mark.parametrize("kind", slow_but(QUICK, KINDS))
def test_spikes_are_the_same(kind):
    model = Random(list(KINDS).index(kind) + 50, spiking=True, kinds=[kind])
    with model.net:
        spikes = [nengo.Probe(e.neurons[::2]) for e in model.ensembles]
    probes, data = [model.probe, *spikes], model.data[model.source]
    before = outputs(model.net, model.source, probes, data)
    with simulator(model.net) as sim:
        smaller = nengo_wd.pruned(sim)
    new = [smaller[probe] for probe in probes]
    after = outputs(smaller.network, smaller[model.source], new, data)
    np.testing.assert_allclose(after[0], before[0], rtol=1e-7)
    for one, other in zip(before[1:], after[1:]):
        np.testing.assert_array_equal(other, one)
    assert any(before[1].ravel())


@pytest.mark.parametrize("kind", NATIVE)
def test_nengo_runs_it_with_the_same_spikes(kind):
    model = Random(list(KINDS).index(kind) + 80, spiking=True, kinds=[kind])
    model.source.output = np.linspace(0.5, 1, 6)
    with simulator(model.net) as sim:
        smaller = nengo_wd.pruned(sim)
    found = []
    for net, probe in ((model.net, model.probe), (smaller.network, smaller[model.probe])):
        with nengo.Simulator(net, progress_bar=False) as sim:
            sim.run_steps(STEPS)
        found.append(sim.data[probe])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9)


def decoded_branch(rng, is_slice):
    """Return neurons that decoded values of any size reach, which of them can fire, a readout."""
    sizes = 10.0 ** rng.uniform(-7, 7, size=4)
    signs = rng.choice(([-1], [1], [-1, 1])[rng.randint(3)], (15, 1))
    decoders = sizes[0] * rng.uniform(0.1, 1, (15, 1)) * signs
    before = {"neuron_type": nengo.LIFRate(), "gain": np.ones(15), "bias": np.full(15, 9.0)}
    one = nengo.Ensemble(15, 2, **before)
    after = {"neuron_type": nengo.RectifiedLinear(), "gain": np.full(10, sizes[1]), "radius": 0.5}
    bias, encoders = sizes[2] * rng.choice([-1, 1], 10), rng.choice([-1.0, 1.0], (10, 1))
    other = nengo.Ensemble(10, 1, bias=bias, encoders=encoders, **after)
    pre, function = (one[0], None) if is_slice else (one, lambda x: x[0])
    decoded = {"function": function, "transform": 2.0, "solver": NoSolver(decoders)}
    nengo.Connection(pre, other, synapse=None, **decoded)
    readout = nengo.Node(size_in=1)
    weights = sizes[3] * rng.uniform(0.1, 1, (1, 10))
    nengo.Connection(other.neurons, readout, transform=weights, synapse=None)
    can_fire = (bias > 0) | (encoders * signs.T > 0).any(axis=1)
    return other, can_fire, nengo.Probe(readout)


def test_weights_of_any_size_in_single_precision():
    rng = np.random.RandomState(0)
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings()
        branches = [decoded_branch(rng, bool(i % 2)) for i in range(24)]
    with nengo_dl.Simulator(net, progress_bar=False) as sim:
        before = sim.predict(n_steps=1, verbose=0)
        smaller = nengo_wd.pruned(sim)
    with nengo_dl.Simulator(smaller.network, progress_bar=False) as sim:
        after = sim.predict(n_steps=1, verbose=0)
    for ensemble, can_fire, probe in branches:
        expected = np.flatnonzero(can_fire)
        left = smaller.kept[ensemble]
        np.testing.assert_array_equal(left, expected if len(expected) else left)
        if probe in smaller:
            np.testing.assert_allclose(after[smaller[probe]], before[probe], rtol=1e-5)
        else:
            assert not before[probe].any()
    sizes = [np.abs(before[probe]).max() for _, _, probe in branches]
    assert min(sizes) < 1e-3 and max(sizes) > 1e6


CLOSE = 1 - 1e-5  # to the threshold of LIF neurons


@pytest.mark.parametrize(
    "bias, weights, is_left",
    [
        (CLOSE, [0, 0], False),
        (1, [-0.5, -0.5], False),  # inhibition alone
        (CLOSE - 10, [5, 5], True),
        (CLOSE - 1e7, [1e7, 1e-9], True),
        (CLOSE - 10, [5, 4], False),
        (-1e7, [9e6, 9e5], False),
    ],
)
def test_neurons_within_rounding_of_their_threshold_stay(bias, weights, is_left):
    """Values between zero and one reach a neuron."""
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(2))
        layer = tf.keras.layers.Dense(2, activation="sigmoid")
        bounded = nengo_dl.tensor_layer(source, layer)
        kind = nengo.LIFRate()
        ensemble = nengo.Ensemble(2, 1, neuron_type=kind, gain=np.ones(2), bias=[9, bias])
        nengo.Connection(bounded, ensemble.neurons, transform=[[1, 1], weights], synapse=None)
        readout = nengo.Node(size_in=1)
        nengo.Connection(ensemble.neurons, readout, transform=[[1, 1]])
        nengo.Probe(readout)
    with nengo_dl.Simulator(net, progress_bar=False) as sim:
        assert nengo_wd.pruned(sim).kept[ensemble].tolist() == [0, 1][: 1 + is_left]
