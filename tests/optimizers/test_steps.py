"""An optimizer with steps before its own stays what it is."""

import by_hand
import numpy as np
import pytest
import tensorflow as tf
from by_hand import DECAY, MOMENTUM, RATE, gradient_descent
from generations import GENERATION, sgd, simulator, values
from networks import ThreeConnections, product

import nengo_wd


@pytest.fixture
def model():
    return ThreeConnections()


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
        optimizer.update_weight_decay()
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
