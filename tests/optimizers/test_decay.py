"""Optimizers that decay, against the rules written out in NumPy."""

import warnings

import by_hand
import nengo
import numpy as np
import pytest
import tensorflow as tf
from by_hand import DECAY, OPTIMIZERS, RATE, STEPS, gradient_descent
from generations import GENERATION, sgd, simulator, tensor_node, train, values, variable
from internals import XLA, without_xla
from nengo.exceptions import SimulatorClosed, ValidationError
from networks import ThreeConnections, parameters_of, product

import nengo_wd
from nengo_wd import nengo_dl

schedules = tf.keras.optimizers.schedules


@pytest.fixture
def model():
    return ThreeConnections()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("scaled", [True, False])
def test_decay_of_one_connection_leaves_the_others_as_they_are(name, scaled, model):
    rule, make = OPTIMIZERS[name]
    undecayed = model.trained(lambda sim: make())
    model.set("weight_decay", DECAY)
    trained = model.trained_with_decay(make(), scale_by_learning_rate=scaled)
    factor = 1 - DECAY * (RATE if scaled else 1)
    expected = by_hand.trained(model.start[0], rule(model.gradient[0], RATE), [factor] * STEPS)
    np.testing.assert_allclose(trained[0], expected, rtol=1e-6)
    np.testing.assert_array_equal(trained[1:], undecayed[1:])


@pytest.mark.generation(3)
def test_name_of_an_optimizer(model):
    model.set("weight_decay", DECAY, DECAY, DECAY)
    trained = model.trained_with_decay("sgd")
    rate = np.float32(0.01)
    expected = by_hand.trained(
        model.start, gradient_descent(model.gradient, rate), [1 - rate * DECAY] * STEPS
    )
    np.testing.assert_allclose(trained, expected, rtol=1e-6)


@pytest.mark.generation(3)
def test_equal_to_adamw_of_keras(model):
    theirs = model.trained(
        lambda sim: tf.keras.optimizers.AdamW(RATE, weight_decay=DECAY, epsilon=1e-3)
    )
    model.set("weight_decay", DECAY, DECAY, DECAY)
    ours = model.trained_with_decay(tf.keras.optimizers.Adam(RATE, epsilon=1e-3))
    np.testing.assert_allclose(ours, theirs, rtol=1e-7)


def halved_at(step):
    return schedules.PiecewiseConstantDecay([step], [DECAY, DECAY / 2])


class Halving(schedules.LearningRateSchedule):
    """A user's own schedule, which can't be made from a configuration."""

    def __init__(self, start):
        self.start = start

    def __call__(self, step):
        return self.start * 0.5 ** tf.cast(step, tf.float32)


def test_users_schedule_of_the_decay(model):
    model.set("weight_decay", Halving(DECAY))
    trained = model.trained_with_decay(sgd(RATE))
    factors = [1 - RATE * DECAY * 0.5**step for step in range(STEPS)]
    expected = by_hand.trained(model.start[0], gradient_descent(model.gradient[0], RATE), factors)
    np.testing.assert_allclose(trained[0], expected, rtol=1e-12)


def test_schedule_of_the_decay(model):
    boundary = 3
    model.set("weight_decay", halved_at(boundary), DECAY)
    trained = model.trained_with_decay(OPTIMIZERS["SGD"][1]())
    decays = [DECAY if step <= boundary else DECAY / 2 for step in range(STEPS)]
    for i, factors in enumerate([[1 - RATE * decay for decay in decays], [1 - RATE * DECAY] * 10]):
        updates = gradient_descent(model.gradient[i], RATE)
        expected = by_hand.trained(model.start[i], updates, factors)
        np.testing.assert_allclose(trained[i], expected, rtol=1e-12)


@pytest.mark.generation(3)
@pytest.mark.parametrize("kind", ["optimizers", "legacy"])
def test_schedule_of_the_learning_rate(kind, model):
    optimizers = tf.keras.optimizers if kind == "optimizers" else tf.keras.optimizers.legacy
    model.set("weight_decay", DECAY)
    trained = model.trained_with_decay(optimizers.SGD(Halving(RATE)))
    rates = [RATE * 0.5**step for step in range(STEPS)]
    updates = (rate * model.gradient[0] for rate in rates)
    expected = by_hand.trained(model.start[0], updates, [1 - rate * DECAY for rate in rates])
    np.testing.assert_allclose(trained[0], expected, rtol=1e-12)


def test_encoders_biases_and_layers_decay(model):
    layer = nengo_wd.RegularizedDense(3, kernel_regularizer=None, bias_initializer="ones")
    with model.net:
        ensemble = nengo.Ensemble(5, 3)
        nengo.Connection(model.probes[0].target, ensemble)
        node = tensor_node(layer, 3, 3)
        nengo.Connection(ensemble, node)
        probe = nengo.Probe(node)
    for obj in (ensemble, ensemble.neurons, node):
        model.net.config[obj].weight_decay = DECAY
    model.targets[probe], model.objective[probe] = np.zeros((1, 1, 3)), product
    with simulator(model.net) as sim:
        encoders, biases = sim.data[ensemble].scaled_encoders, sim.data[ensemble].bias
        kernel, bias = values(sim, layer.weights)
        model.train(sim, nengo_wd.decoupled_weight_decay(sim, sgd(RATE)), epochs=1)
        factor = 1 - RATE * DECAY
        np.testing.assert_allclose(sim.data[ensemble].scaled_encoders, encoders * factor)
        np.testing.assert_allclose(sim.data[ensemble].bias, biases * factor)
        trained = values(sim, layer.weights)
        np.testing.assert_allclose(trained[0], kernel * factor)
        np.testing.assert_array_equal(trained[1], bias)


def test_decay_beside_a_penalty_on_another_object(model):
    model.set("weight_decay", DECAY)
    model.set("regularizer", None, tf.keras.regularizers.l2(0.5))
    with simulator(model.net) as sim:
        model.objective = nengo_wd.regularized_objective(sim, model.objective)
        trained = model.train(sim, nengo_wd.decoupled_weight_decay(sim, sgd(RATE)), epochs=1)
    expected = model.start - RATE * model.gradient
    expected[0] -= RATE * DECAY * model.start[0]
    expected[1] -= RATE * model.start[1]
    np.testing.assert_allclose(trained, expected, rtol=1e-12)


@pytest.mark.parametrize("xla", XLA)
def test_large_variables_decay_as_small_ones_do(xla, monkeypatch):
    if not xla:
        without_xla(monkeypatch)
    size = 600
    start = np.random.RandomState(0).uniform(-1, 1, size=(size, size)).astype(np.float32)
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings()
        source, ends = nengo.Node(np.zeros(size)), [nengo.Node(size_in=size) for _ in range(2)]
        connections = [nengo.Connection(source, end, transform=start, synapse=None) for end in ends]
        probes = [nengo.Probe(end) for end in ends]
        net.config[connections[0]].weight_decay = DECAY
    zeros = np.zeros((1, 1, size))
    with simulator(net) as sim:
        optimizer = nengo_wd.decoupled_weight_decay(sim, sgd(RATE))
        targets = {probe: zeros for probe in probes}
        train(sim, {source: zeros}, targets, {probe: product for probe in probes}, optimizer, 2)
        factor = (1 - RATE * DECAY) ** 2
        np.testing.assert_allclose(sim.data[connections[0]].weights, start * factor, rtol=1e-6)
        np.testing.assert_array_equal(sim.data[connections[1]].weights, start)


def squared(one, other):
    return tf.reduce_sum((one - other) ** 2)


def test_gradients_are_those_from_before_the_decay(model):
    """With a loss whose gradient depends on the weights that decay."""
    model.set("weight_decay", DECAY, DECAY, DECAY)
    model.objective = {probe: squared for probe in model.probes}
    weights = model.start
    x = next(iter(model.inputs.values()))[0, 0]
    targets = np.array([target[0, 0] for target in model.targets.values()])
    for _ in range(STEPS):
        gradient = 2 * (weights @ x - targets)[:, :, None] * x
        weights = weights * (1 - RATE * DECAY) - RATE * gradient
    trained = model.trained_with_decay(sgd(RATE))
    np.testing.assert_allclose(trained, weights, rtol=1e-12)


# -- bad input ---------------------------------------------------------------------------


def test_decay_that_would_take_all(model):
    model.set("weight_decay", 1.0)
    with simulator(model.net) as sim:
        with pytest.raises(ValidationError, match="weight_decay 1.0 of <Connection.*below 1"):
            nengo_wd.decoupled_weight_decay(sim, sgd(RATE), scale_by_learning_rate=False)


def test_no_decay_at_all(model):
    with simulator(model.net) as sim:
        with pytest.raises(ValidationError, match="nothing in .* has a weight_decay"):
            nengo_wd.decoupled_weight_decay(sim, sgd(RATE))


def make_layerwise(sim, optimizer):
    return nengo_wd.LayerwiseSGD(sim)


@pytest.mark.parametrize("make", [nengo_wd.decoupled_weight_decay, make_layerwise])
def test_setting_for_what_is_not_trained(model, make):
    with model.net:
        nengo_dl.configure_settings(trainable=None)
    model.net.config[model.connections[0]].trainable = False
    model.set("weight_decay", DECAY)
    with simulator(model.net) as sim:
        with pytest.raises(ValidationError, match="Connection.*weights are set not to be trai"):
            make(sim, sgd(RATE))


def test_no_optimizer(model):
    model.set("weight_decay", DECAY)
    with simulator(model.net) as sim:
        for wrong in (type(sgd(RATE)), 0.5):
            with pytest.raises(ValidationError, match="is not an optimizer that sim"):
                nengo_wd.decoupled_weight_decay(sim, wrong)


@pytest.mark.generation(3)
def test_optimizer_that_decays_itself(model):
    model.set("weight_decay", DECAY)
    ours, theirs = "SGDWithDecay", "AdamW"
    with simulator(model.net) as sim:
        with pytest.raises(ValidationError, match=f"{theirs} decays weights already"):
            nengo_wd.decoupled_weight_decay(sim, tf.keras.optimizers.AdamW())
        once = nengo_wd.decoupled_weight_decay(sim, tf.keras.optimizers.SGD())
        with pytest.raises(ValidationError, match=f"{ours} decays weights already"):
            nengo_wd.decoupled_weight_decay(sim, once)
        scaled = tf.keras.mixed_precision.LossScaleOptimizer(
            tf.keras.optimizers.SGD(weight_decay=0.5)
        )
        with pytest.raises(ValidationError, match="SGD decays weights already"):
            nengo_wd.decoupled_weight_decay(sim, scaled)


@pytest.mark.generation(2)
def test_optimizer_that_decays_already(model):
    model.set("weight_decay", DECAY)
    with simulator(model.net) as sim:
        once = nengo_wd.decoupled_weight_decay(sim, sgd(RATE))
        with pytest.raises(ValidationError, match="decays weights already"):
            nengo_wd.decoupled_weight_decay(sim, once)


def test_decay_that_is_changed_to_take_all(model):
    model.set("weight_decay", 0.5)
    with simulator(model.net) as sim:
        optimizer = nengo_wd.decoupled_weight_decay(sim, sgd(RATE), scale_by_learning_rate=False)
        model.set("weight_decay", 2.0)
        with pytest.raises(ValidationError, match="weight_decay 2.0 of <Connection.*below 1"):
            optimizer.update_settings()


def test_inference_only(model):
    with model.net:
        nengo_dl.configure_settings(inference_only=True)
    model.set("weight_decay", DECAY)
    with simulator(model.net) as sim:
        for make in (nengo_wd.decoupled_weight_decay, make_layerwise):
            with pytest.raises(ValidationError, match="inference only"):
                make(sim, sgd(RATE))


def test_closed_simulator(model):
    model.set("weight_decay", DECAY)
    with simulator(model.net) as sim:
        pass
    for make in (nengo_wd.decoupled_weight_decay, nengo_wd.LayerwiseSGD):
        with pytest.raises(SimulatorClosed):
            make(sim, sgd(RATE))


def test_setting_that_needs_the_optimizer_anew(model):
    model.set("weight_decay", DECAY)
    with simulator(model.net) as sim:
        optimizer = nengo_wd.decoupled_weight_decay(sim, sgd(RATE))
        model.set("weight_decay", halved_at(3))
        with pytest.raises(ValidationError, match="make the optimizer anew"):
            optimizer.update_settings()


# -- settings that can't be taken on ---------------------------------------------------------


def test_refused_settings_leave_the_decay_as_it_was(model):
    model.set("weight_decay", DECAY, DECAY)
    with simulator(model.net) as sim:
        optimizer = nengo_wd.decoupled_weight_decay(sim, sgd(RATE), scale_by_learning_rate=False)
        for refused in (1.0, halved_at(3)):
            model.set("weight_decay", 2 * DECAY, refused)
            with pytest.raises(ValidationError, match="weight_decay"):
                optimizer.update_settings()
        trained = model.train(sim, optimizer, epochs=1)
    expected = model.start * np.array([1 - DECAY, 1 - DECAY, 1])[:, None, None]
    np.testing.assert_allclose(trained, expected - RATE * model.gradient, rtol=1e-12)


def test_an_optimizer_that_decays_by_its_own_rule(model):
    model.set("weight_decay", DECAY)
    with simulator(model.net) as sim:
        with pytest.raises(ValidationError, match="LayerwiseSGD decays weights already"):
            nengo_wd.decoupled_weight_decay(sim, nengo_wd.LayerwiseSGD(sim))


if GENERATION == 2:
    UNDOING = {
        "FtrlOptimizer": lambda: tf.compat.v1.train.FtrlOptimizer(RATE),
        "AdagradDAOptimizer": lambda: tf.compat.v1.train.AdagradDAOptimizer(RATE, None),
    }
else:
    UNDOING = {
        "Ftrl": lambda: tf.keras.optimizers.Ftrl(RATE),
        "Ftrl ": lambda: tf.keras.optimizers.legacy.Ftrl(RATE),
    }


@pytest.mark.parametrize("name", UNDOING)
def test_an_optimizer_that_would_undo_the_decay(name, model):
    model.set("weight_decay", DECAY)
    with simulator(model.net) as sim:
        with pytest.raises(ValidationError, match=f"{name.strip()} computes .* use another"):
            nengo_wd.decoupled_weight_decay(sim, UNDOING[name]())


@pytest.mark.generation(3)
@pytest.mark.parametrize("kind", ["optimizers", "legacy"])
def test_weights_without_a_gradient_decay(kind, model):
    """As those of a gradient of zero, which they have in a compiled time loop."""
    optimizers = tf.keras.optimizers if kind == "optimizers" else tf.keras.optimizers.legacy
    layer = nengo_wd.RegularizedDense(3, kernel_regularizer=None)
    with model.net:
        node = tensor_node(layer, 3, 3)
    model.net.config[node].weight_decay = DECAY
    with simulator(model.net) as sim:
        connections = parameters_of(sim, model.connections[0])[0].variable
        (before,) = values(sim, [layer.kernel])
        optimizer = nengo_wd.decoupled_weight_decay(sim, optimizers.SGD(RATE))
        optimizer.apply_gradients([(tf.zeros_like(connections), connections), (None, layer.kernel)])
        (after,) = values(sim, [layer.kernel])
    np.testing.assert_allclose(after, (1 - RATE * DECAY) * before, rtol=1e-6)


# -- decays that would turn the signs of the weights, or are none -----------------------------


def at(value):
    """Return a schedule that stays as it is."""
    return schedules.PiecewiseConstantDecay([100], [value, value])


def make_decoupled(sim, rate):
    return nengo_wd.decoupled_weight_decay(sim, sgd(rate))


def make_by_rule(sim, rate):
    return nengo_wd.LayerwiseSGD(sim, rate)


MAKE = {"decoupled": make_decoupled, "LayerwiseSGD": make_by_rule}


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_decay_that_would_turn_signs_at_the_learning_rate(make, model):
    model.set("weight_decay", 0.25, 8.0)
    with simulator(model.net) as sim:
        with pytest.raises(
            ValidationError, match="8.0 of <Connection.*rate 0.125 it is 1.0.*below 1"
        ):
            make(sim, RATE)
        model.set("weight_decay", 0.25, 7.0)
        optimizer = make(sim, RATE)
        model.set("weight_decay", 0.5, 9.0)
        with pytest.raises(
            ValidationError, match="weight_decay 9.0 of <Connection.*turn their signs"
        ):
            optimizer.update_settings()
        trained = model.train(sim, optimizer, epochs=1)
    decays = np.array([0.25, 7.0, 0.0])[:, None, None]
    expected = model.start * (1 - RATE * decays) - RATE * model.gradient
    np.testing.assert_allclose(trained, expected, rtol=1e-12)


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_schedule_that_would_turn_signs(make, model):
    model.set("weight_decay", at(8.0))
    with simulator(model.net) as sim:
        with pytest.warns(UserWarning, match="weight_decay 8.0 of <Connection.*turn their signs"):
            make(sim, RATE)
    model.set("weight_decay", at(7.0))
    with simulator(model.net) as sim, warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        make(sim, RATE)


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
@pytest.mark.parametrize("value", [-0.5, np.nan, np.inf])
def test_schedules_and_variables_that_are_no_decay(make, value, model):
    with simulator(model.net) as sim:
        for decay in (at(value), variable(sim, value)):
            model.set("weight_decay", decay)
            with pytest.raises(ValidationError, match="weight_decay .* of <Conn.*finite number"):
                make(sim, RATE)


def test_learning_rates_and_momenta_that_are_none(model):
    with simulator(model.net) as sim:
        for name, value in (("learning_rate", -1.0), ("momentum", np.nan), ("momentum", 1.5)):
            model.set(name, variable(sim, value))
            with pytest.raises(ValidationError, match=f"Connection.*{name}"):
                nengo_wd.LayerwiseSGD(sim, RATE)
            model.net.config[model.connections[0]].__delattr__(name)
        for arguments in ((at(-1.0),), (RATE, at(1.0))):
            with pytest.raises(ValidationError, match="LayerwiseSGD.*(learning_rate|momentum)"):
                nengo_wd.LayerwiseSGD(sim, *arguments)


@pytest.mark.parametrize("name", ["weight_decay", "learning_rate"])
def test_numbers_that_float32_can_not_hold(name, model):
    with pytest.raises(ValidationError, match="1e[+]300 must be a finite number in float32"):
        model.set(name, 1e300)


@pytest.mark.generation(2)
def test_variables_that_can_not_be_read(model):
    elsewhere = tf.compat.v1.Variable(DECAY)
    with simulator(model.net) as sim:
        model.set("weight_decay", elsewhere)
        with pytest.raises(ValidationError, match="is not in the graph of the simulator"):
            nengo_wd.decoupled_weight_decay(sim, sgd(RATE))
        with sim.tensor_graph.graph.as_default():
            model.set("weight_decay", tf.compat.v1.Variable(DECAY))
        nengo_wd.decoupled_weight_decay(sim, sgd(RATE))  # not initialized so far


@pytest.mark.generation(3)
@pytest.mark.parametrize("kind", ["optimizers", "legacy"])
def test_no_decay_of_keras_beside_ours_is_no_error(kind, model):
    """Also where there is another step, beside which Keras may decay."""
    optimizers = tf.keras.optimizers.legacy if kind == "legacy" else tf.keras.optimizers
    model.set("weight_decay", DECAY)
    model.set("target_norm", 5.0)
    with simulator(model.net) as sim:
        decaying = nengo_wd.decoupled_weight_decay(sim, optimizers.SGD(RATE))
        decaying.weight_decay = None
        assert decaying.weight_decay is None
        constrained = nengo_wd.constrained_norms(sim, optimizers.SGD(RATE))
        constrained.weight_decay = DECAY
        assert constrained.weight_decay == DECAY
        scaled = tf.keras.mixed_precision.LossScaleOptimizer(optimizers.SGD(RATE))
        both = nengo_wd.constrained_norms(sim, nengo_wd.decoupled_weight_decay(sim, scaled))
        inner = both.inner_optimizer
        with pytest.raises(ValidationError, match="decays weights by the settings of objects"):
            inner.weight_decay = DECAY
