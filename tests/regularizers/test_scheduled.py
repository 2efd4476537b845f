"""Regularizers whose strength moves, against NumPy."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import (
    GENERATION,
    assign,
    n_operations,
    outputs,
    sgd,
    simulator,
    tensor_node,
    total_loss,
    train,
    use_dtype,
    values,
    variable,
)
from nengo.exceptions import ValidationError
from networks import Ensembles, ThreeConnections, native_weights, network_of, product

import nengo_wd
from nengo_wd._penalties import Terms, penalties_of_settings
from nengo_wd.regularizers import FiringRates, GroupLasso, Scheduled, TowardsInitial

schedules = tf.keras.optimizers.schedules
l1, l2 = tf.keras.regularizers.l1, tf.keras.regularizers.l2


class Ramp(schedules.LearningRateSchedule):
    """A warm-up to one: exact in float32."""

    def __init__(self, n_steps=8):
        self.n_steps = n_steps

    def __call__(self, step):
        return tf.minimum(1.0, tf.cast(step, tf.float32) / self.n_steps)


def ramp(step):
    return min(1.0, step / 8)


def squares(weights):
    return np.sum(np.square(np.asarray(weights, np.float64)))


# -- a variable that is assigned -------------------------------------------------------------


@pytest.mark.traced
def test_losses_at_each_value_of_a_variable_are_those_of_numpy():
    """The objective is traced once, and the strengths move between the fits."""
    traces = []

    def counted(one, other):
        traces.append(1)
        return product(one, other)

    model = ThreeConnections()
    model.objective = {probe: counted for probe in model.probes}
    with simulator(model.net) as sim:
        strength = variable(sim, 0.0)
        model.set("regularizer", Scheduled(l2(0.5), strength), Scheduled(l1(0.25), strength))
        objective = nengo_wd.regularized_objective(sim, model.objective)
        arguments = sim, model.inputs, model.targets
        total_loss(*arguments, objective)
        n_traces = len(traces)
        for value in (0.5, 0.25, 2.0):
            assign(sim, strength, value)
            weights = model.weights(sim)
            expected = np.sum(weights * model.gradient)
            expected += value * (0.5 * squares(weights[0]) + 0.25 * np.abs(weights[1]).sum())
            assert total_loss(*arguments, objective) == pytest.approx(expected, rel=1e-9)
            losses = nengo_wd.regularization_losses(sim)
            assert sum(losses.values()) == pytest.approx(
                expected - np.sum(weights * model.gradient), rel=1e-9
            )
        assert len(traces) == n_traces


@pytest.mark.traced
@pytest.mark.generation(3)
def test_losses_of_fits_with_a_variable_that_is_assigned_in_between():
    traces, n_traces = [], []

    def counted(one, other):
        traces.append(1)
        return product(one, other)

    model = ThreeConnections()
    strength = tf.Variable(0.0)
    model.set("regularizer", Scheduled(l2(0.5), strength))
    with simulator(model.net) as sim:
        loss = nengo_wd.regularized_objective(sim, {probe: counted for probe in model.probes})
        sim.compile(sgd(0.125), loss=loss)
        for value in (0.0, 0.5, 0.25):
            strength.assign(value)
            weights = model.weights(sim)
            history = sim.fit(model.inputs, model.targets, verbose=0).history
            expected = np.sum(weights * model.gradient) + 0.5 * value * squares(weights[0])
            assert history["loss"] == pytest.approx([expected], rel=1e-9)
            trained = weights - 0.125 * model.gradient
            trained[0] -= 0.125 * value * weights[0]
            np.testing.assert_allclose(model.weights(sim), trained, rtol=1e-12)
            n_traces.append(len(traces))
    assert n_traces[0] == n_traces[-1]


# -- a schedule of the training step ---------------------------------------------------------


def test_schedule_begins_with_the_first_update():
    """On settings, with and without a form of their own, fused or not."""
    model = ThreeConnections()
    model.set(
        "regularizer", Scheduled(l2(0.5), Ramp()), l2(0.5), Scheduled(GroupLasso(1.0), Ramp())
    )
    with simulator(model.net) as sim:
        norms = nengo_wd.WeightNorms(sim)  # before there is an optimizer
        objective = nengo_wd.regularized_objective(sim, model.objective)
        assert nengo_wd.regularization_losses(sim).popitem()[1] == 0
        train(sim, model.inputs, model.targets, objective, sgd(0.125), epochs=4)
        trained = model.weights(sim)
        losses = list(nengo_wd.regularization_losses(sim).values())
        norms.record()
    weights = model.start
    for step in range(4):
        gradient = model.gradient.copy()
        gradient[0] += ramp(step) * weights[0]
        gradient[1] += weights[1]
        rows = np.linalg.norm(weights[2], axis=1, keepdims=True)
        gradient[2] += ramp(step) * np.sqrt(2) * weights[2] / rows
        weights = weights - 0.125 * gradient
    np.testing.assert_allclose(trained, weights, rtol=1e-9)
    lasso = np.sqrt(2) * np.linalg.norm(weights[2], axis=1).sum()
    expected = [0.25 * squares(weights[0]), 0.5 * squares(weights[1]), 0.5 * lasso]
    np.testing.assert_allclose(losses, expected, rtol=1e-9)
    np.testing.assert_allclose(norms.penalties[-1], expected, rtol=1e-9)


def layer_network(layer_class=nengo_wd.RegularizedDense):
    layer = layer_class(
        3,
        kernel_initializer="ones",
        bias_initializer="ones",
        kernel_regularizer=Scheduled(l2(0.5), Ramp()),
        bias_regularizer=Scheduled("l1", Ramp()),
        name="readout",
    )
    of_keras = {} if layer_class is nengo_wd.RegularizedDense else {"pass_time": False}
    return (*network_of(layer, 2, 3, **of_keras), layer)


LAYERS = [
    nengo_wd.RegularizedDense,
    pytest.param(tf.keras.layers.Dense, marks=pytest.mark.generation(3)),
]


@pytest.mark.parametrize("layer_class", LAYERS)
def test_schedule_of_a_layer(layer_class):
    net, source, probe, layer = layer_network(layer_class)
    inputs, targets = {source: np.zeros((1, 1, 2))}, {probe: np.zeros((1, 1, 3))}
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        objective = nengo_wd.regularized_objective(sim, {probe: product})
        assert nengo_wd.regularization_loss(sim) == 0
        train(sim, inputs, targets, objective, sgd(0.125), epochs=4)
        kernel, bias = values(sim, layer.weights)
        losses = nengo_wd.regularization_losses(sim)
        norms.record()
    expected = np.prod([1 - 0.125 * ramp(step) for step in range(4)])
    np.testing.assert_allclose(kernel, np.full((2, 3), expected), rtol=1e-6)
    np.testing.assert_allclose(bias, 1 - 0.125 * 0.01 * sum(map(ramp, range(4))), rtol=1e-6)
    penalties = [0.5 * 0.5 * squares(kernel), 0.5 * 0.01 * np.sum(bias)]
    np.testing.assert_allclose(
        [losses["readout.kernel"], losses["readout.bias"]], penalties, rtol=1e-6
    )
    np.testing.assert_allclose(sorted(norms.penalties[-1]), sorted(penalties), rtol=1e-6)


@pytest.mark.parametrize("regularizer", [l2(0.5), FiringRates(10, 30, l1=0.5)])
def test_schedule_of_a_probe(regularizer, rng):
    """What is added to the loss is that of the strength one, times the strength."""
    with nengo.Network(seed=0) as net:
        use_dtype("float64")
        nengo_wd.configure_settings()
        source = nengo.Node(np.zeros(2))
        ensemble = nengo.Ensemble(5, 2, neuron_type=nengo.LIFRate())
        nengo.Connection(source, ensemble, synapse=None)
        rates = nengo.Probe(ensemble.neurons)
        probe = nengo.Probe(ensemble)
    inputs = {source: rng.uniform(-1, 1, size=(1, 1, 2))}
    targets = {probe: np.zeros((1, 1, 2))}
    with simulator(net) as sim:
        recorded = np.asarray(outputs(sim, inputs, [rates])[0][0], np.float64)
        strength = variable(sim, np.float64(0.0))
        for moving in (strength, Ramp()):
            net.config[rates].regularizer = Scheduled(regularizer, moving)
            objective = nengo_wd.regularized_objective(sim, {probe: product})
            arguments = sim, inputs, targets, objective
            totals = [total_loss(*arguments)]
            if moving is strength:
                assign(sim, strength, 0.5)
            else:
                train(*arguments[:3], objective, sgd(1e-15), epochs=4)
            totals.append(total_loss(*arguments))
            if isinstance(regularizer, FiringRates):
                distance = np.maximum(10 - recorded, 0) + np.maximum(recorded - 30, 0)
                expected = 0.5 * distance.mean()
            else:
                expected = 0.5 * squares(recorded)
            assert totals[1] - totals[0] == pytest.approx(0.5 * expected, rel=1e-5)


def test_a_scheduled_minimum_wakes_silent_neurons(rng):
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings()
        source = nengo.Node(np.zeros(2))
        silent = nengo.Ensemble(5, 2, gain=np.ones(5), bias=np.full(5, -3.0))
        nengo.Connection(source, silent, synapse=None)
        rates = nengo.Probe(silent.neurons)
        probe = nengo.Probe(source)
        net.config[rates].regularizer = Scheduled(FiringRates(10, l2=1e-3), 0.5)
    inputs, targets = {source: np.zeros((1, 1, 2))}, {probe: np.zeros((1, 1, 2))}
    with simulator(net) as sim:
        objective = nengo_wd.regularized_objective(sim, {probe: "mse"})
        train(sim, inputs, targets, objective, sgd(0.1))
        assert np.all(sim.data[silent].bias > -3)


# -- one expression for a variable -----------------------------------------------------------


def n_operations_of(n_objects, regularizer):
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(regularizer=regularizer)
        a = nengo.Ensemble(5, 1)
        connections = [nengo.Connection(a, nengo.Ensemble(5, 1)) for _ in range(n_objects)]
        for connection in connections[::2]:
            net.config[connection].regularizer = "l1"
    with simulator(net) as sim:
        penalties = Terms(sim, penalties_of_settings(sim)).expressions
        with nengo_wd._checks.use_step(0):
            return n_operations(sim, lambda: [penalty() for penalty in penalties])


def test_number_of_operations_does_not_grow_with_the_objects():
    regularizer = Scheduled(l2(0.5), schedules.PiecewiseConstantDecay([3], [0.5, 0.25]))
    assert n_operations_of(4, regularizer) == n_operations_of(40, regularizer)


def test_changed_numbers_count_without_compiling_again():
    """The number that a schedule or variable is multiplied by, and one that stands alone."""
    model = Ensembles()
    with simulator(model.net) as sim:
        strength = variable(sim, 0.5)
        totals = []
        for number in (0.0, 0.5, 2.0):
            if number:
                model.config[model.conn].regularizer = Scheduled(l2(number), strength)
            objective = nengo_wd.regularized_objective(sim, {model.probe: "mse"})
            if number == 2.0 and GENERATION == 3:
                totals.append(sim.evaluate(model.inputs, model.targets, verbose=0)["loss"])
            else:
                totals.append(total_loss(sim, model.inputs, model.targets, objective))
        weights = squares(native_weights(sim, model.conn))
    np.testing.assert_allclose(np.diff(totals), [0.25 * weights, 0.75 * weights], rtol=1e-9)


@pytest.mark.parametrize("towards", [TowardsInitial(l1=0.5, l2=0.25), GroupLasso(0.5, axis=None)])
def test_numbers_schedules_and_variables_of_each_other(towards):
    """The strength of what is scheduled may be a variable itself."""
    model = Ensembles()
    with simulator(model.net) as sim:
        start = np.asarray(native_weights(sim, model.conn), np.float64)
        own = variable(sim, 0.5)
        if isinstance(towards, TowardsInitial):
            given, expected = TowardsInitial(l2=own), 0.0
        else:
            given = GroupLasso(own, axis=None)
            expected = 0.5 * np.sqrt(start.size) * np.linalg.norm(start)
        model.config[model.conn].regularizer = Scheduled(given, variable(sim, 0.25))
        nengo_wd.regularized_objective(sim, {model.probe: "mse"})
        assert nengo_wd.regularization_loss(sim) == pytest.approx(0.25 * expected)


# -- configurations --------------------------------------------------------------------------


@pytest.mark.parametrize("inner", [l2(0.5), GroupLasso(0.5, axis=1), FiringRates(10, l2=0.5)])
@pytest.mark.parametrize("strength", [0.25, schedules.PiecewiseConstantDecay([3], [0.5, 0.25])])
def test_round_trip(inner, strength):
    one = Scheduled(inner, strength)
    again = Scheduled.from_config(one.get_config())
    assert again.get_config() == one.get_config()
    assert type(again.regularizer) is type(inner)
    assert again.regularizer.get_config() == inner.get_config()
    assert type(again.strength) is type(strength)


def test_copied_layers_keep_their_schedule():
    layer = nengo_wd.RegularizedDense(3, kernel_regularizer=Scheduled(l2(0.5), 0.25))
    with tf.keras.utils.custom_object_scope({"Scheduled": Scheduled}):
        again = nengo_wd.RegularizedDense.from_config(layer.get_config())
    assert again.kernel_regularizer.strength == 0.25
    assert float(again.kernel_regularizer.regularizer.l2) == 0.5


# -- no training step ------------------------------------------------------------------------


@pytest.mark.generation(3)
def test_a_loop_without_an_optimizer_has_no_training_step():
    net, source, probe, layer = layer_network()
    with simulator(net) as sim:
        nengo_wd.regularized_objective(sim, {probe: "mse"})
        with pytest.raises(ValidationError, match="there is no training step"):
            sum(sim.keras_model.losses)
        sim.compile("sgd")
        assert float(sum(sim.keras_model.losses)) == 0
        sim.keras_model.optimizer.iterations.assign(8)
        assert float(sum(sim.keras_model.losses)) == pytest.approx(3.03)


@pytest.mark.generation(3)
def test_layers_do_not_keep_their_simulator():
    import gc
    import weakref

    net, source, probe, layer = layer_network()
    with simulator(net) as sim:
        reference = weakref.ref(sim)
    del sim
    gc.collect()
    assert reference() is None


def test_strengths_that_became_bad_are_warned_of():
    model = ThreeConnections()
    with simulator(model.net) as sim:
        strength = variable(sim, 1.0)
        model.set("regularizer", Scheduled(l2(0.5), strength))
        assign(sim, strength, -1.0)
        with pytest.raises(ValidationError, match="strength strength=-1.0 of the regularizer of"):
            nengo_wd.regularized_objective(sim, model.objective)
        norms = nengo_wd.WeightNorms(sim)
        with pytest.warns(RuntimeWarning, match="strength=-1.0 of the regularizer of .*finite"):
            norms.record()


def test_setting_in_a_layer_of_a_tensor_node():
    layer = nengo_wd.RegularizedDense(3, kernel_initializer="ones", name="readout")
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(regularizer=Scheduled(l2(0.5), 0.5))
        nengo.Probe(tensor_node(layer, 2, 3))
    with simulator(net) as sim:
        assert nengo_wd.regularization_loss(sim) == pytest.approx(1.5)
