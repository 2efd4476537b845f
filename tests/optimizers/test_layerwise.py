"""CUDA-ConvNet's rule."""

import by_hand
import nengo
import numpy as np
import pytest
import tensorflow as tf
from by_hand import DECAY, MOMENTUM, OPTIMIZERS, RATE, STEPS
from generations import GENERATION, assign, simulator, tensor_node, values, variable
from nengo.exceptions import ValidationError
from networks import ThreeConnections, product

import nengo_wd

schedules = tf.keras.optimizers.schedules


@pytest.fixture
def model():
    return ThreeConnections()


def test_layerwise_sgd_equals_cuda_convnet(model):
    model.set("learning_rate", 0.25, None, 0.5)
    model.set("momentum", 0.75, 0.25)
    model.set("weight_decay", None, 0.125, 0.25)
    trained = model.trained(lambda sim: nengo_wd.LayerwiseSGD(sim, RATE, MOMENTUM))
    expected = [
        by_hand.cuda_convnet(model.start[0], model.gradient[0], 0.25, 0.75, 0, STEPS),
        by_hand.cuda_convnet(model.start[1], model.gradient[1], RATE, 0.25, 0.125, STEPS),
        by_hand.cuda_convnet(model.start[2], model.gradient[2], 0.5, MOMENTUM, 0.25, STEPS),
    ]
    np.testing.assert_allclose(trained, expected, rtol=1e-12)


def test_layerwise_sgd_without_settings_is_sgd(model):
    ours = model.trained(lambda sim: nengo_wd.LayerwiseSGD(sim, RATE, MOMENTUM))
    theirs = model.trained(lambda sim: OPTIMIZERS["momentum"][1]())
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_layerwise_sgd_takes_on_changed_settings(model):
    model.set("weight_decay", DECAY)
    with simulator(model.net) as sim:
        optimizer = nengo_wd.LayerwiseSGD(sim, RATE)
        weights = model.train(sim, optimizer, epochs=1)
        model.set("weight_decay", 2 * DECAY)
        optimizer.update_settings()
        trained = model.train(sim, optimizer, epochs=1)
        expected = by_hand.cuda_convnet(weights[0], model.gradient[0], RATE, 0, 2 * DECAY, 1)
        np.testing.assert_allclose(trained[0], expected, rtol=1e-12)


def test_layerwise_sgd_has_rates_for_the_biases_of_layers(model):
    layer = nengo_wd.RegularizedDense(3, kernel_regularizer=None)
    with model.net:
        node = tensor_node(layer, 3, 3)
        nengo.Connection(model.probes[0].target, node, synapse=None)
        probe = nengo.Probe(node)
    model.net.config[node].learning_rate = 0.0
    model.net.config[node].weight_decay = DECAY
    model.targets[probe], model.objective[probe] = np.ones((1, 1, 3)), product
    with simulator(model.net) as sim:
        before = values(sim, layer.weights)
        model.train(sim, nengo_wd.LayerwiseSGD(sim, RATE), epochs=1)
        for was, now in zip(before, values(sim, layer.weights)):
            np.testing.assert_array_equal(now, was)


@pytest.mark.parametrize("arguments", [(True,), ("x",), (0.1, None), (0.1, -1.0)])
def test_layerwise_sgd_without_a_rate(model, arguments):
    with simulator(model.net) as sim:
        with pytest.raises(ValidationError, match="LayerwiseSGD.*(learning_rate|momentum)"):
            nengo_wd.LayerwiseSGD(sim, *arguments)


# -- momentum --------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1.0, 1.5])
def test_momentum_of_one_or_more(model, value):
    with simulator(model.net) as sim:
        with pytest.raises(ValidationError, match=f"LayerwiseSGD.*momentum of {value}.*below 1"):
            nengo_wd.LayerwiseSGD(sim, RATE, value)
        optimizer = nengo_wd.LayerwiseSGD(sim, RATE, MOMENTUM)
        with pytest.raises(ValidationError, match="below 1"):
            optimizer.momentum = value
        assert optimizer.momentum == MOMENTUM
    with pytest.raises(ValidationError, match=f"Connection.*momentum of {value}"):
        model.set("momentum", value)


def by_rule(model, momenta):
    """Return the weights after steps with these momenta."""
    weights, increment = model.start, 0
    for momentum in momenta:
        increment = momentum * increment - RATE * model.gradient
        weights = weights + increment
    return weights


def test_momentum_that_is_changed(model):
    with simulator(model.net) as sim:
        optimizer = nengo_wd.LayerwiseSGD(sim, RATE, MOMENTUM)
        model.train(sim, optimizer, epochs=2)
        optimizer.momentum = 0.25
        trained = model.train(sim, optimizer, epochs=2)
        with pytest.raises(ValidationError, match="0.25 can't become .*make the optimizer anew"):
            optimizer.momentum = schedules.ExponentialDecay(0.5, 1, 0.5)
    expected = by_rule(model, [MOMENTUM, MOMENTUM, 0.25, 0.25])
    np.testing.assert_allclose(trained, expected, rtol=1e-12)


def test_schedule_of_the_momentum(model):
    schedule = schedules.PiecewiseConstantDecay([1], [0.5, 0.25])
    trained = model.trained(lambda sim: nengo_wd.LayerwiseSGD(sim, RATE, schedule))
    np.testing.assert_allclose(trained, by_rule(model, [0.5, 0.5, *8 * [0.25]]), rtol=1e-12)


def test_refused_settings_change_nothing(model):
    model.set("learning_rate", 0.25)
    model.set("momentum", 0.25)
    with simulator(model.net) as sim:
        optimizer = nengo_wd.LayerwiseSGD(sim, RATE)
        model.set("learning_rate", 0.5)
        model.set("momentum", schedules.ExponentialDecay(0.5, 1, 0.5))
        with pytest.raises(ValidationError, match="momentum.*make the optimizer anew"):
            optimizer.update_settings()
        trained = model.train(sim, optimizer, epochs=1)
    np.testing.assert_allclose(trained[0], model.start[0] - 0.25 * model.gradient[0], rtol=1e-12)


def test_a_variable_as_the_learning_rate_counts_as_it_is_at_each_step(tmp_path, model):
    """Also after it was saved and loaded, beside a learning rate of a connection's own."""
    model.set("learning_rate", None, RATE)
    with simulator(model.net) as sim:
        rate = variable(sim, np.float32(RATE))
        optimizer = nengo_wd.LayerwiseSGD(sim, rate)
        model.train(sim, optimizer, epochs=1)
        for value in (RATE / 2, 2 * RATE):
            assign(sim, rate, np.float32(value))
            if GENERATION == 2:
                model.train(sim, optimizer, epochs=1)
                continue
            sim.fit(model.inputs, model.targets, verbose=0)
            checkpoint = tf.train.Checkpoint(optimizer=optimizer)
            path = checkpoint.save(str(tmp_path / "optimizer"))
            rate.assign(0.0)
            checkpoint.restore(path)
            assert rate.numpy() == value
        trained = model.weights(sim)
    steps = RATE * np.array([3.5, 3, 3.5])[:, None, None]
    np.testing.assert_allclose(trained, model.start - steps * model.gradient, rtol=1e-10)
