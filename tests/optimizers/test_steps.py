"""Steps beside an optimizer's own, against the order of their effects written out in NumPy."""

import by_hand
import nengo
import numpy as np
import pytest
import tensorflow as tf
from by_hand import DECAY, MOMENTUM, RATE, gradient_descent
from generations import GENERATION, sgd, simulator, tensor_node, train, values
from networks import ThreeConnections, collecting, product

import nengo_wd
from nengo_wd import _seam as seam
from nengo_wd import nengo_dl
from nengo_wd._seam.state import own_parts, steps_of
from nengo_wd.optimizers.steps import Step


class Multiply(Step):
    """Multiply all weights before and after the optimizer's step."""

    def __init__(self, name, before=1.0, after=1.0, needs_learning_rate=False):
        self.name, self.factors, self.needs_learning_rate = (
            name,
            (before, after),
            needs_learning_rate,
        )
        self.seen = []

    def before(self, variables, learning_rate, iteration):
        self.seen.append(learning_rate)
        return [self._multiply(v, self.factors[0], learning_rate) for v in variables]

    def after(self, variables, learning_rate, iteration):
        return [self._multiply(v, self.factors[1], learning_rate) for v in variables]

    def _multiply(self, variable, factor, learning_rate):
        if self.needs_learning_rate:
            factor *= tf.cast(learning_rate, variable.dtype.base_dtype)
        return seam.values.multiply(variable, tf.cast(factor, variable.dtype.base_dtype))


def settings_of(optimizer):
    """Return the names of the settings that an optimizer uses."""
    return {name for part in own_parts(optimizer) for name in part.settings}


@pytest.fixture
def model():
    return ThreeConnections()


def test_steps_before_and_after(model):
    step = Multiply("Twice", before=3.0, after=0.5)
    trained = model.trained(lambda sim: seam.optimizers.with_step(sim, sgd(RATE), step))
    weights = model.start
    for _ in range(10):
        weights = 0.5 * (3 * weights - RATE * model.gradient)
    np.testing.assert_allclose(trained, weights, rtol=1e-12)
    assert step.seen[0] is None  # no step asked for the learning rate


def test_several_steps_in_their_order(model):
    first, second = (
        Multiply("One", before=3.0),
        Multiply("Two", before=0.5, after=8, needs_learning_rate=True),
    )

    def both(sim):
        once = seam.optimizers.with_step(sim, sgd(RATE), first)
        twice = seam.optimizers.with_step(sim, once, second)
        assert steps_of(twice) == [first, second]
        return twice

    weights = model.start
    for _ in range(10):
        weights = 8 * RATE * (3 * 0.5 * RATE * weights - RATE * model.gradient)
    np.testing.assert_allclose(model.trained(both), weights, rtol=1e-12)


def test_decay_beside_another_step(model):
    model.set("weight_decay", DECAY)
    step = Multiply("Doubled", after=2.0)

    def both(sim):
        decaying = nengo_wd.decoupled_weight_decay(sim, sgd(RATE))
        return seam.optimizers.with_step(sim, decaying, step)

    weights, factors = model.start, np.array([1 - RATE * DECAY, 1, 1])[:, None, None]
    for _ in range(10):
        weights = 2 * (factors * weights - RATE * model.gradient)
    np.testing.assert_allclose(model.trained(both), weights, rtol=1e-12)


def test_an_optimizer_says_what_it_takes_notice_of(model):
    model.set("weight_decay", DECAY)
    with simulator(model.net) as sim:
        assert settings_of(sgd(RATE)) == set()
        decaying = nengo_wd.decoupled_weight_decay(sim, sgd(RATE))
        assert settings_of(decaying) == {"weight_decay"}
        layerwise = nengo_wd.LayerwiseSGD(sim)
        assert settings_of(layerwise) == {"weight_decay", "momentum", "learning_rate"}


@pytest.mark.generation(3)
@pytest.mark.parametrize("kind", ["optimizers", "legacy"])
def test_steps_belong_to_the_inner_optimizer(kind, model):
    """Loss scaling takes no step where a gradient is not finite: neither the steps beside it."""
    optimizers = tf.keras.optimizers if kind == "optimizers" else tf.keras.optimizers.legacy
    model.set("weight_decay", DECAY)
    with simulator(model.net) as sim:
        scaled = tf.keras.mixed_precision.LossScaleOptimizer(optimizers.SGD(RATE))
        decaying = nengo_wd.decoupled_weight_decay(sim, scaled)
        assert decaying is scaled
        assert settings_of(decaying) == {"weight_decay"}
        trained = model.train(sim, decaying, epochs=3)
        finite = model.targets[model.probes[1]]
        model.targets[model.probes[1]] = np.full_like(finite, np.inf)
        np.testing.assert_array_equal(model.train(sim, decaying, epochs=2), trained)
        model.set("weight_decay", 2 * DECAY)
        decaying.update_settings()
        model.targets[model.probes[1]] = finite
        trained = model.train(sim, decaying, epochs=1)
    weights = model.start
    for decay in (DECAY, DECAY, DECAY, 2 * DECAY):
        factors = np.array([1 - RATE * decay, 1, 1])[:, None, None]
        weights = factors * weights - RATE * model.gradient
    np.testing.assert_allclose(trained, weights, rtol=1e-6)


# -- an optimizer with steps stays what it is ------------------------------------------------


@pytest.mark.traced
def test_changes_between_epochs_change_no_weights_and_build_nothing_anew(model):
    traces = []

    def counted(one, other):
        traces.append(1)
        return product(one, other)

    model.set("weight_decay", DECAY)
    model.objective = {probe: counted for probe in model.probes}
    with simulator(model.net) as sim:
        optimizer = nengo_wd.decoupled_weight_decay(sim, sgd(RATE))
        weights = model.train(sim, optimizer, epochs=2)
        n_traces = len(traces)
        model.set("weight_decay", 2 * DECAY, DECAY)
        optimizer.update_settings()
        rate = RATE
        if GENERATION == 3:
            rate = RATE / 2
            optimizer.learning_rate = rate
        np.testing.assert_array_equal(model.weights(sim), weights)
        if GENERATION == 3:
            sim.fit(model.inputs, model.targets, epochs=2, verbose=0)
        else:
            model.train(sim, optimizer, epochs=2)
        trained = model.weights(sim)
        assert len(traces) == n_traces
    for i, decay in enumerate((2 * DECAY, DECAY, 0)):
        updates = gradient_descent(model.gradient[i], rate)
        expected = by_hand.trained(weights[i], updates, [1 - rate * decay] * 2)
        np.testing.assert_allclose(trained[i], expected, rtol=1e-12)


@pytest.mark.generation(3)
def test_variable_as_decay(model):
    decay = tf.Variable(0.0, trainable=False)
    model.set("weight_decay", decay)
    with simulator(model.net) as sim:
        weights = model.train(sim, nengo_wd.decoupled_weight_decay(sim, sgd(RATE)), epochs=1)
        decay.assign(DECAY)
        sim.fit(model.inputs, model.targets, verbose=0)
        expected = weights[0] * (1 - RATE * DECAY) - RATE * model.gradient[0]
        np.testing.assert_allclose(model.weights(sim)[0], expected, rtol=1e-12)


@pytest.mark.generation(3)
def test_checkpoint_and_config(model, tmp_path):
    model.set("weight_decay", DECAY)
    with simulator(model.net) as sim:
        optimizer = nengo_wd.decoupled_weight_decay(sim, tf.keras.optimizers.Adam(RATE))
        model.train(sim, optimizer, epochs=3)
        start = sim.keras_model.get_weights()
        path = tf.train.Checkpoint(optimizer=optimizer).save(str(tmp_path / "optimizer"))
        sim.fit(model.inputs, model.targets, verbose=0)
        expected = model.weights(sim)
        sim.keras_model.set_weights(start)
        tf.train.Checkpoint(optimizer=optimizer).restore(path).assert_existing_objects_matched()
        sim.fit(model.inputs, model.targets, verbose=0)
        np.testing.assert_array_equal(model.weights(sim), expected)
        config = optimizer.get_config()
        again = type(optimizer).from_config(config)
        assert type(again) is tf.keras.optimizers.Adam
        assert again.get_config() == config


@pytest.mark.generation(2)
def test_slots_are_those_of_the_inner_optimizer(model):
    model.set("weight_decay", DECAY)
    with simulator(model.net) as sim:
        optimizer = nengo_wd.decoupled_weight_decay(
            sim, tf.compat.v1.train.MomentumOptimizer(RATE, MOMENTUM)
        )
        model.train(sim, optimizer, epochs=1)
        assert optimizer.get_slot_names() == ["momentum"]
        (slot,) = optimizer.variables()
        merged = np.concatenate(model.gradient)
        np.testing.assert_allclose(np.sort(values(sim, [slot])[0], None), np.sort(merged, None))


@pytest.mark.generation(3)
def test_optimizer_stays_what_it_is(model):
    """Neither state nor what has no configuration is lost."""

    class Scaled(tf.keras.optimizers.SGD):
        def __init__(self, factor, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def apply_gradients(self, grads_and_vars, *args, **kwargs):
            scaled = [(gradient * self.factor, v) for gradient, v in grads_and_vars]
            return super().apply_gradients(scaled, *args, **kwargs)

    model.set("weight_decay", DECAY)
    optimizer = Scaled(0.5, learning_rate=RATE, momentum=MOMENTUM)
    with simulator(model.net) as sim:
        once = model.train(sim, optimizer, epochs=1)
        decaying = nengo_wd.decoupled_weight_decay(sim, optimizer)
        trained = model.train(sim, decaying, epochs=1)
    velocity = 0.5 * model.gradient * (1 + MOMENTUM)
    factor = np.array([1 - RATE * DECAY, 1, 1])[:, None, None]
    np.testing.assert_allclose(trained, once * factor - RATE * velocity, rtol=1e-12)


@pytest.mark.generation(3)
@pytest.mark.parametrize("kind", ["optimizers", "legacy"])
def test_loss_scaling_survives_its_configuration(kind, model):
    optimizers = tf.keras.optimizers if kind == "optimizers" else tf.keras.optimizers.legacy
    model.set("weight_decay", DECAY)
    with simulator(model.net) as sim:
        scaled = tf.keras.mixed_precision.LossScaleOptimizer(optimizers.SGD(RATE))
        decaying = nengo_wd.decoupled_weight_decay(sim, scaled)
        again = type(decaying).from_config(decaying.get_config())
        assert type(again.inner_optimizer) is type(optimizers.SGD())
        one, other = (o.get_config()["inner_optimizer"] for o in (again, decaying))
        assert one["config"] == other["config"] and one["class_name"] == other["class_name"]


def test_an_optimizer_may_have_steps_of_its_own(model):
    """As an attribute that has nothing to do with ours."""

    class Mine(type(sgd(RATE))):
        steps = 10

    model.set("weight_decay", DECAY)
    trained = model.trained_with_decay(Mine(RATE))
    updates = gradient_descent(model.gradient[0], RATE)
    expected = by_hand.trained(model.start[0], updates, [1 - RATE * DECAY] * 10)
    np.testing.assert_allclose(trained[0], expected, rtol=1e-12)
    assert steps_of(Mine(RATE)) == []


@pytest.mark.generation(3)
@pytest.mark.parametrize("kind", ["optimizers", "legacy"])
def test_steps_beside_an_optimizer_that_collects_gradients(kind, model):
    """It updates at every second batch, with the sum of two gradients."""
    base = tf.keras.optimizers if kind == "optimizers" else tf.keras.optimizers.legacy
    model.set("weight_decay", DECAY)
    trained = model.trained_with_decay(collecting(base)(RATE))
    weights, factors = model.start, np.array([1 - RATE * DECAY, 1, 1])[:, None, None]
    for _ in range(5):  # updates in ten epochs of a batch
        weights = factors * weights - RATE * 2 * model.gradient
    np.testing.assert_allclose(trained, weights, rtol=1e-12)


# -- weights that no loss reaches ------------------------------------------------------------

WAYS_TO_RUN = ["compiled", "unrolled", "eager"] if GENERATION == 3 else ["compiled"]


def legacy(rate):
    return tf.keras.optimizers.legacy.SGD(rate)


@pytest.mark.traced
@pytest.mark.parametrize("way", WAYS_TO_RUN)
@pytest.mark.parametrize("make", [None, sgd, legacy] if GENERATION == 3 else [None, sgd])
def test_weights_that_no_loss_reaches_take_all_steps(make, way):
    """As those with a gradient of zero do, in whatever way a network is run."""
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(regularizer=tf.keras.regularizers.l1(0.5))
        nengo_dl.configure_settings(use_loop=way != "unrolled") if GENERATION == 3 else None
        source, layers, probes = nengo.Node(np.zeros(2)), [], []
        for _ in range(2):
            layers.append(nengo_wd.RegularizedDense(2, kernel_initializer="ones"))
            node = tensor_node(layers[-1], 2, 2)
            nengo.Connection(source, node, synapse=None)
            probes.append(nengo.Probe(node))
            net.config[node].weight_decay, net.config[node].target_norm = DECAY, 1.5
    zeros = np.zeros((2, 1, 2))
    with simulator(net, unroll_simulation=1) as sim:
        if make is None:
            optimizer = nengo_wd.LayerwiseSGD(sim, RATE, MOMENTUM)
        else:
            optimizer = nengo_wd.decoupled_weight_decay(sim, make(RATE))
            optimizer = nengo_wd.proximal_regularization(sim, optimizer)
            optimizer = nengo_wd.constrained_norms(sim, optimizer)
        if way == "eager":
            sim.compile(optimizer, loss={probes[0]: "mse"}, run_eagerly=True)
            sim.fit({source: zeros}, {probes[0]: zeros}, verbose=0)
        else:
            train(sim, {source: zeros}, {probes[0]: zeros}, {probes[0]: "mse"}, optimizer)
        reached, unreached = values(sim, [layer.kernel for layer in layers])
    assert np.all(reached < 1)
    np.testing.assert_array_equal(unreached, reached)
