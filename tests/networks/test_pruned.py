"""Smaller networks, against zeroing neurons one by one, and against Nengo's own simulator."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from nengo.solvers import NoSolver

import nengo_wd
from nengo_wd import nengo_dl

pytestmark = [
    pytest.mark.generation(3),
    pytest.mark.filterwarnings("ignore:.*size_out' is being overwritten"),
    pytest.mark.filterwarnings("ignore:The initializer"),
]

STEPS, EXAMPLES = 25, 2
RATES = {"LIF": nengo.LIFRate, "IF": nengo.RectifiedLinear}
SPIKES = {"LIF": nengo.LIF, "IF": nengo.SpikingRectifiedLinear}
CURRENTS = {"LIF": (4.0, 9.0), "IF": (150.0, 300.0)}  # at which neurons always fire


class Random:
    """A random network in which some neurons can't fire, and some lead nowhere."""

    def __init__(self, seed, spiking, kinds=None):
        self.rng = np.random.RandomState(seed)
        self.types = SPIKES if spiking else RATES
        kinds = list(KINDS) if kinds is None else kinds
        with nengo.Network(seed=seed) as self.net:
            nengo_wd.configure_settings()
            nengo_dl.configure_settings(dtype="float64", stateful=False)
            self.source = nengo.Node(np.zeros(6), label="source")
            self.ensembles = [self.ensemble(12, dead=[])]
            transform = self.rng.uniform(0.2, 1, (12, 6))
            nengo.Connection(self.source, self.ensembles[0].neurons, transform=transform)
            for kind in self.rng.choice(kinds, self.rng.randint(1, 4)):
                KINDS[kind](self)
                if self.rng.rand() < 0.3:
                    self.recur()
            last, readout = self.ensembles[-1], nengo.Node(size_in=2, label="readout")
            weights = self.weights(2, last.n_neurons)
            nengo.Connection(last.neurons, readout, transform=weights)
            self.probe = nengo.Probe(readout)
        self.data = {self.source: self.rng.uniform(0.5, 1, (EXAMPLES, STEPS, 6))}

    def ensemble(self, n_neurons, dead, dimensions=1):
        """Return neurons that always fire, but for those that only weights make fire."""
        name = self.rng.choice(list(self.types))
        bias = self.rng.uniform(*CURRENTS[name], n_neurons)
        bias[dead] = -0.5
        return nengo.Ensemble(
            n_neurons,
            dimensions,
            neuron_type=self.types[name](),
            gain=np.ones(n_neurons),
            bias=bias,
            encoders=self.rng.choice([-1.0, 1.0], (n_neurons, dimensions)),
            normalize_encoders=False,
        )

    def weights(self, n_after, n_before, dead=()):
        """Return small weights without those of some neurons before and after."""
        weights = self.rng.uniform(2e-3, 1e-2, (n_after, n_before))
        weights[:, self.rng.rand(n_before) < 0.4] = 0
        weights[list(dead)] = 0
        return weights

    def some(self, n):
        return np.flatnonzero(self.rng.rand(n) < 0.25)

    def next(self, n, all_fire=False, **kwargs):
        dead = [] if all_fire else self.some(n)
        before = self.ensembles[-1]
        self.ensembles.append(self.ensemble(n, dead, **kwargs))
        return before, self.ensembles[-1], dead

    def recur(self):
        last = self.ensembles[-1].neurons
        weights = np.diag(self.rng.uniform(2e-3, 1e-2, len(last)))
        weights[self.rng.rand(len(last)) < 0.5] = 0
        nengo.Connection(last, last, transform=weights)

    def dense(self):
        before, after, dead = self.next(10)
        weights = self.weights(10, before.n_neurons, dead)
        nengo.Connection(before.neurons, after.neurons, transform=weights)

    def slices(self):
        before, after, dead = self.next(10)
        half, places = before.n_neurons // 2, [7, 5, 1, 0]
        weights = self.weights(10, before.n_neurons, dead)
        nengo.Connection(before.neurons[:half], after.neurons, transform=weights[:, :half])
        more = weights[places][:, half:]
        nengo.Connection(before.neurons[half:], after.neurons[places], transform=more, synapse=None)

    def sparse(self):
        before, after, dead = self.next(10)
        weights = self.weights(10, before.n_neurons, dead)
        places = np.argwhere(self.rng.rand(*weights.shape) < 0.6)
        values = weights[tuple(places.T)]
        transform = nengo.Sparse(weights.shape, indices=places, init=values)
        nengo.Connection(before.neurons, after.neurons, transform=transform)

    def decoded(self):
        before, after, dead = self.next(10, all_fire=True, dimensions=2)
        values = self.weights(2, before.n_neurons).T
        nengo.Connection(before, after, function=lambda x: [0, 0], solver=NoSolver(values))

    def full_weights(self):
        before, after, _ = self.next(10, all_fire=True)
        values = self.weights(1, before.n_neurons).T
        nengo.Connection(before, after, solver=NoSolver(values, weights=True))

    def one_by_one(self):
        before, after, _ = self.next(self.ensembles[-1].n_neurons, all_fire=True)
        weights = 10 * self.weights(1, before.n_neurons)[0]
        through = nengo.Node(size_in=before.n_neurons)
        nengo.Connection(before.neurons, through, transform=weights, synapse=None)
        nengo.Connection(through, after.neurons)

    def subnetwork(self):
        with nengo.Network(label="inner"):
            nengo_wd.configure_settings()
            self.dense()

    def convolution(self):
        before = self.ensembles[-1]
        shape, filters = (before.n_neurons // 2, 2), 3
        kernel = self.rng.uniform(2e-3, 1e-2, (3, 2, filters))
        kernel[:, self.rng.rand(2) < 0.3] = 0
        transform = nengo.Convolution(filters, shape, kernel_size=(3,), strides=(1,), init=kernel)
        _, after, _ = self.next(transform.size_out, all_fire=True)
        nengo.Connection(before.neurons, after.neurons, transform=transform)

    def dense_layer(self):
        before = self.ensembles[-1]
        _, after, dead = self.next(10)
        weights = self.weights(10, before.n_neurons, dead)
        layer = nengo_wd.RegularizedDense(
            10, kernel_initializer=tf.constant_initializer(weights.T), kernel_regularizer="l2"
        )
        layer = nengo_dl.tensor_layer(before.neurons, layer)
        nengo.Connection(layer, after.neurons, synapse=None)

    def convolutional_layer(self, make=nengo_wd.RegularizedConv1D):
        before = self.ensembles[-1]
        kernel = self.rng.uniform(2e-3, 1e-2, (3, 2, 4))
        kernel[:, self.rng.rand(2) < 0.3] = 0
        dead = self.rng.rand(4) < 0.3
        kernel[..., dead] = 0
        shape = before.n_neurons // 2, 2
        layer = make(
            4,
            3,
            padding="same",
            kernel_initializer=tf.constant_initializer(kernel),
            bias_initializer=tf.constant_initializer(np.where(dead, -0.2, 0.1)),
            dtype="float64",
        )
        node = nengo_dl.TensorNode(layer, shape, (shape[0], 4), pass_time=False)
        nengo.Connection(before.neurons, node, synapse=None)
        self.ensembles.append(self.ensemble(node.size_out, []))
        bias = self.ensembles[-1].bias.copy()
        bias[np.tile(dead, shape[0])] = 0.1  # too little, with that of the layer
        self.ensembles[-1].bias = bias
        nengo.Connection(node, self.ensembles[-1].neurons, synapse=None)

    def keras_layer(self):
        self.convolutional_layer(tf.keras.layers.Conv1D)

    def units(self):
        """Two dense layers, with an activation between them."""
        before = self.ensembles[-1]
        kernel = self.weights(6, before.n_neurons, self.some(6)).T
        make, constant = tf.keras.layers.Dense, tf.constant_initializer
        one = make(6, activation="relu", kernel_initializer=constant(kernel), dtype="float64")
        _, after, dead = self.next(10)
        other = constant(self.weights(10, 6, dead).T)
        other = make(10, kernel_initializer=other, dtype="float64")
        node = nengo_dl.tensor_layer(nengo_dl.tensor_layer(before.neurons, one), other)
        nengo.Connection(node, after.neurons)


NATIVE = {
    "dense": Random.dense,
    "slices": Random.slices,
    "sparse": Random.sparse,
    "decoded": Random.decoded,
    "full weights": Random.full_weights,
    "one by one": Random.one_by_one,
    "subnetwork": Random.subnetwork,
    "convolution": Random.convolution,
}
KINDS = {
    **NATIVE,
    "dense layer": Random.dense_layer,
    "convolutional layer": Random.convolutional_layer,
    "Keras' layer": Random.keras_layer,
    "units": Random.units,
}


def simulator(net):
    return nengo_dl.Simulator(net, minibatch_size=EXAMPLES, seed=0, progress_bar=False)


def outputs(net, source, probes, data):
    with simulator(net) as sim:
        found = sim.predict({source: data}, verbose=0)
    return [found[probe] for probe in probes]


def found_one_by_one(sim, model):
    """Return the neurons of each ensemble that change the output if they can't fire."""
    expected = sim.predict(model.data, verbose=0)[model.probe]
    kept = {}
    for ensemble in model.ensembles:
        (bias,) = nengo_wd._parameters.parameters_of(sim, ensemble.neurons)
        values = tf.keras.backend.get_value(bias.variable)
        kept[ensemble] = []
        for neuron, row in enumerate(bias.rows):
            changed = values.copy()
            changed[row] = -1e9
            tf.keras.backend.set_value(bias.variable, changed)
            if np.any(sim.predict(model.data, verbose=0)[model.probe] != expected):
                kept[ensemble].append(neuron)
        tf.keras.backend.set_value(bias.variable, values)
    return kept, expected


@pytest.mark.traced  # once for many predictions
@pytest.mark.parametrize("kind", KINDS)
def test_exactly_the_neurons_that_can_go(kind):
    check_that_exactly_those_go(list(KINDS).index(kind), [kind])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 160))
def test_exactly_the_neurons_that_can_go_of_random_networks(seed):
    check_that_exactly_those_go(seed, None)


def check_that_exactly_those_go(seed, kinds):
    model = Random(seed, spiking=False, kinds=kinds)
    model.data = {model.source: model.data[model.source][:, :12]}  # rates tell in a few steps
    with simulator(model.net) as sim:
        kept, expected = found_one_by_one(sim, model)
        smaller = nengo_wd.pruned(sim)
    assert {e: smaller.kept[e].tolist() for e in model.ensembles} == kept
    data = model.data[model.source]
    after = outputs(smaller.network, smaller[model.source], [smaller[model.probe]], data)
    np.testing.assert_allclose(after[0], expected, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
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
