"""Networks of native objects in Nengo's own simulator, against those with layers in NengoDL."""

import io
import pickle

import nengo
import numpy as np
import pytest
import tensorflow as tf
from native_networks import (
    IN_FLOAT32_ALONE,
    LAYERS,
    STEPS,
    both,
    give_weights,
    neurons,
    varied_input,
)
from nengo.exceptions import ValidationError

import nengo_wd
from nengo_wd import nengo_dl

pytestmark = [
    pytest.mark.generation(3),
    pytest.mark.filterwarnings("ignore:.*size_out' is being overwritten"),
]

keras = tf.keras.layers


class Around:
    """A layer, and what is around it: neurons, synapses, slices and other layers."""

    def __init__(self, rng):
        self.rng = rng
        with nengo.Network(seed=0) as self.net:
            nengo_dl.configure_settings(dtype="float64", trainable=None)
            self.source = varied_input(rng, 4)
            self.a = neurons(6, rng)
            weights = rng.uniform(-1, 1, (6, 4))
            nengo.Connection(self.source, self.a.neurons, transform=weights, label="in")

    def layer(self, size_in=6, make=None):
        make = keras.Dense(5, dtype="float64") if make is None else make
        return nengo_dl.TensorNode(make, shape_in=(size_in,), pass_time=False)

    def neurons(self, size=5):
        return neurons(size, self.rng)

    def between(self, before=None, after=None):
        """Put a layer between neurons, with synapses."""
        node, b = self.layer(), self.neurons()
        nengo.Connection(self.a.neurons, node, synapse=before)
        nengo.Connection(node, b.neurons, synapse=after)
        return node, b

    # In what follows, each says how many Nodes and connections are left of it, without the source
    # and the neurons that it feeds.

    def behind_a_node(self):
        node, b = self.layer(4), self.neurons()
        nengo.Connection(self.source, node, synapse=None)
        nengo.Connection(node, b.neurons, synapse=None)
        return 0, 1

    def without_synapses(self):
        self.between()
        return 0, 1

    def synapse_before(self):
        self.between(before=0.01)
        return 0, 1

    def synapse_behind(self):
        self.between(after=nengo.Alpha(0.01))
        return 1, 2  # of the bias, which the synapse has grow

    def synapse_of_another_kind_before(self):
        self.between(before=Halved(default_size_in=1))
        return 1, 2

    def two_synapses(self):
        self.between(before=0.01, after=0.005)
        return 2, 3

    def probed(self):
        node, _ = self.between()
        nengo.Probe(node)
        nengo.Probe(node[1:3], synapse=0.01)
        return 2, 3  # the layer's output and its bias

    def connection_probed(self):
        self.between(before=0.01)
        nengo.Probe(self.net.connections[-2], "output")
        return 1, 2

    def several_before(self):
        node, _ = self.between()
        nengo.Connection(self.source, node[:4], synapse=0.005)
        nengo.Connection(self.a.neurons[:2], node[[5, 1]], synapse=0.005)
        return 1, 4

    def several_behind(self):
        node, _ = self.between()
        nengo.Connection(node, self.neurons().neurons, synapse=None)
        nengo.Connection(node[1:3], self.neurons(2).neurons, synapse=None)
        return 1, 4

    def slices(self):
        node, b = self.layer(3), self.neurons(4)
        nengo.Connection(self.a.neurons[[4, 0, 2]], node, synapse=None)
        nengo.Connection(node[1:4], b.neurons[[3, 0, 1]], synapse=None)
        return 0, 1

    def weights_around(self):
        node, b = self.layer(4), self.neurons(2)
        nengo.Connection(self.a.neurons, node, transform=self.rng.uniform(-1, 1, (4, 6)))
        weights = nengo.Sparse((2, 5), indices=[[0, 1], [1, 4]], init=[1.0, 2.0])
        nengo.Connection(node, b.neurons, transform=weights, synapse=None)
        return 3, 4

    def decoded(self):
        node, b = self.layer(2), nengo.Ensemble(20, 5, seed=1)
        decoding = nengo.Connection(
            nengo.Ensemble(20, 1, seed=1), node, function=lambda x: [x[0], 1]
        )
        nengo.Connection(self.source[0], decoding.pre)
        nengo.Connection(node, b, synapse=None)
        nengo.Probe(b, synapse=0.01)
        nengo.Probe(b.neurons)
        return 2, 4  # with one for the source

    def users_node(self):
        node, through = self.layer(), nengo.Node(size_in=5)
        nengo.Connection(self.a.neurons, node, synapse=None)
        nengo.Connection(node, through, synapse=None)
        nengo.Connection(through, self.neurons().neurons)
        nengo.Probe(through)
        return 2, 3  # the user's, and that of the bias

    def chain(self):
        convolution = keras.Conv1D(2, 2, dtype="float64")
        one = nengo_dl.TensorNode(convolution, shape_in=(3, 2), pass_time=False)
        nengo.Connection(self.a.neurons, one, synapse=0.005)
        flat = nengo_dl.Layer(keras.Flatten(dtype="float64"))(one, shape_in=(2, 2))
        turned = nengo_dl.Layer(keras.Permute((2, 1), dtype="float64"))(flat, shape_in=(2, 2))
        nengo.Connection(turned, self.neurons(4).neurons, synapse=None)
        return 1, 2  # elements change their places behind the convolution

    def functions_and_rules(self):
        node, other = self.layer(), self.layer(make=keras.Dense(1, dtype="float64"))
        nengo.Connection(self.a.neurons, node, synapse=0.005)
        summed = nengo.Node(lambda t, x: np.sum(x[2:]), size_in=7)
        nengo.Connection(node, summed[[6, 1, 2, 3, 4]], synapse=None)
        nengo.Probe(summed)
        c, learned = nengo.Ensemble(20, 1, seed=1), nengo.Node(size_in=1)
        learning = nengo.Connection(c, learned, learning_rule_type=nengo.PES(1e-2))
        nengo.Connection(self.a.neurons, other, synapse=None)
        nengo.Connection(other, learning.learning_rule, synapse=None)
        nengo.Probe(learned)
        return 4, 5  # two with biases

    def repeated(self):
        node = self.layer(3, keras.RepeatVector(2, dtype="float64"))
        nengo.Connection(self.a.neurons[:3], node, synapse=None)
        weights = self.rng.uniform(-1, 1, (4, 6))
        nengo.Connection(node, self.neurons(4).neurons, transform=weights, synapse=None)
        return 1, 2  # Nengo has no matrix on elements that occur twice

    def two_layers(self):
        one = self.layer()
        nengo.Connection(self.a.neurons, one, synapse=None)
        two = nengo_dl.Layer(keras.Dense(3, dtype="float64"))(one)
        nengo.Connection(two, self.neurons(3).neurons, synapse=None)
        return 2, 3  # one between the weights, and its bias

    def loop(self):
        node = self.layer(make=keras.Dense(6, dtype="float64"))
        nengo.Connection(self.a.neurons, node, synapse=0.005)
        nengo.Connection(node, self.a.neurons, synapse=None, transform=0.1)
        return 2, 3

    def subnetworks(self):
        with nengo.Network(label="outer"):
            node = self.layer()
            with nengo.Network(label="inner"):
                b = self.neurons()
                nengo.Connection(node, b.neurons, synapse=None)
        nengo.Connection(self.a.neurons, node, synapse=0.01)
        return 0, 1

    def shared(self):
        layer = keras.Dense(6, dtype="float64")
        one, other = self.layer(make=layer), self.layer(make=layer)
        b, c = self.neurons(6), self.neurons(6)
        for nodes in ((self.a.neurons, one, b.neurons), (b.neurons, other, c.neurons)):
            nengo.Connection(nodes[0], nodes[1], synapse=None)
            nengo.Connection(nodes[1], nodes[2], synapse=None)
        return 0, 2

    def nothing_behind(self):
        nengo.Connection(self.a.neurons, self.layer(), synapse=None)
        return 2, 2

    def native_neighbours(self):
        b, c = self.neurons(6), nengo.Ensemble(20, 1, seed=1, neuron_type=nengo.AdaptiveLIF())
        kernel = self.rng.uniform(-1, 1, (2, 1, 1, 1, 1))
        transform = nengo.Convolution(1, (3, 2, 1, 1), (2, 1, 1), (1, 1, 1), init=kernel)
        nengo.Connection(self.a.neurons, b.neurons[:4], transform=transform)
        nengo.Connection(c, c, solver=nengo.solvers.LstsqL2(weights=True))
        nengo.Connection(self.source[:1], c, function=lambda x: x**2)
        nengo.Connection(c, nengo.Ensemble(5, 1, neuron_type=nengo.Direct()))
        array = nengo.networks.EnsembleArray(10, 2, seed=1)
        nengo.Connection(self.source[:2], array.input)
        nengo.Connection(array.output, self.layer(2), synapse=None)
        nengo.Probe(array.output, synapse=0.01)
        error = nengo.Node(size_in=1)
        learned = nengo.Connection(c, error, learning_rule_type=nengo.PES())
        nengo.Connection(error, learned.learning_rule)
        nengo.Probe(error)
        return 5, 13


class Halved(nengo.synapses.Synapse):
    """Half of what arrives, in a class that nothing is known of."""

    def make_state(self, shape_in, shape_out, dt, dtype=None, y0=0):
        return {}

    def make_step(self, shape_in, shape_out, dt, rng, state):
        return lambda t, x: x / 2


WAYS = [name for name, one in vars(Around).items() if one.__doc__ is None and callable(one)]
WAYS = [name for name in WAYS if name not in ("__init__", "layer", "neurons")]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_around_a_layer(way, rng):
    model = Around(rng)
    with model.net:
        n_nodes, n_connections = getattr(model, way)()
        for ensemble in model.net.all_ensembles:
            if not isinstance(ensemble.neuron_type, nengo.Direct):
                nengo.Probe(ensemble.neurons)
                nengo.Probe(ensemble.neurons, "input")
    made, found = both(model.net, rng)
    for probe, (before, after) in zip(model.net.all_probes, found):
        np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-9, err_msg=str(probe))
    assert len(made.network.all_nodes) == 1 + n_nodes
    assert len(made.network.all_connections) == 1 + n_connections


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30))
def test_random_networks(seed):
    """Layers one behind the other, with neurons or without between them; pruned as well."""
    rng = np.random.RandomState(seed)
    model = Around(rng)
    kinds = [kind for kind in LAYERS if kind not in IN_FLOAT32_ALONE]
    with model.net:
        before = model.a.neurons
        for kind in rng.choice(kinds, rng.randint(2, 5)):
            make, shape = LAYERS[kind]
            taken = rng.choice(before.size_out, int(np.prod(shape))).tolist()
            layer = nengo_dl.TensorNode(make(dtype="float64"), shape_in=shape, pass_time=False)
            synapse = rng.choice([None, 0.005])
            pre = before if len(taken) == before.size_out else before[taken]
            nengo.Connection(pre, layer, synapse=synapse)
            before = layer
            if rng.rand() < 0.6:
                after = neurons(layer.size_out, rng)
                nengo.Connection(layer, after.neurons, synapse=rng.choice([None, 0.005]))
                before = after.neurons
            if rng.rand() < 0.3:
                nengo.Probe(before)
        nengo.Probe(before)
        for ensemble in model.net.all_ensembles:
            nengo.Probe(ensemble.neurons, "input")
    made, found = both(model.net, rng)
    for before, after in found:
        np.testing.assert_allclose(after, before, rtol=1e-8, atol=1e-8)
    with made.network:
        nengo_dl.configure_settings(dtype="float64")
    with nengo_dl.Simulator(made.network, progress_bar=False, seed=0) as sim:
        smaller, again = nengo_wd.pruned(sim), sim.predict(n_steps=STEPS, verbose=0)
    with nengo.Simulator(smaller.network, progress_bar=False) as sim:
        sim.run_steps(STEPS)
    for probe, (before, _) in zip(model.net.all_probes, found):
        np.testing.assert_allclose(again[made[probe]][0], before, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(sim.data[smaller[made[probe]]], before, rtol=1e-8, atol=1e-8)


def test_biases_go_to_neurons_that_get_them_unfiltered(rng):
    model = Around(rng)
    with model.net:
        node, b = model.between()
    with nengo_dl.Simulator(model.net, progress_bar=False) as sim:
        give_weights(model.net, rng)
        _, bias = node.tensor_func.get_weights()
        made = nengo_wd.native(sim)
    np.testing.assert_allclose(made[b].bias, b.bias + b.gain * bias)
    np.testing.assert_array_equal(made[model.a].bias, model.a.bias)


def test_the_new_object_for_each_old_one(rng):
    model = Around(rng)
    with model.net:
        node, b = model.between(before=0.01)
        last = model.layer(5)
        leading = nengo.Connection(b.neurons, last, synapse=0.02, label="to the last")
        probe = nengo.Probe(last)
    with nengo_dl.Simulator(model.net, progress_bar=False) as sim:
        made = nengo_wd.native(sim)
    before, after = model.net.connections[1:3]
    assert made[node] is made[before] is made[after]
    assert made[node].synapse == nengo.Lowpass(0.01)
    np.testing.assert_array_equal(made[node].transform.init, node.tensor_func.kernel.numpy().T)
    assert (made[node].pre, made[node].post) == (made[model.a].neurons, made[b].neurons)
    assert isinstance(made[last], nengo.Node) and made[probe].obj is made[last]
    assert made[leading].post_obj is made[last] and made[leading].label == "to the last"
    assert made[node].label == node.tensor_func.name
    assert made.kept[model.a].tolist() == list(range(6)) and node in made
    frame = made.to_frame().set_index("name")
    assert frame.note[last.tensor_func.name] == "a passthrough Node"
    assert frame.note[node.tensor_func.name] == "Dense from ensemble to ensemble"
    assert (frame.parameters == frame.parameters_left).all()
    assert (frame.synapses == frame.synapses_left).all()


def test_trained_parameters(rng):
    """Of layers and of native objects."""
    model = Around(rng)
    with model.net:
        _, b = model.between(before=0.01)
        readout = nengo.Node(size_in=2)
        weights = rng.uniform(-1, 1, (2, 5))
        given = nengo.Connection(b.neurons, readout, transform=weights, synapse=None)
        through = nengo.Node(size_in=8)
        up = nengo.ConvolutionTranspose(2, (3, 2), kernel_size=(2,), strides=(1,))
        up = nengo.Connection(model.a.neurons, through, transform=up)
        nengo.Connection(through[:2], readout, synapse=None)
        probe = nengo.Probe(readout)
    with nengo_dl.Simulator(model.net, progress_bar=False, minibatch_size=4) as sim:
        sim.compile(tf.keras.optimizers.SGD(0.1), loss="mse")
        inputs = {model.source: rng.uniform(-1, 1, (4, 5, 4))}
        sim.fit(inputs, {probe: rng.uniform(-1, 1, (4, 5, 2))}, epochs=3, verbose=0)
        made = nengo_wd.native(sim)
        before = sim.predict(n_steps=STEPS, stateful=False, verbose=0)[probe][0]
    with nengo.Simulator(made.network, progress_bar=False) as sim:
        sim.run_steps(STEPS)
    np.testing.assert_allclose(sim.data[made[probe]], before, rtol=1e-9, atol=1e-9)
    assert not np.allclose(made[given].transform.init, weights)
    assert np.shape(made[up].transform.init) == up.transform.kernel_shape


class Reader(pickle.Unpickler):
    """Reads a pickle that has nothing of TensorFlow, NengoDL and this package."""

    def find_class(self, module, name):
        allowed = ("nengo", "numpy", "builtins", "functools", "collections")
        assert module.split(".")[0] in allowed, module
        return super().find_class(module, name)


def elsewhere(*objects):
    """Return objects as they are read where Nengo is."""
    return Reader(io.BytesIO(pickle.dumps(objects))).load()


def test_it_is_read_where_nengo_is(rng):
    """A pickle of the network names nothing of TensorFlow, NengoDL or this package."""
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(regularizer="l2", weight_decay=0.1)
        nengo_dl.configure_settings(dtype="float64", planner=nengo_dl.graph_optimizer.noop_planner)
        net.config[nengo.Connection].transform = nengo_dl.dists.Glorot()
        source, a = varied_input(rng, 6), nengo.Ensemble(20, 2, seed=1)
        nengo.Connection(nengo_dl.Layer(keras.Dense(2, dtype="float64"))(source), a, transform=1)
        nengo.Connection(a, a, solver=nengo.solvers.LstsqL2(weights=True), transform=1)
        out = nengo.Node(size_in=1)
        connection = nengo.Connection(a, out, function=lambda x: x[0] * x[1])
        net.config[connection].regularizer = "l1"
        probe = nengo.Probe(out, synapse=0.01)
        net.strength, net.layers = tf.Variable(1.0), {"dense": [nengo_wd.RegularizedDense(2)]}
        net.said = ["kept"]
    made, ((before, _),) = both(net, rng)

    read, probe = elsewhere(made.network, made[probe])
    assert read.said == ["kept"] and not hasattr(read, "strength") and not hasattr(read, "layers")
    with nengo.Simulator(read, progress_bar=False) as sim:
        sim.run_steps(STEPS)
    np.testing.assert_allclose(sim.data[probe], before, rtol=1e-9)


def test_settings_of_other_backends_stay(rng):
    model = Around(rng)
    with model.net:
        nengo_wd.configure_settings(regularizer="l2")
        model.net.config[nengo.Connection].synapse = 0.1  # for connections to come
        model.net.config[nengo.Ensemble].set_param("on_chip", nengo.params.BoolParam("on_chip"))
        node, b = model.between(after=0.01)
        model.net.config[b].on_chip = False
        model.net.config[node].regularizer = None
    made, _ = both(model.net, rng)
    config = made.network.config
    assert config[made[b]].on_chip is False and config[nengo.Connection].synapse.tau == 0.1
    assert "regularizer" not in config[nengo.Connection].extra_params


def test_pruned_and_native_take_the_other_s(rng):
    model = Around(rng)
    with model.net:
        node, b = model.between(before=0.01)
        readout = model.layer(5)
        nengo.Connection(b.neurons, readout, synapse=None)
        probe = nengo.Probe(readout)
    with nengo_dl.Simulator(model.net, progress_bar=False) as sim:
        give_weights(model.net, rng)
        kernel, bias = readout.tensor_func.get_weights()
        kernel[1:3] = 0
        readout.tensor_func.set_weights([kernel, bias])
        smaller, made = nengo_wd.pruned(sim), nengo_wd.native(sim)
        before = sim.predict(n_steps=STEPS, verbose=0)[probe][0]
    orders = ((smaller, nengo_wd.native), (made, nengo_wd.pruned))
    for first, then in orders:
        with first.network:
            nengo_dl.configure_settings(dtype="float64")
        with nengo_dl.Simulator(first.network, progress_bar=False) as sim:
            second = then(sim)
        assert second[first[b]].n_neurons == 3
        with nengo.Simulator(second.network, progress_bar=False) as sim:
            sim.run_steps(STEPS)
        found = sim.data[second[first[probe]]]
        np.testing.assert_allclose(found, before, rtol=1e-9, atol=1e-9)


def test_networks_of_a_converter(rng):
    inputs = tf.keras.Input((4, 4, 1))
    hidden = keras.Conv2D(2, 2, activation="relu", kernel_regularizer="l2")(inputs)
    hidden = keras.AveragePooling2D(2, strides=1)(hidden)
    model = tf.keras.Model(inputs, keras.Dense(3)(keras.Flatten()(hidden)))
    swapped = {tf.nn.relu: nengo.SpikingRectifiedLinear(), "relu": nengo.RectifiedLinear()}
    swapped = {tf.keras.activations.relu: swapped["relu"], tf.nn.relu: swapped["relu"]}
    converter = nengo_wd.Converter(model, swap_activations=swapped)
    values = rng.uniform(-1, 1, 16)
    converter.inputs[inputs].output = values
    with nengo_dl.Simulator(converter.net, progress_bar=False) as sim:
        made = nengo_wd.native(sim)
    network, probe = elsewhere(made.network, made[converter.outputs[model.outputs[0]]])
    with nengo.Simulator(network, progress_bar=False) as sim:
        sim.run_steps(2)
    expected = model(values.reshape(1, 4, 4, 1)).numpy()[0]
    np.testing.assert_allclose(sim.data[probe][-1], expected, rtol=1e-5, atol=1e-6)


# -- what has no native form ---------------------------------------------------------------


class Twice(keras.Dense):
    """A user's own layer, with another result."""

    def call(self, inputs):
        return 2 * super().call(inputs)


def branched():
    inputs = tf.keras.Input((6,))
    return tf.keras.Model(inputs, keras.Add()([inputs, keras.Dense(6)(inputs)]), name="branched")


REFUSED = {
    "activation": (
        lambda: keras.Dense(6, activation="relu", name="h"),
        "'h' has the activation relu",
    ),
    "tanh": (lambda: keras.Activation("tanh"), r"nengo_dl.Layer\(nengo.Tanh\(\)\)"),
    "layer": (lambda: keras.LayerNormalization(name="n"), "'n' is LayerNormalization"),
    "user's layer": (lambda: Twice(6, name="t"), "'t' is Twice, .* nengo.Node with the same"),
    "relu": (lambda: tf.nn.relu, "is a function, .*RectifiedLinear"),
    "function": (lambda: lambda x: x * 2, "is a function, .* nengo.Node with the same function"),
    "model": (branched, "'branched' is not a chain of layers, .* nengo_wd.Converter"),
    "in a model": (
        lambda: tf.keras.Sequential([keras.Dense(6), keras.ReLU(name="r")]),
        "'r' is ReLU, .*RectifiedLinear",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_has_no_native_form_is_named_and_can_be_kept(kind, rng):
    make, message = REFUSED[kind]
    model = Around(rng)
    with model.net:
        nengo_dl.configure_settings(dtype="float32")
        node = nengo_dl.TensorNode(make(), shape_in=(6,), pass_time=False, label="node")
        nengo.Connection(model.a.neurons, node, synapse=None)
        other = nengo_dl.Layer(keras.Dense(2))(node)
        probe = nengo.Probe(other)
    with nengo_dl.Simulator(model.net, progress_bar=False) as sim:
        with pytest.raises(ValidationError, match=f"'node'.*{message}.*keep="):
            nengo_wd.native(sim)
        made = nengo_wd.native(sim, keep=[node])
        before = sim.predict(n_steps=2, verbose=0)[probe]
    kept = [one for one in made.network.all_nodes if isinstance(one, nengo_dl.TensorNode)]
    assert kept == [made[node]] and isinstance(made[other], nengo.Node)
    if not isinstance(node.tensor_func, tf.keras.Model):  # which NengoDL builds only once
        with nengo_dl.Simulator(made.network, progress_bar=False) as sim:
            after = sim.predict(n_steps=2, verbose=0)[made[probe]]
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


def test_a_layer_that_a_later_simulator_has_is_refused(rng):
    model = Around(rng)
    with model.net:
        model.between()
    with nengo_dl.Simulator(model.net, progress_bar=False) as sim:
        with nengo_dl.Simulator(model.net, progress_bar=False) as later:
            nengo_wd.native(later)
        with pytest.raises(ValidationError, match="was built again by a later simulator"):
            nengo_wd.native(sim)


def test_what_can_be_kept_is_a_tensor_node(rng):
    model = Around(rng)
    with nengo_dl.Simulator(model.net, progress_bar=False) as sim:
        with pytest.raises(ValidationError, match="keep has .* not a TensorNode of"):
            nengo_wd.native(sim, keep=[model.source])
        with pytest.raises(ValidationError, match="keep=3 must be"):
            nengo_wd.native(sim, keep=3)
