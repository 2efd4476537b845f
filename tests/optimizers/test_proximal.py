"""Proximal steps against the rules written out in NumPy."""

import warnings
from functools import partial

import by_hand
import nengo
import numpy as np
import pytest
import tensorflow as tf
from by_hand import DECAY, OPTIMIZERS, RATE, STEPS, gradient_descent, shrunk, shrunk_groups
from generations import (
    GENERATION,
    assign,
    sgd,
    simulator,
    tensor_node,
    total_loss,
    train,
    values,
    variable,
)
from internals import XLA, without_xla
from nengo.exceptions import ValidationError
from networks import (
    ThreeConnections,
    connected,
    network_of,
    parameters_of,
    product,
    regression,
    solve,
)

import nengo_wd
from nengo_wd.optimizers.proximal import _replaced
from nengo_wd.regularizers import GroupLasso, Scheduled, TowardsInitial

schedules = tf.keras.optimizers.schedules
keras = tf.keras.regularizers


@pytest.fixture
def model():
    return ThreeConnections()


class Ramp(schedules.LearningRateSchedule):
    def __call__(self, step):
        return tf.cast(step, tf.float32) / 8


def proximal(sim, optimizer, **kwargs):
    return nengo_wd.proximal_regularization(sim, optimizer, **kwargs)


# -- the formulas ----------------------------------------------------------------------------

KINDS = {  # a regularizer, and its step of a size
    "L1": (keras.l1(0.5), lambda w, s, w0: shrunk(w, s * 0.5)),
    "L2": (keras.l2(0.25), lambda w, s, w0: shrunk(w, l2=s * 0.25)),
    "both": (keras.l1_l2(0.5, 0.25), lambda w, s, w0: shrunk(w, s * 0.5, s * 0.25)),
    "pulled": (TowardsInitial(0.25, 0.5), lambda w, s, w0: shrunk(w, s * 0.25, s * 0.5, w0)),
    "rows": (GroupLasso(0.25, axis=0), lambda w, s, w0: shrunk_groups(w, s * 0.25, 0)),
    "columns": (GroupLasso(0.25, axis=1), lambda w, s, w0: shrunk_groups(w, s * 0.25, 1)),
    "all": (GroupLasso(0.25, axis=None), lambda w, s, w0: shrunk_groups(w, s * 0.25, None)),
    "scaled": (Scheduled(keras.l1(1.0), 0.25), lambda w, s, w0: shrunk(w, s * 0.25)),
    "scaled rows": (Scheduled(GroupLasso(0.5), 0.5), lambda w, s, w0: shrunk_groups(w, s / 4, 0)),
}


@pytest.mark.parametrize(
    "kinds, name, scaled",
    [
        (("L1", "L2"), "SGD", True),
        (("both", "pulled"), "SGD", False),
        (("rows", "columns"), "SGD", True),
        (("all", "L1"), "Adam", True),
        (("scaled", "scaled rows"), "momentum", True),
        (("pulled", "rows"), "Adam", False),
    ],
)
def test_steps_of_two_connections_leave_the_third_as_it_is(kinds, name, scaled, model):
    rule, make = OPTIMIZERS[name]
    model.set("regularizer", *(KINDS[kind][0] for kind in kinds))
    with simulator(model.net) as sim:
        optimizer = proximal(sim, make(), scale_by_learning_rate=scaled)
        trained = model.train(sim, optimizer)
    size = RATE if scaled else 1
    steps = [*(KINDS[kind][1] for kind in kinds), lambda w, s, w0: w]
    for i, (step, start) in enumerate(zip(steps, model.start)):
        step = partial(step, s=size, w0=start)
        updates = rule(model.gradient[i], RATE)
        expected = by_hand.with_proximal_steps(start, updates, step)
        np.testing.assert_allclose(trained[i], expected, rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(trained[i] == 0, expected == 0)


def test_ends_of_the_steps(model):
    """L1 at zero, L2 on its side of zero, and what is pulled at the initial value, exactly."""
    model.set("regularizer", keras.l1(100.0), keras.l2(1e6), TowardsInitial(l1=100.0))
    with simulator(model.net) as sim:
        optimizer = proximal(sim, sgd(RATE))
        start = model.weights(sim)
        first = model.train(sim, optimizer, epochs=1)
        last = model.train(sim, optimizer, epochs=3)
    for weights in (first, last):
        assert np.all(weights[0] == 0)
        np.testing.assert_array_equal(weights[2], start[2])
    moved = start[1] - RATE * model.gradient[1]
    assert np.all(np.sign(first[1]) == np.sign(moved)) and np.all(first[1] != 0)


def test_steps_with_no_strength_change_no_bit(model):
    model.objective = {probe: zero for probe in model.probes}
    with simulator(model.net) as sim:
        strength = variable(sim, 0.0)
        model.set(
            "regularizer",
            Scheduled(TowardsInitial(0.5, 0.5), strength),
            Scheduled(GroupLasso(0.5), strength),
            Scheduled(keras.l1_l2(0.5, 0.5), strength),
        )
        optimizer = proximal(sim, sgd(RATE))
        (changed,) = {id(p.variable): p.variable for p in norms_of(sim).values()}.values()
        weights = values(sim, [changed])[0] * np.pi
        assign(sim, changed, weights)
        model.train(sim, optimizer, epochs=1)
        np.testing.assert_array_equal(values(sim, [changed])[0], weights)


def zero(one, other):
    return 0 * product(one, other)


def norms_of(sim):
    return nengo_wd.WeightNorms(sim).parameters


def test_strengths_and_rates_that_move(model):
    rate = schedules.PiecewiseConstantDecay([3], [RATE, RATE / 2]) if GENERATION == 3 else RATE
    model.set("regularizer", Scheduled(keras.l1(0.5), Ramp()), Scheduled(GroupLasso(0.5), Ramp()))
    with simulator(model.net) as sim:
        trained = model.train(sim, proximal(sim, sgd(rate)))
    weights = model.start
    for step in range(STEPS):
        now = RATE if step <= 3 or GENERATION == 2 else RATE / 2
        weights = weights - now * model.gradient
        weights[0] = shrunk(weights[0], now * 0.5 * step / 8)
        weights[1] = shrunk_groups(weights[1], now * 0.5 * step / 8, 0)
    np.testing.assert_allclose(trained, weights, rtol=1e-6, atol=1e-9)


def test_a_variable_is_assigned_between_trainings(model):
    with simulator(model.net) as sim:
        strength = variable(sim, 0.5)
        model.set("regularizer", Scheduled(keras.l1(0.5), strength))
        optimizer = proximal(sim, sgd(RATE))
        weights = model.train(sim, optimizer, epochs=1)
        np.testing.assert_allclose(
            weights[0], shrunk(model.start[0] - RATE * model.gradient[0], RATE * 0.25), rtol=1e-9
        )
        assign(sim, strength, np.float32(2.0))
        if GENERATION == 3:
            sim.fit(model.inputs, model.targets, verbose=0)
        else:
            model.train(sim, optimizer, epochs=1)
        expected = shrunk(weights[0] - RATE * model.gradient[0], RATE)
        np.testing.assert_allclose(model.weights(sim)[0], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("xla", XLA)
def test_large_variables_step_as_small_ones_do(xla, monkeypatch):
    if not xla:
        without_xla(monkeypatch)
    size = 600
    start = np.random.RandomState(0).uniform(-1, 1, size=(size, size)).astype(np.float32)
    kinds = [keras.l1_l2(0.5, 0.25), TowardsInitial(0.5, 0.5), GroupLasso(0.1, axis=1), None]
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings()
        source, ends = nengo.Node(np.zeros(size)), [nengo.Node(size_in=size) for _ in kinds]
        connections = [nengo.Connection(source, end, transform=start, synapse=None) for end in ends]
        probes = [nengo.Probe(end) for end in ends]
        for connection, kind in zip(connections, kinds):
            net.config[connection].regularizer = kind
    zeros = np.zeros((1, 1, size))
    with simulator(net) as sim:
        targets = {probe: zeros for probe in probes}
        loss = {probe: product for probe in probes}
        train(sim, {source: zeros}, targets, loss, proximal(sim, sgd(RATE)))
        trained = [sim.data[connection].weights for connection in connections]
    lasso = shrunk_groups(start.astype(np.float64), RATE * 0.1, 1)
    expected = [shrunk(start, RATE * 0.5, RATE * 0.25), start, lasso, start]
    for one, other in zip(trained, expected):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(trained[1], start)
    assert np.mean(trained[0] == 0) == pytest.approx(np.mean(np.abs(start) <= RATE * 0.5), abs=1e-3)


@pytest.mark.generation(3)
@pytest.mark.parametrize("places", [[[3, 4], [1]], [[5, 3], [1]], [[0, 1, 2, 3, 4, 5]], []])
def test_rows_that_are_replaced(places):
    """In blocks and one by one, whatever their order."""
    weights = np.arange(12.0).reshape(6, 2)
    found = [(np.array(rows), -weights[rows]) for rows in places]
    expected = weights.copy()
    for rows, values_of_rows in found:
        expected[rows] = values_of_rows
    np.testing.assert_array_equal(_replaced(tf.constant(weights), found), expected)


# -- what they end in ------------------------------------------------------------------------


def test_lasso_elastic_net_and_least_squares():
    """Full batches with SGD: the minimum that each object's regularizer belongs to."""
    rng = np.random.RandomState(0)
    inputs, targets = regression(rng)
    kinds = [keras.l1(2 * 0.2), keras.l1_l2(2 * 0.2 * 0.5, 0.2 * 0.5), None]
    trained = solve(inputs, targets, kinds, n_steps=400)
    solutions = [
        ista(inputs, targets[:, 0], 0.2, 0.0),
        ista(inputs, targets[:, 1], 0.1, 0.1),
        np.linalg.lstsq(inputs, targets[:, 2], rcond=None)[0],
    ]
    for weights, solution in zip(trained, solutions):
        np.testing.assert_allclose(weights, solution, atol=1e-5)
        np.testing.assert_array_equal(weights == 0, solution == 0)
    assert 2 <= np.sum(trained[0] == 0) <= 6 and np.sum(trained[1] == 0) and np.all(trained[2])


def ista(inputs, targets, l1, l2, n_steps=5000):
    """Return what minimizes half the mean squared error, plus l1 of L1, plus half of l2 of L2."""
    weights, rate = np.zeros(inputs.shape[1]), 0.25
    for _ in range(n_steps):
        gradient = inputs.T @ (inputs @ weights - targets) / len(targets)
        weights = shrunk(weights - rate * gradient, rate * l1, rate * l2 / 2)
    return weights


# -- the loss --------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [True, False])
def test_regularizers_are_no_longer_part_of_the_loss(before, model):
    """Those of settings and of layers; penalties on activities stay."""
    layer = nengo_wd.RegularizedDense(3, "linear", kernel_regularizer="l2", name="dense")
    with model.net:
        node = tensor_node(layer, 3, 3)
        nengo.Connection(model.probes[0].target, node, synapse=None)
        probe = nengo.Probe(node)
    model.net.config[probe].regularizer = keras.l2(0.5)
    model.set("regularizer", keras.l1(0.5), GroupLasso(0.5), TowardsInitial(l2=0.5))
    with simulator(model.net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        if before:
            objective = nengo_wd.regularized_objective(sim, model.objective)
            norms.record()
            assert norms.total_penalties[-1] > 1
        optimizer = proximal(sim, sgd(RATE))
        if not before:
            objective = nengo_wd.regularized_objective(sim, model.objective)
        assert nengo_wd.regularization_losses(sim) == {}
        assert repr(nengo_wd.regularization_loss(sim)) == "0.0"
        norms.record()
        assert norms.total_penalties[-1] == 0 and not norms.penalties[-1].any()
        weights = model.weights(sim)
        (kernel,) = values(sim, [layer.kernel])
        x = next(iter(model.inputs.values()))[0, 0]
        recorded = weights[0] @ x @ kernel
        expected = np.sum(weights * model.gradient) + 0.5 * np.sum(recorded**2)
        total = total_loss(sim, model.inputs, model.targets, objective)
        assert total == pytest.approx(expected, rel=1e-6)
        train(sim, model.inputs, model.targets, objective, optimizer)
        of_activity = np.outer(kernel @ recorded, x)
        moved = weights[0] - RATE * (model.gradient[0] + of_activity)
        np.testing.assert_allclose(model.weights(sim)[0], shrunk(moved, RATE * 0.5), rtol=1e-6)


def dense_network(layer_class, **kwargs):
    layer = layer_class(
        3,
        kernel_initializer="ones",
        bias_initializer="ones",
        kernel_regularizer=keras.l2(0.5),
        bias_regularizer=Scheduled(keras.l1(0.25), 0.5),
        **kwargs,
    )
    of_keras = {} if layer_class is nengo_wd.RegularizedDense else {"pass_time": False}
    return (*network_of(layer, 2, 3, **of_keras), layer)


@pytest.mark.parametrize(
    "layer_class",
    [
        nengo_wd.RegularizedDense,
        pytest.param(tf.keras.layers.Dense, marks=pytest.mark.generation(3)),
    ],
)
def test_regularizers_of_layers(layer_class):
    """In a network without settings, and without an objective of ours."""
    net, source, probe, layer = dense_network(layer_class)
    with simulator(net) as sim, warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        optimizer = proximal(sim, sgd(RATE))
        data = {source: np.zeros((1, 1, 2))}, {probe: np.zeros((1, 1, 3))}
        train(sim, *data, {probe: product}, optimizer, epochs=2)
        kernel, bias = values(sim, layer.weights)
    np.testing.assert_allclose(kernel, np.full((2, 3), 1 / (1 + RATE) ** 2), rtol=1e-6)
    np.testing.assert_allclose(bias, np.full(3, 1 - 2 * RATE * 0.125), rtol=1e-6)


def test_idle_settings(model):
    """No warning of what is a step; one of a training without the steps."""
    model.set("regularizer", keras.l1(0.5))
    with simulator(model.net) as sim:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            model.train(sim, proximal(sim, sgd(RATE)), epochs=1)
        with pytest.warns(UserWarning, match="regularizer: compile with .*proximal_regularization"):
            model.train(sim, sgd(RATE), epochs=1)
        model.net.config[model.probes[0]].regularizer = keras.l1(0.5)
        with pytest.warns(UserWarning, match="regularizer: compile with .*regularized_objective"):
            model.train(sim, proximal(sim, sgd(RATE)), epochs=1)


# -- together --------------------------------------------------------------------------------


@pytest.mark.parametrize("decay_first", [True, False])
def test_with_decay_in_either_order(decay_first, model):
    model.set("regularizer", keras.l1(0.5))
    model.set("weight_decay", DECAY, DECAY)
    with simulator(model.net) as sim:
        optimizer = sgd(RATE)
        steps = [nengo_wd.decoupled_weight_decay, proximal]
        for extend in steps if decay_first else steps[::-1]:
            optimizer = extend(sim, optimizer)
        trained = model.train(sim, optimizer)
    weights = model.start
    for _ in range(STEPS):
        factors = np.array([1 - RATE * DECAY, 1 - RATE * DECAY, 1])[:, None, None]
        weights = factors * weights - RATE * model.gradient
        weights[0] = shrunk(weights[0], RATE * 0.5)
    np.testing.assert_allclose(trained, weights, rtol=1e-12, atol=1e-15)


def test_rates_of_layerwise_sgd(model):
    model.set("learning_rate", 0.5, 0.25)
    model.set("regularizer", keras.l1(0.5), GroupLasso(0.25), keras.l1(0.5))
    with simulator(model.net) as sim:
        optimizer = proximal(sim, nengo_wd.LayerwiseSGD(sim, RATE))
        trained = model.train(sim, optimizer, epochs=3)
    steps = [
        (0.5, lambda w: shrunk(w, 0.5 * 0.5)),
        (0.25, lambda w: shrunk_groups(w, 0.25 * 0.25, 0)),
        (RATE, lambda w: shrunk(w, RATE * 0.5)),
    ]
    for i, (rate, step) in enumerate(steps):
        updates = gradient_descent(model.gradient[i], rate)
        expected = by_hand.with_proximal_steps(model.start[i], updates, step, 3)
        np.testing.assert_allclose(trained[i], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.generation(3)
def test_moving_average_is_that_of_the_weights_after_the_steps(model):
    model.set("regularizer", keras.l1(0.5), keras.l1(0.5), keras.l1(0.5))
    with simulator(model.net) as sim:
        averaging = tf.keras.optimizers.SGD(RATE, use_ema=True, ema_momentum=0.5)
        optimizer = proximal(sim, averaging)
        averaged = model.train(sim, optimizer, epochs=3)  # which ends with the averages
    weights = average = model.start
    for _ in range(3):
        weights = shrunk(weights - RATE * model.gradient, RATE * 0.5)
        average = 0.5 * average + 0.5 * weights
    np.testing.assert_allclose(averaged, average, rtol=1e-9, atol=1e-12)


@pytest.mark.generation(3)
def test_clipped_gradients(model):
    model.set("regularizer", keras.l1(0.5), keras.l1(0.5), keras.l1(0.5))
    with simulator(model.net) as sim:
        clipping = tf.keras.optimizers.SGD(RATE, clipvalue=0.125)
        trained = model.train(sim, proximal(sim, clipping), epochs=1)
    clipped = np.clip(model.gradient, -0.125, 0.125)
    expected = shrunk(model.start - RATE * clipped, RATE * 0.5)
    np.testing.assert_allclose(trained, expected, rtol=1e-9)


@pytest.mark.generation(3)
@pytest.mark.parametrize("kind", ["optimizers", "legacy"])
def test_no_step_where_gradients_overflow(kind, model):
    optimizers = tf.keras.optimizers if kind == "optimizers" else tf.keras.optimizers.legacy
    model.set("regularizer", keras.l1(0.5))
    with simulator(model.net) as sim:
        scaled = tf.keras.mixed_precision.LossScaleOptimizer(optimizers.SGD(RATE))
        optimizer = proximal(sim, scaled)
        trained = model.train(sim, optimizer, epochs=1)
        expected = model.start - RATE * model.gradient
        expected[0] = shrunk(expected[0], RATE * 0.5)
        np.testing.assert_allclose(trained, expected, rtol=1e-6)
        model.targets[model.probes[1]] = np.full((1, 1, 3), np.inf)
        np.testing.assert_array_equal(model.train(sim, optimizer, epochs=1), trained)


@pytest.mark.generation(3)
@pytest.mark.traced
def test_weights_without_a_gradient_take_their_step(model):
    """As those of a gradient of zero, which they have in a compiled time loop."""
    layer = nengo_wd.RegularizedDense(3, kernel_regularizer=None, name="dense")
    with model.net:
        node = tensor_node(layer, 3, 3)
        connected(node, 3)
    model.net.config[node].regularizer = keras.l1(0.5)
    with simulator(model.net) as sim:
        optimizer = proximal(sim, tf.keras.optimizers.SGD(RATE))
        other = parameters_of(sim, model.connections[0])[0].variable
        (before,) = values(sim, [layer.kernel])
        optimizer.apply_gradients([(tf.zeros_like(other), other), (None, layer.kernel)])
        (after,) = values(sim, [layer.kernel])
    np.testing.assert_allclose(after, shrunk(before, RATE * 0.5), rtol=1e-6)


def test_frozen_layers_take_no_step(model):
    layer = nengo_wd.RegularizedDense(3, name="dense", trainable=False)
    with model.net:
        connected(tensor_node(layer, 3, 3), 3)
    model.set("regularizer", keras.l1(0.5))
    with simulator(model.net) as sim:
        before = values(sim, layer.weights)
        trained = model.train(sim, proximal(sim, sgd(RATE)), epochs=1)
        for one, other in zip(values(sim, layer.weights), before):
            np.testing.assert_array_equal(one, other)
    expected = shrunk(model.start[0] - RATE * model.gradient[0], RATE * 0.5)
    np.testing.assert_allclose(trained[0], expected, rtol=1e-12)


def test_strengths_that_became_bad(model):
    with simulator(model.net) as sim:
        strength = variable(sim, 0.5)
        model.set("regularizer", Scheduled(keras.l1(0.5), strength))
        optimizer = proximal(sim, sgd(RATE))
        model.train(sim, optimizer, epochs=1)
        assign(sim, strength, np.float32(-1.0))
        with pytest.warns(RuntimeWarning, match="strength=-1.0 of the regularizer of .*finite"):
            nengo_wd.WeightNorms(sim).record()
        with pytest.raises(ValidationError, match="strength=-1.0 of the regularizer of"):
            proximal(sim, sgd(RATE))


@pytest.mark.generation(3)
def test_checkpoint_and_config(model, tmp_path):
    """Of a training that goes on where it was, towards the initial values that it had."""
    model.set("regularizer", TowardsInitial(l1=0.25), keras.l1(0.5))
    with simulator(model.net) as sim:
        optimizer = proximal(sim, tf.keras.optimizers.Adam(RATE))
        model.train(sim, optimizer, epochs=2)
        path = tf.train.Checkpoint(model=sim.keras_model).save(str(tmp_path / "model"))
        sim.fit(model.inputs, model.targets, epochs=2, verbose=0)
        expected = model.weights(sim)
        config = optimizer.get_config()
        assert type(type(optimizer).from_config(config)) is tf.keras.optimizers.Adam
    with simulator(model.net) as sim:
        for parameter in norms_of(sim).values():
            parameter.variable.assign(parameter.variable + 1)
        optimizer = proximal(sim, tf.keras.optimizers.Adam(RATE))
        sim.compile(optimizer, loss=model.objective)
        tf.train.Checkpoint(model=sim.keras_model).restore(path)
        sim.fit(model.inputs, model.targets, epochs=2, verbose=0)
        np.testing.assert_array_equal(model.weights(sim), expected)
