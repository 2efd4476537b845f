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
    variable,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from internals import n_operations_of_penalties
from nengo.exceptions import ValidationError
from networks import Ensembles, l1_l2, native_weights, parameters_of, readout_network

import nengo_wd
from nengo_wd import nengo_dl
from nengo_wd.regularizers import GroupLasso, TowardsInitial

LEARNING_RATE = 0.125
UNSET = "unset"


def regularizer(strengths):
    return None if strengths is None else l1_l2(*strengths)


@pytest.fixture
def model():
    return Ensembles()


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
            net.config[configured].regularizer = regularizer(by_class)
            for obj in inherited:
                if isinstance(obj, configured) and inherited[obj] == UNSET:
                    inherited[obj] = by_class
        for obj in objects:
            expected[obj], own = by_class, next(by_object)
            if own != UNSET:
                net.config[obj].regularizer = regularizer(own)
                expected[obj] = own
    return {**inherited, **expected}


def train_on_penalties_alone(sim, probe):
    if GENERATION == 3:
        sim.compile(sgd(LEARNING_RATE), loss=nengo_wd.regularized_objective(sim, None))
        sim.fit(n_steps=1, verbose=0)
    else:
        objective = nengo_wd.regularized_objective(sim, {probe: None})  # a gradient of zero
        train(sim, {}, {probe: np.zeros((1, 1, 2))}, objective, sgd(LEARNING_RATE))


@settings(max_examples=6, deadline=None, derandomize=True)
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
        before = {obj: native_weights(sim, obj) for obj in everything}
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
                native_weights(sim, obj),
                before[obj] - LEARNING_RATE * gradient,
                rtol=1e-12,
                atol=1e-15,
            )


# -- one network -------------------------------------------------------------------------


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
            model.config[model.conn].regularizer = regularizer(strength and (0, strength))
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
        weights = parameters_of(sim, node)[0].value
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
        for other in ("l1", None):
            net.config[nodes[0]].regularizer = other
            with pytest.raises(ValidationError, match="shared.kernel is shared by.*different"):
                nengo_wd.regularization_losses(sim)


def test_regularizer_without_a_configuration(model):
    class Quartic(tf.keras.regularizers.Regularizer):
        def __call__(self, weights):
            return tf.reduce_sum(weights**4)

    model.config[nengo.Connection].regularizer = Quartic()
    with simulator(model.net) as sim:
        expected = (sim.data[model.conn].weights ** 4).sum()
        assert nengo_wd.regularization_losses(sim)["ab.weights"] == pytest.approx(expected)


@pytest.mark.generation(2)
def test_layer_that_a_later_simulator_has_taken(model):
    model.config[model.node].regularizer = "l2"
    with simulator(model.net) as first:
        before = nengo_wd.regularization_losses(first)
        with simulator(model.net):
            assert nengo_wd.regularization_losses(first) == before
    assert before["dense.kernel"] > 0


def test_settings_hold_for_inference_only(model):
    with model.net:
        nengo_dl.configure_settings(inference_only=True)
    model.config[model.a.neurons].regularizer = "l2"
    model.config[model.conn].regularizer = "l2"
    with simulator(model.net) as sim:
        assert list(nengo_wd.regularization_losses(sim)) == ["ab.weights"]


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
        return n_operations_of_penalties(sim)


def test_number_of_operations_does_not_grow_with_the_objects():
    assert number_of_ops(4) == number_of_ops(100) < 20


# -- strengths that are changed --------------------------------------------------------------


@pytest.mark.traced
def test_changed_strengths_count_without_compiling_again(model):
    """Only strengths change here: what is penalized, and by which norms, stays as it was."""
    traces = []

    def counted(one, other):
        traces.append(1)
        return tf.reduce_mean((one - other) ** 2)

    model.config[model.conn].regularizer = l1_l2(0.25, 0.5)
    model.config[model.a].regularizer = tf.keras.regularizers.l2(0.125)
    with simulator(model.net) as sim:
        objective = nengo_wd.regularized_objective(sim, {model.probe: counted})
        data_loss = total_loss(sim, model.inputs, model.targets, objective)
        data_loss -= nengo_wd.regularization_loss(sim)
        n_traces = len(traces)
        for regularizer in (l1_l2(0.0, 2.0), tf.keras.regularizers.l2(0.75), None):
            model.config[model.conn].regularizer = regularizer
            again = nengo_wd.regularized_objective(sim, {model.probe: counted})
            if GENERATION == 2 and regularizer:  # an objective that is equal is built only once
                assert again == objective
            total = total_loss(sim, model.inputs, model.targets, objective)
            weights, encoders = (
                np.asarray(native_weights(sim, obj), np.float64) for obj in (model.conn, model.a)
            )
            l2 = 0 if regularizer is None else float(regularizer.l2)
            expected = l2 * np.sum(weights**2) + 0.125 * np.sum(encoders**2)
            assert total - data_loss == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert len(traces) == n_traces


KINDS = {
    "L1": (tf.keras.regularizers.l1(1.0), lambda w, w0: np.abs(w).sum()),
    "L2": (tf.keras.regularizers.l2(1.0), lambda w, w0: np.square(w).sum()),
    "towards initial": (TowardsInitial(l2=5.0), lambda w, w0: 5 * np.square(w - w0).sum()),
    "group lasso": (
        GroupLasso(1.0, axis=None),
        lambda w, w0: np.sqrt(w.size) * np.sqrt(np.square(w).sum()),
    ),
}


@pytest.mark.parametrize(
    "before, after",
    [
        ("L2", "L1"),
        ("L2", "towards initial"),
        ("towards initial", "L2"),
        ("group lasso", "L2"),
        ("L1", "group lasso"),
    ],
)
def test_another_kind_counts_when_it_is_compiled(before, after, model):
    """Until then, what was compiled keeps the penalty that it had."""
    with simulator(model.net) as sim:
        initial = np.asarray(native_weights(sim, model.conn), np.float64)
        (decoders,) = parameters_of(sim, model.conn)
        assign(sim, decoders.variable, values(sim, [decoders.variable])[0] + 1)
        weights = initial + 1
        losses, expected = [total_loss(sim, model.inputs, model.targets, {model.probe: "mse"})], []
        for kind in (before, after):
            regularizer, formula = KINDS[kind]
            model.config[model.conn].regularizer = regularizer
            if losses[1:] and GENERATION == 3:  # as it was compiled
                nengo_wd.regularized_objective(sim, {model.probe: "mse"})
                losses.append(sim.evaluate(model.inputs, model.targets, verbose=0)["loss"])
                expected.append(expected[-1])
            objective = nengo_wd.regularized_objective(sim, {model.probe: "mse"})
            losses.append(total_loss(sim, model.inputs, model.targets, objective))
            expected.append(formula(weights, initial))
    if (before, after) == ("towards initial", "L2") and GENERATION == 3:
        expected[1] = expected[2]  # a strength and a centre alone, which count at once
    np.testing.assert_allclose(np.array(losses[1:]) - losses[0], expected, rtol=1e-9)


def test_a_norm_without_a_strength_counts_for_nothing():
    """Also where its sum is too large to be a number."""
    net, source, layer, probe = readout_network(strength=None)
    node = next(node for node in net.nodes if isinstance(node, nengo_dl.TensorNode))
    inputs, targets = {source: np.zeros((1, 1, 2))}, {probe: np.zeros((1, 1, 3))}
    with simulator(net) as sim:
        for regularizer in (l1_l2(1e-20, 1e-20), l1_l2(1e-20, 0.0)):
            net.config[node].regularizer = regularizer
            objective = nengo_wd.regularized_objective(sim, {probe: "mse"})
        assign(sim, layer.kernel, np.full((2, 3), 1e20, np.float32))
        total = total_loss(sim, inputs, targets, objective)
    assert total == pytest.approx(6.0, rel=1e-6)


# -- strengths in variables ------------------------------------------------------------------


def with_strengths(regularizer, **strengths):
    for name, strength in strengths.items():
        setattr(regularizer, name, strength)
    return regularizer


def test_strengths_in_variables_count_as_they_are(model):
    with simulator(model.net) as sim:
        strength = variable(sim, 0.0)  # in float32, other than the weights
        model.config[model.conn].regularizer = with_strengths(l1_l2(0.0, 0.0), l2=strength)
        model.config[model.b].regularizer = with_strengths(
            tf.keras.regularizers.l1(0.0), l1=strength
        )
        model.config[model.b.neurons].regularizer = with_strengths(
            tf.keras.regularizers.l2(0.0), l2=strength
        )
        model.config[model.node].regularizer = TowardsInitial(l2=strength)
        model.config[model.a].regularizer = GroupLasso(strength, axis=None)
        objective = nengo_wd.regularized_objective(sim, {model.probe: "mse"})
        assign(sim, model.layer.kernel, values(sim, [model.layer.kernel])[0] + 1)
        arguments = sim, model.inputs, model.targets, objective
        without = total_loss(*arguments)
        norms = nengo_wd.WeightNorms(sim)
        encoders = sim.data[model.a].scaled_encoders
        sums = [
            np.sum(sim.data[model.conn].weights ** 2),
            np.sum(np.abs(sim.data[model.b].scaled_encoders)),
            np.sum(sim.data[model.b].bias ** 2),
            model.layer.kernel.shape.num_elements(),
            np.sqrt(encoders.size) * np.linalg.norm(encoders),
        ]
        for value in (0.5, 0.25):
            assign(sim, strength, value)
            assert total_loss(*arguments) - without == pytest.approx(value * sum(sums))
            assert nengo_wd.regularization_loss(sim) == pytest.approx(value * sum(sums))
            norms.record()
            assert norms.total_penalties[-1] == pytest.approx(value * sum(sums))


def test_a_variable_takes_the_place_of_a_number(model):
    with simulator(model.net) as sim:
        l2 = tf.keras.regularizers.l2(0.5)
        model.config[model.conn].regularizer = l2
        for value in (0.25, 0.75):
            l2.l2 = variable(sim, value)
            objective = nengo_wd.regularized_objective(sim, {model.probe: "mse"})
            total = total_loss(sim, model.inputs, model.targets, objective)
        l2.l2 = 0.0
        objective = nengo_wd.regularized_objective(sim, {model.probe: "mse"})
        without = total_loss(sim, model.inputs, model.targets, objective)
        expected = 0.75 * np.sum(sim.data[model.conn].weights ** 2)
    assert total - without == pytest.approx(expected)


@pytest.mark.generation(2)
def test_strength_in_a_variable_of_another_simulator(model):
    with simulator(model.net) as first, simulator(model.net) as sim:
        model.config[model.conn].regularizer = TowardsInitial(l2=variable(first, 0.5))
        with pytest.raises(ValidationError, match="not in the graph of the simulator"):
            nengo_wd.regularization_losses(sim)


@pytest.mark.generation(3)
def test_strength_of_a_layer_in_a_variable():
    strength = tf.Variable(0.0)
    l2 = with_strengths(tf.keras.regularizers.l2(0.0), l2=strength)
    net, source, layer, probe = readout_network(strength=None)
    layer.kernel_regularizer = l2
    with simulator(net) as sim:
        objective = nengo_wd.regularized_objective(sim, {probe: "mse"})
        data = {source: np.zeros((1, 1, 2))}, {probe: np.zeros((1, 1, 3))}
        totals = []
        for value in (0.25, 0.5):
            strength.assign(value)
            totals.append(total_loss(sim, *data, objective))
    np.testing.assert_allclose(totals, [0.25 * 6, 0.5 * 6])
