"""What pruning leaves alone, carries over and says, for each kind of object."""

import pickle

import nengo
import numpy as np
import pytest
import tensorflow as tf
from nengo.exceptions import SimulatorClosed, ValidationError
from nengo.solvers import NoSolver
from slowly import slow_but

import nengo_wd
from nengo_wd import nengo_dl

pytestmark = [
    pytest.mark.generation(3),
    pytest.mark.filterwarnings("ignore:.*size_out' is being overwritten"),
    pytest.mark.filterwarnings("ignore:LIF neurons without smoothing"),
]

STEPS = 10


def simulator(net, minibatch_size=1):
    return nengo_dl.Simulator(net, minibatch_size=minibatch_size, seed=0, progress_bar=False)


class Network:
    """Six neurons, of which every other one leads to a readout; ``make`` adds to the network."""

    def __init__(self, make=None, neuron_type=None):
        with nengo.Network(seed=1) as self.net:
            nengo_wd.configure_settings()
            nengo_dl.configure_settings(dtype="float64", trainable=None)
            self.source = nengo.Node([1.0], label="source")
            neuron_type = neuron_type or nengo.SpikingRectifiedLinear()
            gain_bias = {"gain": np.full(6, 40.0), "bias": np.linspace(100, 250, 6)}
            gain_bias["encoders"] = np.ones((6, 1))
            self.ens = nengo.Ensemble(6, 1, neuron_type=neuron_type, **gain_bias, label="ens")
            nengo.Connection(self.source, self.ens, synapse=None)
            self.readout = nengo.Node(size_in=1, label="readout")
            weights = np.array([[1.0, 0, 2, 0, 3, 0]])
            self.conn = nengo.Connection(self.ens.neurons, self.readout, transform=weights)
            self.probe = nengo.Probe(self.readout, label="probe")
            self.made = None if make is None else make(self)

    def pruned(self, **kwargs):
        with simulator(self.net) as sim:
            return nengo_wd.pruned(sim, **kwargs)


def recorded(net, probes, steps=STEPS):
    with simulator(net) as sim:
        sim.run_steps(steps)
    return [sim.data[probe] for probe in probes]


def check_same(model, smaller, probes=()):
    probes = [model.probe, *probes]
    before = recorded(model.net, probes)
    after = recorded(smaller.network, [smaller[probe] for probe in probes])
    for one, other in zip(before, after):
        np.testing.assert_allclose(other, one, rtol=1e-9)
        assert np.any(one)


def test_what_is_left():
    model = Network()
    smaller = model.pruned()
    assert smaller.kept[model.ens].tolist() == [0, 2, 4]
    assert smaller[model.ens].n_neurons == 3 and smaller[model.ens.neurons].size_out == 3
    assert smaller[model.conn].transform.init.tolist() == [[1, 2, 3]]
    assert model.ens.n_neurons == 6 and model.conn.transform.init.size == 6
    assert smaller.changes is None
    check_same(model, smaller)


def test_table():
    frame = Network().pruned().to_frame().set_index("name")
    assert frame.loc["ens", ["neurons", "neurons_left"]].tolist() == [6, 3]
    assert frame.loc["ens", ["parameters", "parameters_left"]].tolist() == [12, 6]
    assert frame.loc["ens->readout", ["synapses", "synapses_left"]].tolist() == [6, 3]
    assert frame.loc["ens->readout", ["parameters", "parameters_left"]].tolist() == [6, 3]
    assert not frame.note.any()


def probed(model):
    return nengo.Probe(model.ens.neurons[1:3], "voltage")


def part(model):
    """A Node's function that reads a part of the neurons."""
    node = nengo.Node(lambda t, x: x, size_in=2)
    nengo.Connection(model.ens.neurons[1:3], node, synapse=None)
    return nengo.Probe(node)


def unknown_layer(model):
    layer = nengo_dl.TensorNode(lambda x: x**2, (2,), (2,), pass_time=False)
    nengo.Connection(model.ens.neurons[1:3], layer)
    return nengo.Probe(layer)


@pytest.mark.parametrize("make", [probed, part, unknown_layer])
def test_what_is_read_stays(make):
    model = Network(make)
    smaller = model.pruned()
    assert smaller.kept[model.ens].tolist() == [0, 1, 2, 4]
    check_same(model, smaller, [model.made])


def with_rate_targets(model, neurons):
    probe = nengo.Probe(neurons)
    model.net.config[probe].regularizer = nengo_wd.regularizers.FiringRates(maximum=10, l2=1.0)
    return probe


def test_rate_targets_keep_no_neurons_that_lead_on():
    model = Network(lambda model: with_rate_targets(model, model.ens.neurons[:5]))
    smaller = model.pruned(data={model.source: np.ones((2, 10, 1))})
    assert smaller.kept[model.ens].tolist() == [0, 2, 4]
    check_same(model, smaller)
    before, after = (
        recorded(net, [probe])[0]
        for net, probe in ((model.net, model.made), (smaller.network, smaller[model.made]))
    )
    np.testing.assert_allclose(after, before[..., [0, 2, 4]])
    assert before.any() and list(smaller.changes) == [model.probe]
    with simulator(smaller.network) as sim:
        data = {smaller[model.source]: np.ones((1, 9, 1))}
        (penalty,) = nengo_wd.regularization_losses(sim, data).values()
    assert penalty > 0


def test_probes_of_rate_targets_go_with_all_that_they_record():
    model = Network(lambda model: with_rate_targets(model, model.ens.neurons[3:4]))
    smaller = model.pruned(data={model.source: np.ones((2, 10, 1))})
    check_same(model, smaller)
    assert smaller.network.all_probes == [smaller[model.probe]]
    assert list(smaller.changes) == [model.probe]
    assert model.probe in smaller and model.made not in smaller
    with pytest.raises(KeyError, match="left out"):
        smaller[model.made]


def test_rate_targets_keep_neurons_that_lead_nowhere_else():
    def last(model):
        ensemble = nengo.Ensemble(3, 1, gain=np.ones(3), bias=np.full(3, 50.0))
        nengo.Connection(model.ens, ensemble, synapse=None)
        return with_rate_targets(model, ensemble.neurons)

    model = Network(last)
    smaller = model.pruned()
    assert smaller.kept[model.made.obj.ensemble].tolist() == [0, 1, 2]
    assert smaller.kept[model.ens].tolist() == [*range(6)]
    check_same(model, smaller, [model.made])


def learning_rule(model):
    other = nengo.Node(size_in=1)
    rule = nengo.PES(1e-4)
    solver = NoSolver(np.zeros((6, 1)))
    conn = nengo.Connection(model.ens, other, learning_rule_type=rule, solver=solver)
    nengo.Connection(model.readout, conn.learning_rule)
    return nengo.Probe(other)


def voja(model):
    other = nengo.Ensemble(7, 1, label="other", seed=5)
    conn = nengo.Connection(model.ens, other, learning_rule_type=nengo.Voja())
    nengo.Connection(model.source, conn.learning_rule)
    return nengo.Probe(other.neurons)


def connection_that_is_probed(model):
    return nengo.Probe(model.conn, "weights")


@pytest.mark.parametrize("make", [learning_rule, voja, connection_that_is_probed])
def test_what_learns_stays_and_the_table_says_why(make):
    model = Network(make)
    smaller = model.pruned()
    assert smaller.kept[model.ens].tolist() == [0, 1, 2, 3, 4, 5]
    assert smaller.to_frame().set_index("name").note["ens"]
    check_same(model, smaller, [model.made])


def transform_from_direct(model):
    ensemble = nengo.Ensemble(1, 2, neuron_type=nengo.Direct())
    nengo.Connection(model.readout, ensemble[0])
    ends = [nengo.Node(size_in=2) for _ in range(2)]
    nengo.Connection(ensemble, ends[0], transform=[[1, 2], [3, 1]])
    nengo.Connection(ensemble, ends[1], transform=0.5, function=lambda x: x + 1)
    nengo.Connection(ends[0], ends[1])
    return nengo.Probe(ends[1])


def neurons_that_begin_above_the_threshold(model):
    states = {"voltage": nengo.dists.Choice([1.0])}
    kind = nengo.SpikingRectifiedLinear(initial_state=states)
    zero = {"gain": np.ones(2), "bias": np.zeros(2)}
    return nengo.Probe(nengo.Ensemble(2, 1, neuron_type=kind, **zero), solver=NoSolver([[1], [2]]))


def adapted_neurons(model):
    kind = nengo.AdaptiveLIF(initial_state={"adaptation": nengo.dists.Choice([-8.0])})
    low = {"gain": np.ones(2), "bias": np.full(2, 0.5)}
    return nengo.Probe(nengo.Ensemble(2, 1, neuron_type=kind, **low), solver=NoSolver([[1], [2]]))


def no_gain(model):
    ensemble = nengo.Ensemble(
        2, 1, neuron_type=nengo.RectifiedLinear(), gain=np.array([0.0, 1]), bias=np.ones(2)
    )
    nengo.Connection(model.readout, ensemble)
    return nengo.Probe(ensemble, solver=NoSolver([[1], [2]]))


def reversed_slices(model):
    end = nengo.Node(size_in=2)
    nengo.Connection(model.ens.neurons[[0, 2]], end[::-1])
    return nengo.Probe(end)


def keras_model(model):
    layer = tf.keras.Sequential([tf.keras.layers.Dense(2, dtype="float64")])
    node = nengo_dl.TensorNode(layer, (1,), (2,), pass_time=False)
    nengo.Connection(model.readout, node)
    return nengo.Probe(node)


@pytest.mark.parametrize(
    "make",
    [
        transform_from_direct,
        neurons_that_begin_above_the_threshold,
        adapted_neurons,
        no_gain,
        reversed_slices,
        keras_model,
    ],
)
def test_rare_objects_are_as_before(make):
    model = Network(make)
    with simulator(model.net) as sim:
        sim.run_steps(STEPS)
        before = sim.data[model.made]
        smaller = nengo_wd.pruned(sim)
    (after,) = recorded(smaller.network, [smaller[model.made]])
    assert np.any(before)
    np.testing.assert_allclose(after, before, rtol=1e-9)


def test_neurons_that_draw_random_numbers_go_together():
    model = Network(neuron_type=nengo.PoissonSpiking(nengo.RectifiedLinear()))
    smaller = model.pruned()
    assert len(smaller.kept[model.ens]) == 6
    assert "random" in smaller.to_frame().set_index("name").note["ens"]


def test_ensembles_that_lead_nowhere_are_left_out():
    def add(model):
        other = nengo.Ensemble(5, 1, label="other")
        nengo.Connection(model.ens, other)
        model.net.config[other.neurons].regularizer = "l2"
        return other

    model = Network(add)
    smaller = model.pruned()
    assert len(smaller.kept[model.made]) == 0
    with pytest.raises(KeyError, match="other.* was left out"):
        smaller[model.made]
    with pytest.raises(KeyError, match="is not in the network"):
        smaller[nengo.Node([1.0], add_to_container=False)]
    with simulator(smaller.network) as sim:
        nengo_wd.regularization_loss(sim)
    check_same(model, smaller)


def decoded_probe(model):
    return nengo.Probe(model.ens, synapse=0.01)


def silent_probe(model):
    """A probe of neurons that can't fire, and one of what enters them."""
    rates = {"gain": np.ones(3), "bias": -np.ones(3), "encoders": np.ones((3, 1))}
    ensemble = nengo.Ensemble(3, 1, neuron_type=nengo.RectifiedLinear(), **rates)
    nengo.Connection(model.readout, ensemble, transform=-1)
    nengo.Probe(ensemble, solver=NoSolver(np.ones((3, 1))))
    return nengo.Probe(ensemble, "input")


def array(model):
    array = nengo.networks.EnsembleArray(8, 2, seed=3)
    nengo.Connection(model.readout, array.input[:1], transform=0.01)
    return nengo.Probe(array.output[:1], synapse=0.01)


def direct(model):
    ensemble = nengo.Ensemble(1, 1, neuron_type=nengo.Direct())
    nengo.Connection(model.readout, ensemble)
    return nengo.Probe(ensemble)


def function_of_a_node(model):
    node = nengo.Node(lambda t, x: x, size_in=1)
    nengo.Connection(model.readout, node)
    end = nengo.Node(size_in=2)
    nengo.Connection(node, end, function=lambda x: [x[0], x[0] + 1])
    return nengo.Probe(end)


@pytest.mark.parametrize("make", [decoded_probe, silent_probe, array, direct, function_of_a_node])
def test_other_objects_are_as_before(make):
    model = Network(make)
    check_same(model, model.pruned(), [model.made])


def test_ensembles_of_arrays_go():
    model = Network(array)
    smaller = model.pruned()
    first, second = model.net.networks[0].ea_ensembles
    assert smaller.network.networks[0].ea_ensembles == [smaller[first]]
    assert len(smaller.kept[second]) == 0 < len(smaller.kept[first])


def odd(n):
    """Return weights from neurons with odd numbers to the first of others, which leads nowhere."""
    weights = np.zeros((n, n))
    weights[0, 1::2] = 1
    return weights


@pytest.mark.parametrize("use", slow_but({None}, [None, "probe", "rule"]))
@pytest.mark.parametrize(
    "make",
    [
        lambda a, b: nengo.Connection(a.neurons, b.neurons, transform=np.zeros((6, 6))),
        lambda a, b: nengo.Connection(a, b, solver=NoSolver(np.zeros((6, 1)))),
        lambda a, b: nengo.Connection(a, b, transform=0),
        lambda a, b: nengo.Connection(a.neurons[:2], b.neurons[3:5], transform=[0, 0]),
        lambda a, b: nengo.Connection(a.neurons, b.neurons, transform=odd(6)),  # those that go
    ],
)
def test_connections_of_zeros_go_unless_something_uses_them(make, use):
    def add(model):
        other = nengo.Ensemble(6, 1, gain=np.ones(6), bias=np.full(6, 50.0))
        nengo.Connection(other.neurons[1:], model.readout, transform=np.ones((1, 5)))
        conn = make(model.ens, other)
        if use == "probe":
            nengo.Probe(conn)
        elif use == "rule":
            conn.learning_rule_type = nengo_wd.Decay(0.1) if conn.is_decoded else None
        return conn

    model = Network(add)
    smaller = model.pruned()
    is_used = use == "probe" or model.made.learning_rule_type is not None
    assert (model.made in smaller) == is_used
    assert len(smaller.network.all_connections) == 3 + is_used
    check_same(model, smaller)


def test_settings_seeds_and_labels_go_along():
    model = Network()
    config = model.net.config
    strength = tf.Variable(0.5)
    config[model.conn].regularizer = nengo_wd.regularizers.Scheduled("l2", strength)
    config[model.ens.neurons].weight_decay = 0.1
    config[model.conn].trainable = False
    smaller = model.pruned()
    new = smaller.network.config
    assert new[smaller[model.conn]].regularizer.strength is strength
    assert new[smaller[model.ens.neurons]].weight_decay == 0.1
    assert new[smaller[model.conn]].trainable is False
    assert smaller[model.ens].label == "ens" and smaller[model.probe].label == "probe"
    assert set(smaller.network.all_objects).isdisjoint(model.net.all_objects)


def test_costs_of_groups_go_with_the_groups():
    model = Network()
    lasso = nengo_wd.regularizers.GroupLasso(0.1, groups="inputs", costs=[1, 2, 3, 4, 5, 6])
    model.net.config[model.conn].regularizer = lasso
    smaller = model.pruned()
    with simulator(smaller.network) as sim:
        loss = nengo_wd.regularization_loss(sim)
    np.testing.assert_allclose(loss, 0.1 * (1 * 1 + 3 * 2 + 5 * 3))
    assert len(lasso.costs) == 6


@pytest.mark.parametrize("is_variable", [False, True])
def test_costs_in_layers_go_with_the_channels(is_variable):
    strength = tf.Variable(0.1, trainable=False) if is_variable else 0.1

    def make(source):
        lasso = nengo_wd.regularizers.GroupLasso(strength, groups="outputs", costs=range(8))
        layer = nengo_wd.RegularizedDense(8, kernel_regularizer=lasso, name="layer")
        return nengo_dl.tensor_layer(source, layer)

    net, _, node, _ = layers(make, (3,))
    with simulator(net) as sim:
        smaller = nengo_wd.pruned(sim)
        kernel = tf.keras.backend.get_value(node.tensor_func.kernel)
        assert node.tensor_func.kernel_regularizer is not None
    with simulator(smaller.network) as sim:
        loss = nengo_wd.regularization_loss(sim)
    expected = 0.1 * np.sqrt(3) * 4 * np.linalg.norm(kernel[:, 4])
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize("make", [nengo_wd.RegularizedDense, tf.keras.layers.Dense])
def test_layers_keep_what_users_wrote(make):
    def near_one(weights):
        return tf.reduce_sum(tf.abs(weights - 1))

    def twice(x):
        return 2 * x

    def make_layer(source):
        layer = make(8, activation=twice, kernel_regularizer=near_one, dtype="float64")
        return nengo_dl.tensor_layer(source, layer)

    net, _, node, probe = layers(make_layer, (3,))
    with simulator(net) as sim:
        expected = sim.predict(n_steps=1)[probe]
        smaller = nengo_wd.pruned(sim)
    new = smaller[node].tensor_func
    assert new.kernel_regularizer is near_one and new.units == 8  # an activation of any kind
    with simulator(smaller.network) as sim:
        np.testing.assert_allclose(sim.predict(n_steps=1)[smaller[probe]], expected)


def test_defaults_of_layers_stay_defaults():
    def make_layer(source):
        return nengo_dl.tensor_layer(source, nengo_wd.RegularizedDense(8, name="layer"))

    net, _, node, _ = layers(make_layer, (3,))
    with simulator(net) as sim:
        smaller = nengo_wd.pruned(sim)
    with smaller.network:
        nengo_wd.configure_settings()
    smaller.network.config[smaller[node]].regularizer = None
    with simulator(smaller.network) as sim:
        assert nengo_wd.regularization_loss(sim) == 0


def test_trained_on_pruned_again_and_saved():
    model = Network(neuron_type=nengo.RectifiedLinear())
    smaller = model.pruned()
    net = pickle.loads(pickle.dumps(smaller.network))
    data = {smaller[model.source]: np.ones((1, STEPS, 1))}
    targets = {smaller[model.probe]: np.zeros((1, STEPS, 1))}
    with simulator(smaller.network) as sim:
        sim.compile(tf.optimizers.SGD(1e-9), loss="mse")
        losses = sim.fit(data, targets, epochs=2, verbose=0).history["loss"]
        again = nengo_wd.pruned(sim)
        (trained,) = sim.data.get_params((smaller[model.conn], "weights"))
    assert losses[1] < losses[0]
    inner = again[smaller[model.conn]]
    np.testing.assert_array_equal(inner.transform.init, trained)
    np.testing.assert_allclose(
        recorded(net, net.all_probes)[0], recorded(model.net, [model.probe])[0], rtol=1e-9
    )


# -- with data -----------------------------------------------------------------------------


def test_neurons_that_rarely_fire_go(capsys):
    """Rates are 140, 170, 200, 230, 260 and 290 Hz."""
    model = Network()
    data = {model.source: np.ones((3, 100, 1))}
    with simulator(model.net, minibatch_size=2) as sim:
        smaller = nengo_wd.pruned(sim, data, below=180)
        nothing = nengo_wd.pruned(sim, data, below=0)
    assert not capsys.readouterr().out
    assert smaller.kept[model.ens].tolist() == [2, 4]
    assert nothing.kept[model.ens].tolist() == [0, 2, 4]
    (before,), (after,) = (
        recorded(model.net, [model.probe], 100),
        recorded(smaller.network, [smaller[model.probe]], 100),
    )
    apart = np.sqrt(np.mean((after - before) ** 2) / np.mean(before**2))
    np.testing.assert_allclose(smaller.changes[model.probe], apart, rtol=1e-6)
    assert nothing.changes[model.probe] < 1e-12


# -- layers --------------------------------------------------------------------------------


def layers(make, shape, activation=None):
    """Return a network with a layer, and the layer's Node."""
    with nengo.Network(seed=0) as net:
        nengo_dl.configure_settings(dtype="float64")
        source = nengo.Node(np.zeros(int(np.prod(shape))))
        node = make(source)
        end = nengo.Node(size_in=2)
        weights = np.zeros((2, node.size_out))
        weights[:, ::4] = np.random.RandomState(0).randn(2, len(weights[0, ::4]))
        nengo.Connection(node, end, transform=weights, synapse=None)
        return net, source, node, nengo.Probe(end)


def declared(source):
    layer = nengo_wd.RegularizedConv1D(4, 3, input_shape=(6, 2), padding="same", name="conv")
    return nengo_dl.tensor_layer(source, layer)


def pooled(source):
    make = tf.keras.layers.AveragePooling1D(2, dtype="float64")
    conv = nengo_dl.TensorNode(
        tf.keras.layers.Conv1D(4, 1, dtype="float64"), (6, 2), (6, 4), pass_time=False
    )
    pool = nengo_dl.TensorNode(make, (6, 4), (3, 4), pass_time=False)
    nengo.Connection(source, conv, synapse=None)
    nengo.Connection(conv, pool, synapse=None)
    return pool


def in_two_dimensions(source):
    layer = nengo_wd.RegularizedConv2D(4, 2, activation="tanh", dtype="float64")
    node = nengo_dl.TensorNode(layer, (3, 2, 2), (2, 1, 4), pass_time=True)
    nengo.Connection(source, node, synapse=None)
    return node


@pytest.mark.parametrize("make", [declared, pooled, in_two_dimensions])
def test_channels_of_layers_go(make):
    net, source, node, probe = layers(make, (6, 2))
    data = np.random.RandomState(1).randn(1, 3, 12)
    with simulator(net) as sim:
        expected = sim.predict({source: data})[probe]
        smaller = nengo_wd.pruned(sim)
    assert smaller[node].size_out == node.size_out // 4
    assert smaller.kept[node].tolist() == list(range(0, node.size_out, 4))
    with simulator(smaller.network) as sim:
        after = sim.predict({smaller[source]: data})[smaller[probe]]
    np.testing.assert_allclose(after, expected, rtol=1e-9)


def test_softmax_stays_whole():
    def make(source):
        layer = nengo_wd.RegularizedDense(8, activation="softmax", name="softmax")
        return nengo_dl.tensor_layer(source, layer)

    net, _, node, _ = layers(make, (3,))
    with simulator(net) as sim:
        assert nengo_wd.pruned(sim)[node].size_out == 8


def test_converted_models():
    inputs = tf.keras.Input((6,))
    hidden = tf.keras.layers.Dense(8, activation="relu", kernel_regularizer="l2")(inputs)
    outputs = tf.keras.layers.Dense(2)(hidden)
    model = tf.keras.Model(inputs, outputs)
    kernel, bias = model.layers[2].get_weights()
    kernel[::2] = 0
    model.layers[2].set_weights([kernel, bias])
    converter = nengo_wd.Converter(model)
    probe, source = converter.outputs[model.outputs[0]], converter.inputs[model.inputs[0]]
    data = np.random.RandomState(0).randn(1, 2, 6)
    with simulator(converter.net) as sim:
        expected = sim.predict({source: data})[probe]
        smaller = nengo_wd.pruned(sim)
    (ensemble,) = converter.net.all_ensembles
    assert smaller.kept[ensemble].tolist() == [1, 3, 5, 7]
    with simulator(smaller.network) as sim:
        after = sim.predict({smaller[source]: data})[smaller[probe]]
        loss = nengo_wd.regularization_loss(sim)
    np.testing.assert_allclose(after, expected, rtol=1e-5)
    left = model.layers[1].get_weights()[0][:, 1::2]
    np.testing.assert_allclose(loss, 0.01 * np.sum(left**2), rtol=1e-5)


# -- bad input -----------------------------------------------------------------------------


@pytest.mark.parametrize("below", [-1, np.inf, np.nan, "5 Hz", True])
def test_bad_rates(below):
    with pytest.raises(ValidationError, match="below=.* must be a finite number of Hz"):
        Network().pruned(data=np.ones((1, 5, 1)), below=below)


def test_rates_without_data():
    with pytest.raises(ValidationError, match="below=1 needs data"):
        Network().pruned(below=1)


def test_networks_without_probes():
    model = Network()
    model.net.probes.remove(model.probe)
    with pytest.raises(ValidationError, match="has no probes"):
        model.pruned()


def test_closed_simulators():
    with simulator(Network().net) as sim:
        pass
    with pytest.raises(SimulatorClosed):
        nengo_wd.pruned(sim)
