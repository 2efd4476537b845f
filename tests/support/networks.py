"""Networks that many tests use."""

import by_hand
import nengo
import numpy as np
import scipy.sparse
import tensorflow as tf
from by_hand import STEPS
from generations import (
    one_step,
    outputs,
    sgd,
    simulator,
    tensor_node,
    total_loss,
    train,
    use_dtype,
    values,
)

import nengo_wd
from nengo_wd import nengo_dl


def l1_l2(l1, l2):
    return tf.keras.regularizers.l1_l2(l1=l1, l2=l2)


# -- one layer ---------------------------------------------------------------------------


def dense(**kwargs):
    arguments = dict(units=3, activation="tanh", bias_initializer="ones", name="readout")
    return nengo_wd.RegularizedDense(**{**arguments, **kwargs})


def connected(node, size_in):
    """Feed ``node`` from an input node, and probe it."""
    source = nengo.Node(np.zeros(size_in))
    nengo.Connection(source, node, synapse=None)
    return source, nengo.Probe(node)


def network_of(layer, size_in, size_out=None, **kwargs):
    """Return network, source and probe of a single TensorNode."""
    with nengo.Network(seed=0) as net:
        node = tensor_node(layer, size_in, size_out, **kwargs)
        source, probe = connected(node, size_in)
    return net, source, probe


def readout_network(strength=0.5, **kwargs):
    """Return network, source, layer and probe of a single layer, whose weights are all one."""
    regularizer = None if strength is None else tf.keras.regularizers.l2(strength)
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(**kwargs)
        source = nengo.Node(np.zeros(2))
        layer = nengo_wd.RegularizedDense(
            3, kernel_regularizer=regularizer, kernel_initializer="ones", name="readout"
        )
        probe = nengo.Probe(nengo_dl.tensor_layer(source, layer))
    return net, source, layer, probe


# -- layers ------------------------------------------------------------------------------


class DenseLayers:
    """A network in float64 of dense layers on one input, some of them shared."""

    def __init__(self, nodes=(1,), n_probes=1, kernel=(0.0, 0.5), bias=(0.25, 0.0)):
        self.kernel, self.bias = kernel, bias
        with nengo.Network(seed=0) as self.net:
            use_dtype("float64")
            self.source = nengo.Node(np.zeros(2))
            self.layers = [self.add_layer(number) for number in nodes]
            ends = self.net.nodes[1:]
            self.probes = [nengo.Probe(ends[i % len(ends)]) for i in range(n_probes)]
        rng = np.random.RandomState(1)
        self.inputs = {self.source: rng.uniform(-1, 1, size=(2, 3, 2))}
        self.targets = {p: rng.uniform(-1, 1, size=(2, 3, 3)) for p in self.probes}

    def add_layer(self, number):
        layer = nengo_wd.RegularizedDense(
            3,
            bias_initializer="ones",
            kernel_regularizer=l1_l2(*self.kernel),
            bias_regularizer=l1_l2(*self.bias) if self.bias else None,
        )
        for _ in range(number):
            nengo.Connection(self.source, tensor_node(layer, 2, 3), synapse=None)
        return layer

    def simulator(self):
        return simulator(self.net, minibatch_size=2)

    def penalty(self, sim):
        """Work the penalties out in NumPy."""
        total = 0
        for layer in self.layers:
            kernel, bias = values(sim, layer.weights)
            total += by_hand.penalty(kernel, *self.kernel)
            total += by_hand.penalty(bias, *self.bias) if self.bias else 0
        return total

    def data_loss(self, sim):
        """Work the mean squared errors out in NumPy."""
        recorded = outputs(sim, self.inputs, self.probes)
        return sum(np.mean((y - self.targets[p]) ** 2) for p, y in zip(self.probes, recorded))

    def total(self, sim, objective):
        return total_loss(sim, self.inputs, self.targets, objective)


# -- native objects ----------------------------------------------------------------------


class Ensembles:
    """Two ensembles, with decoders, encoders and biases, and a TensorNode."""

    def __init__(self, **kwargs):
        with nengo.Network(seed=0) as self.net:
            use_dtype("float64")
            nengo_wd.configure_settings(**kwargs)
            self.source = nengo.Node(np.zeros(2), label="source")
            self.a = nengo.Ensemble(5, 2, label="a")
            self.b = nengo.Ensemble(6, 2, label="b")
            self.plain = nengo.Connection(self.source, self.a, synapse=None)
            self.conn = nengo.Connection(self.a, self.b, label="ab")
            self.layer = nengo_wd.RegularizedDense(3, kernel_regularizer=None, name="dense")
            self.node = tensor_node(self.layer, 2, 3)
            nengo.Connection(self.b, self.node, label="bn")
            self.probe = nengo.Probe(self.node)
        self.config = self.net.config
        self.inputs = {self.source: np.ones((1, 2, 2))}
        self.targets = {self.probe: np.zeros((1, 2, 3))}


class EveryParameter:
    """A network with every kind of native parameter."""

    def __init__(self):
        with nengo.Network(seed=0) as self.net:
            nengo_wd.configure_settings()
            self.a = nengo.Ensemble(5, 2, label="a")
            self.b = nengo.Ensemble(6, 1, label="b")
            self.readout = nengo.Connection(
                self.a, nengo.Node(size_in=3), function=lambda x: [x[0], x[1], x[0] * x[1]]
            )
            self.full = nengo.Connection(self.a, self.b[0], function=lambda x: x[0])
            image = nengo.Node(np.zeros(12))
            nengo.Connection(image[:2], self.a)
            filters = nengo.Convolution(4, (3, 2, 2), kernel_size=(2, 2), strides=(1, 1))
            self.conv = nengo.Connection(
                image, nengo.Node(size_in=filters.size_out), transform=filters
            )
            self.matrix = scipy.sparse.random(6, 5, 0.5, random_state=np.random.RandomState(0))
            self.sparse = nengo.Connection(
                self.a.neurons, self.b.neurons, transform=nengo.Sparse((6, 5), init=self.matrix)
            )
            self.probe = nengo.Probe(self.b)
        self.image = image


def native_weights(sim, obj):
    """Return the values of a native object's parameter from NengoDL's own records."""
    if isinstance(obj, nengo.Connection):
        return sim.data[obj].weights
    if isinstance(obj, nengo.Ensemble):
        return sim.data[obj].scaled_encoders
    return sim.data[obj.ensemble].bias


def parameters_of(sim, obj):
    """Return the parameters of an object."""
    return list(nengo_wd.WeightNorms(sim, objects=obj).parameters.values())


def product(one, other):
    """Return a loss with a gradient that does not depend on the weights."""
    return tf.reduce_sum(one * other)


def collecting(base):
    """Return a class of optimizers that update at every second batch, by the sum of gradients."""

    class Collecting(base.SGD):
        def __init__(self, *args):
            super().__init__(*args)
            self.batches = tf.Variable(0, trainable=False)
            self.sums = None

        def apply_gradients(self, grads_and_vars, **kwargs):
            gradients, variables = zip(*grads_and_vars)
            with tf.init_scope():
                if self.sums is None:
                    self.sums = [tf.Variable(tf.zeros_like(v)) for v in variables]
                    if base is tf.keras.optimizers:
                        self.build(variables)
            self.batches.assign_add(1)
            for total, gradient in zip(self.sums, gradients):
                total.assign_add(gradient)

            def update():
                sums = [tf.identity(total) for total in self.sums]
                super(Collecting, self).apply_gradients(zip(sums, variables), **kwargs)
                for total in self.sums:
                    total.assign(tf.zeros_like(total))
                return True

            return tf.cond(self.batches % 2 == 0, update, lambda: False)

    return Collecting


class ThreeConnections:
    """Three connections, merged by NengoDL into one variable in float64."""

    def __init__(self):
        rng = np.random.RandomState(0)
        self.start = rng.uniform(0.5, 1, size=(3, 3, 2))
        with nengo.Network(seed=0) as self.net:
            use_dtype("float64")
            one_step()
            nengo_wd.configure_settings()
            source = nengo.Node(np.zeros(2))
            ends = [nengo.Node(size_in=3) for _ in range(3)]
            self.connections = [
                nengo.Connection(source, end, transform=start, synapse=None)
                for end, start in zip(ends, self.start)
            ]
            self.probes = [nengo.Probe(end) for end in ends]
        x = rng.uniform(-1, 1, size=(1, 1, 2))
        t = rng.uniform(-1, 1, size=(3, 1, 1, 3))
        self.inputs, self.targets = {source: x}, dict(zip(self.probes, t))
        self.gradient = t[:, 0, 0, :, None] * x[0, 0]
        self.objective = {probe: product for probe in self.probes}

    def set(self, name, *values):
        for connection, value in zip(self.connections, values):
            setattr(self.net.config[connection], name, value)

    def weights(self, sim):
        return np.array([sim.data[connection].weights for connection in self.connections])

    def train(self, sim, optimizer, epochs=STEPS):
        train(sim, self.inputs, self.targets, self.objective, optimizer, epochs)
        return self.weights(sim)

    def trained(self, make_optimizer):
        with simulator(self.net) as sim:
            return self.train(sim, make_optimizer(sim))

    def trained_with_decay(self, optimizer, **kwargs):
        return self.trained(lambda sim: nengo_wd.decoupled_weight_decay(sim, optimizer, **kwargs))


# -- linear regression ---------------------------------------------------------------------


def regression(rng, n_examples=32, n_features=8):
    """Return examples and noisy targets, of three problems with few features that count."""
    inputs = rng.normal(size=(n_examples, n_features))
    weights = rng.normal(size=(n_features, 3)) * (np.arange(n_features) < 4)[:, None]
    return inputs, inputs @ weights + 0.1 * rng.normal(size=(n_examples, 3))


def solve(inputs, targets, kinds, n_steps):
    """Take proximal steps with full batches, and return the weights of each of the objects.

    They are connections in one variable, in float64.
    """
    n_examples, n_features = inputs.shape
    with nengo.Network(seed=0) as net:
        use_dtype("float64")
        nengo_wd.configure_settings()
        source = nengo.Node(np.zeros(n_features))
        connections = [
            nengo.Connection(
                source, nengo.Node(size_in=1), transform=np.ones((1, n_features)) / 2, synapse=None
            )
            for _ in kinds
        ]
        probes = [nengo.Probe(connection.post) for connection in connections]
        for connection, kind in zip(connections, kinds):
            net.config[connection].regularizer = kind
    with simulator(net, minibatch_size=n_examples) as sim:
        optimizer = nengo_wd.proximal_regularization(sim, sgd(0.125))
        data = {source: np.tile(inputs[:, None], (n_steps, 1, 1))}
        wanted = {
            probe: np.tile(targets[:, None, i : i + 1], (n_steps, 1, 1))
            for i, probe in enumerate(probes)
        }
        train(sim, data, wanted, {probe: "mse" for probe in probes}, optimizer)
        return [np.array(sim.data[connection].weights)[0] for connection in connections]
