"""Regularizers as settings on native Nengo objects, against NumPy on `sim.data`."""

import nengo
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf
from generations import (
    GENERATION,
    assign,
    sgd,
    simulator,
    tensor_node,
    total_loss,
    train,
    use_dtype,
    values,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from nengo.exceptions import NetworkContextError, ValidationError

import nengo_wd
from nengo_wd import nengo_dl, parameters, penalties
from nengo_wd.regularizers import GroupLasso, TowardsInitial

LEARNING_RATE = 0.125
UNSET = "unset"


def l1_l2(strengths):
    return None if strengths is None else tf.keras.regularizers.l1_l2(*strengths)


# -- random networks ---------------------------------------------------------------------


def decoded(a, b):
    return [nengo.Connection(a, b, function=np.square)]


def solved_weights(a, b):
    return [nengo.Connection(a, b, solver=nengo.solvers.LstsqL2(weights=True))]


def sliced(a, b):
    return [nengo.Connection(a[0], b[1]), nengo.Connection(b[[1, 0]], a)]


def neurons(a, b):
    weights = np.linspace(-1, 1, 5 * 6).reshape((6, 5))
    return [
        nengo.Connection(a.neurons, b.neurons, transform=weights),
        nengo.Connection(a.neurons[1:4], b.neurons[::2], transform=weights[:3, :3]),
    ]


def sparse(a, b):
    matrix = scipy.sparse.random(6, 5, 0.4, random_state=np.random.RandomState(0))
    scipy_weights = nengo.Sparse((6, 5), init=matrix)
    pairs = nengo.Sparse((6, 5), indices=[[0, 1], [2, 3], [5, 0]], init=[1.0, -2.0, 3.0])
    return [nengo.Connection(a.neurons, b.neurons, transform=t) for t in (scipy_weights, pairs)]


def convolutional(a, b):
    image = nengo.Node(np.zeros(4))
    filters = nengo.Convolution(2, (2, 2, 1), kernel_size=(1, 2), strides=(1, 1))
    return [nengo.Connection(image, a.neurons[:4], transform=filters)]


PARTS = [decoded, solved_weights, sliced, neurons, sparse, convolutional]
strengths = st.none() | st.sampled_from([(0.25, 0.0), (0.0, 0.5), (0.25, 0.5)])
overrides = st.sampled_from([UNSET]) | strengths


@st.composite
def specifications(draw, depth=0):
    """Draw a network's parts, its settings by class and by object, and its subnetworks."""
    return dict(
        parts=draw(st.lists(st.sampled_from(PARTS), min_size=1, max_size=2)),
        by_class=[draw(overrides) for _ in range(3)],
        by_object=draw(st.lists(overrides, min_size=12, max_size=12)),
        inner=[draw(specifications(depth=1))] if depth == 0 and draw(st.booleans()) else [],
    )


def build(specification, net):
    """Make the network; return the strengths that are expected for its objects."""
    inherited = {}
    with net:
        nengo_wd.configure_settings()
        ensembles = [nengo.Ensemble(5, 2, label="a"), nengo.Ensemble(6, 2, label="b")]
        source = nengo.Node(np.ones(2))
        connections = [nengo.Connection(source, e, transform=2 * np.eye(2)) for e in ensembles]
        connections += [c for part in specification["parts"] for c in part(*ensembles)]
        for inner in specification["inner"]:
            inherited.update(build(inner, nengo.Network()))
    groups = {
        nengo.Connection: connections,
        nengo.Ensemble: ensembles,
        nengo.ensemble.Neurons: [e.neurons for e in ensembles],
    }
    expected = {}
    by_object = iter(specification["by_object"])
    for (configured, objects), by_class in zip(groups.items(), specification["by_class"]):
        if by_class != UNSET:
            net.config[configured].regularizer = l1_l2(by_class)
            for obj in inherited:
                if isinstance(obj, configured) and inherited[obj] == UNSET:
                    inherited[obj] = by_class
        for obj in objects:
            expected[obj], own = by_class, next(by_object)
            if own != UNSET:
                net.config[obj].regularizer = l1_l2(own)
                expected[obj] = own
    return {**inherited, **expected}


def data(sim, obj):
    """Return the values of an object's parameter from NengoDL's own records."""
    if isinstance(obj, nengo.Connection):
        return sim.data[obj].weights
    if isinstance(obj, nengo.Ensemble):
        return sim.data[obj].scaled_encoders
    return sim.data[obj.ensemble].bias


def train_on_penalties_alone(sim, probe):
    if GENERATION == 3:
        sim.compile(sgd(LEARNING_RATE), loss=nengo_wd.regularized_objective(sim, None))
        sim.fit(n_steps=1, verbose=0)
    else:
        objective = nengo_wd.regularized_objective(sim, {probe: None})  # a gradient of zero
        train(sim, {}, {probe: np.zeros((1, 1, 2))}, objective, sgd(LEARNING_RATE))


@settings(max_examples=10, deadline=None, derandomize=True)
@given(specification=specifications())
def test_random_networks(specification):
    tf.keras.backend.clear_session()
    net = nengo.Network(seed=0)
    with net:
        use_dtype("float64")
    expected = {obj: s for obj, s in build(specification, net).items() if s not in (None, UNSET)}
    with net:
        probe = nengo.Probe(net.all_ensembles[0])
    everything = [o for e in net.all_ensembles for o in (e, e.neurons)] + net.all_connections
    with simulator(net) as sim:
        before = {obj: data(sim, obj) for obj in everything}
        by_hand = [
            l1 * np.abs(before[obj]).sum() + l2 * (before[obj] ** 2).sum()
            for obj, (l1, l2) in expected.items()
        ]
        reported = nengo_wd.regularization_losses(sim)
        assert sorted(reported.values()) == pytest.approx(sorted(by_hand), rel=1e-12)
        if expected:
            train_on_penalties_alone(sim, probe)
        for obj in everything:
            l1, l2 = expected.get(obj, (0, 0))
            gradient = l1 * np.sign(before[obj]) + 2 * l2 * before[obj]
            np.testing.assert_allclose(
                data(sim, obj), before[obj] - LEARNING_RATE * gradient, rtol=1e-12, atol=1e-15
            )


# -- one network -------------------------------------------------------------------------


class Model:
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


@pytest.fixture
def model():
    return Model()


def test_value_given_to_configure_settings_holds_for_connections_and_tensor_nodes():
    model = Model(regularizer="l2")
    with simulator(model.net) as sim:
        expected = {"ab.weights", "bn.weights", "dense.kernel"}
        if GENERATION == 2:  # there, the plain connection has a weight of 1
            expected.add("source->a.weights")
        assert set(nengo_wd.regularization_losses(sim)) == expected


def test_loss_that_training_reports(model):
    model.config[nengo.Connection].regularizer = "l2"
    model.config[model.a].regularizer = "l1"
    model.config[model.b.neurons].regularizer = lambda w: tf.reduce_max(w)
    model.config[model.node].regularizer = GroupLasso(0.5)
    with simulator(model.net) as sim:
        data_loss = total_loss(sim, model.inputs, model.targets, {model.probe: "mse"})
        for _ in range(2):
            objective = nengo_wd.regularized_objective(sim, {model.probe: "mse"})
        total = total_loss(sim, model.inputs, model.targets, objective)
        penalty = nengo_wd.regularization_loss(sim)
        assert total == pytest.approx(data_loss + penalty, rel=1e-9)
        assert penalty > 0.1


def test_setting_changed_between_two_objectives(model):
    with simulator(model.net) as sim:
        totals = []
        for strength in (0.5, 0.25, 0.5, None):
            model.config[model.conn].regularizer = l1_l2(strength and (0, strength))
            objective = nengo_wd.regularized_objective(sim, {model.probe: "mse"})
            total = total_loss(sim, model.inputs, model.targets, objective)
            totals.append(total - nengo_wd.regularization_loss(sim))
        assert totals == pytest.approx([totals[0]] * 4, rel=1e-12)
        assert nengo_wd.regularization_losses(sim) == {}


def test_layers_own_regularizer_wins_over_the_setting_of_its_node():
    layer = nengo_wd.RegularizedDense(3, kernel_regularizer="l1", name="readout")
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(regularizer="l2")
        node = tensor_node(layer, 2, 3)
        probe = nengo.Probe(node)
    with simulator(net) as sim:
        weights = parameters.values(parameters.of(sim, node))[0]
        nengo_wd.regularized_objective(sim, {probe: "mse"})
        losses = nengo_wd.regularization_losses(sim)
    assert losses == {"readout.kernel": pytest.approx(0.01 * np.abs(weights).sum(), rel=1e-6)}


def test_shared_layer_counts_once_and_needs_one_setting():
    layer = nengo_wd.RegularizedDense(3, kernel_regularizer=None, name="shared")
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings()
        nodes = [tensor_node(layer, 2, 3) for _ in range(2)]
        nengo.Probe(nodes[0])
    with simulator(net) as sim:
        net.config[nengo_dl.TensorNode].regularizer = "l2"
        assert list(nengo_wd.regularization_losses(sim)) == ["shared.kernel"]
        net.config[nodes[0]].regularizer = "l1"
        with pytest.raises(ValidationError, match="shared.kernel is shared by.*different"):
            nengo_wd.regularization_losses(sim)


def test_inner_network_inherits_and_overrides():
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(regularizer=tf.keras.regularizers.l2(0.5))
        with nengo.Network() as inherits:
            nengo_wd.configure_settings()
            one = nengo.Connection(nengo.Ensemble(5, 1), nengo.Ensemble(5, 1), label="one")
        with nengo.Network():
            nengo_wd.configure_settings(regularizer=tf.keras.regularizers.l2(0.25))
            two = nengo.Connection(nengo.Ensemble(5, 1), nengo.Ensemble(5, 1), label="two")
        with nengo.Network() as without:
            nengo_wd.configure_settings()
            without.config[nengo.Connection].regularizer = None
            nengo.Connection(nengo.Ensemble(5, 1), nengo.Ensemble(5, 1), label="three")
    assert inherits.config[nengo.Connection].regularizer is None
    with simulator(net) as sim:
        assert nengo_wd.regularization_losses(sim) == {
            "one.weights": pytest.approx(0.5 * np.sum(sim.data[one].weights ** 2), rel=1e-6),
            "two.weights": pytest.approx(0.25 * np.sum(sim.data[two].weights ** 2), rel=1e-6),
        }


def test_parameter_knows_its_values(model):
    with simulator(model.net) as sim:
        for obj, shape in ((model.conn, (2, 5)), (model.a, (5, 2)), (model.b.neurons, (6,))):
            (parameter,) = parameters.of(sim, obj)
            assert parameter.shape == parameter.value.shape == shape
            np.testing.assert_array_equal(parameter.value, data(sim, obj))
            np.testing.assert_allclose(parameter.initial, data(sim, obj), rtol=1e-12)


def test_regularizer_without_a_configuration(model):
    class Quartic(tf.keras.regularizers.Regularizer):
        def __call__(self, weights):
            return tf.reduce_sum(weights**4)

    model.config[nengo.Connection].regularizer = Quartic()
    with simulator(model.net) as sim:
        expected = (sim.data[model.conn].weights ** 4).sum()
        assert nengo_wd.regularization_losses(sim)["ab.weights"] == pytest.approx(expected)


def test_bad_activity_leaves_the_simulator_as_it_was(model):
    model.config[model.conn].regularizer = tf.keras.regularizers.l2(10.0)
    model.config[model.probe].regularizer = lambda activity: activity
    with simulator(model.net) as sim:
        before = total_loss(sim, model.inputs, model.targets, {model.probe: "mse"})
        with pytest.raises(ValidationError, match="must be a scalar"):
            objective = nengo_wd.regularized_objective(sim, {model.probe: "mse"})
            total_loss(sim, model.inputs, model.targets, objective)
        assert total_loss(sim, model.inputs, model.targets, {model.probe: "mse"}) == before


@pytest.mark.generation(2)
def test_layer_that_a_later_simulator_has_taken(model):
    model.config[model.node].regularizer = "l2"
    with simulator(model.net) as first, simulator(model.net):
        with pytest.raises(ValidationError, match="built again by a later simulator"):
            nengo_wd.regularization_losses(first)


def test_settings_hold_for_inference_only(model):
    with model.net:
        nengo_dl.configure_settings(inference_only=True)
    model.config[model.a.neurons].regularizer = "l2"
    model.config[model.conn].regularizer = "l2"
    with simulator(model.net) as sim:
        assert list(nengo_wd.regularization_losses(sim)) == ["ab.weights"]


# -- regularizers that Keras does not have -----------------------------------------------


def test_towards_initial_pulls_back(model):
    model.config[nengo.Connection].regularizer = TowardsInitial(l1=0.25, l2=0.5)
    model.config[model.a].regularizer = tf.keras.regularizers.l2(0.5)
    model.config[model.node].regularizer = TowardsInitial(l2=1.0)
    with model.net:  # in the same variable, pulled towards zero
        other = nengo.Connection(model.a, model.b, label="other")
    model.config[other].regularizer = tf.keras.regularizers.l2(0.25)
    with simulator(model.net) as sim:
        (encoders,) = parameters.of(sim, model.a)
        initial = encoders.value
        to_zero = 0.5 * (initial**2).sum() + 0.25 * (sim.data[other].weights ** 2).sum()
        assert nengo_wd.regularization_loss(sim) == pytest.approx(to_zero)
        (kernel,) = parameters.of(sim, model.node)
        assign(sim, kernel.variable, kernel.value + 2)
        assert nengo_wd.regularization_losses(sim)["dense.kernel"] == pytest.approx(4 * 6)
        (decoders,) = parameters.of(sim, model.conn)
        (shifted,) = values(sim, [decoders.variable])
        assign(sim, decoders.variable, shifted + 1)
        losses = nengo_wd.regularization_losses(sim)
        assert losses["ab.weights"] == pytest.approx(10 * (0.25 + 0.5), rel=1e-12)
        data_loss = total_loss(sim, model.inputs, model.targets, {model.probe: "mse"})
        objective = nengo_wd.regularized_objective(sim, {model.probe: "mse"})
        total = total_loss(sim, model.inputs, model.targets, objective)
        assert total == pytest.approx(data_loss + sum(losses.values()), rel=1e-9)


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 1), None])
def test_group_lasso_equals_numpy(axis):
    weights = np.random.RandomState(0).uniform(-1, 1, size=(4, 3))
    weights[1] = 0
    with tf.Graph().as_default(), tf.compat.v1.Session() as sess:
        tensor = tf.constant(weights)
        penalty = GroupLasso(0.5, axis)(tensor)
        value, gradient = sess.run([penalty, tf.gradients(penalty, tensor)[0]])
    over = {0: 1, 1: 0, -1: 0, (0, 1): (), None: (0, 1)}[axis]
    norms = np.sqrt(np.sum(weights**2, axis=over, keepdims=True))
    scale = 0.5 * np.sqrt(weights.size / norms.size)
    assert value == pytest.approx(scale * norms.sum(), rel=1e-12)
    direction = np.divide(weights, norms, where=norms > 0, out=np.zeros_like(weights))
    np.testing.assert_allclose(gradient, scale * direction, rtol=1e-12)


def test_towards_initial_is_no_argument_of_a_layer():
    layer = nengo_wd.RegularizedDense(3, kernel_regularizer=TowardsInitial(l2=1.0))
    with nengo.Network() as net:
        tensor_node(layer, 2, 3)
    with pytest.raises(ValidationError, match="setting for Nengo objects"):
        simulator(net)


@pytest.mark.parametrize("regularizer", [TowardsInitial(0.5, 0.25), GroupLasso(0.5, axis=(0, 1))])
def test_regularizers_round_trip(regularizer):
    again = type(regularizer).from_config(regularizer.get_config())
    assert again.get_config() == regularizer.get_config()


# -- cost --------------------------------------------------------------------------------


def number_of_ops(n_objects):
    """Count the operations of the penalties on ``n_objects`` connections."""
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(regularizer="l2")
        a = nengo.Ensemble(5, 1)
        connections = [nengo.Connection(a, nengo.Ensemble(5, 1)) for _ in range(n_objects)]
        for connection in connections[::2]:
            net.config[connection].regularizer = "l1"
    with simulator(net) as sim:
        (loss,) = penalties.expressions(penalties.of_settings(sim))
        if GENERATION == 3:
            return len(tf.function(loss).get_concrete_function().graph.get_operations())
        with sim.tensor_graph.graph.as_default() as graph:
            before = len(graph.get_operations())
            loss()
            return len(graph.get_operations()) - before


def test_number_of_operations_does_not_grow_with_the_objects():
    assert number_of_ops(4) == number_of_ops(400) < 20


# -- bad input ---------------------------------------------------------------------------


def complain(model, match):
    """Expect the same complaint from everything that reads the settings."""
    with simulator(model.net) as sim:
        for function in (
            nengo_wd.regularization_losses,
            lambda sim: nengo_wd.regularized_objective(sim, {model.probe: "mse"}),
        ):
            with pytest.raises(ValidationError, match=match):
                function(sim)


def test_setting_for_nothing_to_train(model):
    with model.net:
        silent = nengo.Ensemble(5, 1, neuron_type=nengo.Direct(), label="direct")
    model.config[silent.neurons].regularizer = "l2"
    complain(model, "direct.* has a regularizer, but it has no biases that could be trained")


def test_setting_for_a_tensor_node_without_weights(model):
    with model.net:
        node = tensor_node(relu, 2, 2)
    model.config[node].regularizer = "l2"
    complain(model, "TensorNode.* has a regularizer, but its function has no trainable weights")


def relu(t, x):
    return tf.nn.relu(x)


def test_setting_for_what_is_not_trained(model):
    with model.net:
        nengo_dl.configure_settings(trainable=None)
    model.config[model.conn].trainable = False
    model.config[model.conn].regularizer = "l2"
    complain(model, "Connection ab.*its weights are set not to be trainable")


def test_setting_for_what_a_learning_rule_owns(model):
    model.conn.learning_rule_type = nengo.PES()
    model.config[model.conn].regularizer = "l2"
    complain(model, "its weights are changed by a learning rule")


def test_setting_for_an_object_of_another_network(model):
    with nengo.Network():
        stranger = nengo.Ensemble(5, 1, label="stranger")
    model.config[stranger].regularizer = "l2"
    complain(model, "stranger.* is not in that network")


def test_regularizer_that_returns_the_wrong_shape(model):
    model.config[model.conn].regularizer = lambda w: tf.reduce_sum(w, axis=0)
    complain(model, r"ab\.weights has shape \(5,\), but must be a scalar")


@pytest.mark.parametrize("value", ["l3", tf.keras.regularizers.l2(-1.0), 0.5])
def test_value_that_is_no_regularizer(model, value):
    with pytest.raises(ValidationError, match="a.*regularizer|strength"):
        model.config[model.a].regularizer = value
    with pytest.raises(ValidationError, match="Connection.*regularizer|strength"):
        model.config[nengo.Connection].regularizer = value


def test_configure_settings_outside_of_a_network():
    with pytest.raises(NetworkContextError, match="within a network"):
        nengo_wd.configure_settings(regularizer="l2")
