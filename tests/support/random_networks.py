"""Random networks with zeros, for what is made from them; and what zeroing neurons tells."""

import nengo
import numpy as np
import tensorflow as tf
from nengo.solvers import NoSolver

import nengo_wd
from nengo_wd import nengo_dl

STEPS, EXAMPLES = 25, 2
RATES = {"LIF": nengo.LIFRate, "IF": nengo.RectifiedLinear}
SPIKES = {"LIF": nengo.LIF, "IF": nengo.SpikingRectifiedLinear}
CURRENTS = {"LIF": (4.0, 9.0), "IF": (150.0, 300.0)}  # at which neurons always fire


class Random:
    """A random network in which some neurons can't fire, and some lead nowhere.

    ``kinds`` are those of its connections, one after another. ``choose(n, share)`` returns n bools:
    of neurons, of weights, or of connections that are made or not.
    """

    def __init__(self, seed, spiking, kinds, choose=None):
        self.rng = np.random.RandomState(seed)
        self.choose = choose or (lambda n, share: self.rng.rand(n) < share)
        self.types = SPIKES if spiking else RATES
        with nengo.Network(seed=seed) as self.net:
            nengo_wd.configure_settings()
            nengo_dl.configure_settings(dtype="float64", stateful=False)
            self.source = nengo.Node(np.zeros(6), label="source")
            self.ensembles = [self.ensemble(12, dead=[])]
            transform = self.rng.uniform(0.2, 1, (12, 6))
            nengo.Connection(self.source, self.ensembles[0].neurons, transform=transform)
            for kind in kinds:
                KINDS[kind](self)
                if self.choose(1, 0.3):
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
        weights[:, self.choose(n_before, 0.4)] = 0
        weights[list(dead)] = 0
        return weights

    def some(self, n):
        return np.flatnonzero(self.choose(n, 0.25))

    def next(self, n, all_fire=False, **kwargs):
        dead = [] if all_fire else self.some(n)
        before = self.ensembles[-1]
        self.ensembles.append(self.ensemble(n, dead, **kwargs))
        return before, self.ensembles[-1], dead

    def recur(self):
        last = self.ensembles[-1].neurons
        weights = np.diag(self.rng.uniform(2e-3, 1e-2, len(last)))
        weights[self.choose(len(last), 0.5)] = 0
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
        there = self.choose(weights.size, 0.6).reshape(weights.shape)
        places = np.argwhere(there)
        values = weights[tuple(places.T)]
        transform = nengo.Sparse(weights.shape, indices=places, init=values)
        nengo.Connection(before.neurons, after.neurons, transform=transform)

    def decoded(self):
        before, after, dead = self.next(10, all_fire=True, dimensions=2)
        values = self.weights(2, before.n_neurons).T
        nengo.Connection(before, after, function=lambda x: [0, 0], solver=NoSolver(values))

    def full_weights(self):
        dimensions = self.ensembles[-1].dimensions
        before, after, _ = self.next(10, all_fire=True, dimensions=dimensions)
        values = self.weights(dimensions, before.n_neurons).T
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
        kernel[:, self.choose(2, 0.3)] = 0
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
        kernel[:, self.choose(2, 0.3)] = 0
        dead = self.choose(4, 0.3)
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


def check_that_exactly_those_go(model):
    """Check that the neurons that are left are those that change the output, by simulations."""
    model.data = {model.source: model.data[model.source][:, :12]}  # rates tell in a few steps
    with simulator(model.net) as sim:
        kept, expected = found_one_by_one(sim, model)
        smaller = nengo_wd.pruned(sim)
    assert {e: smaller.kept[e].tolist() for e in model.ensembles} == kept
    data = model.data[model.source]
    after = outputs(smaller.network, smaller[model.source], [smaller[model.probe]], data)
    np.testing.assert_allclose(after[0], expected, rtol=1e-9)
