"""CUDA-ConvNet's rule."""

import by_hand
import nengo
import numpy as np
import pytest
from by_hand import DECAY, MOMENTUM, OPTIMIZERS, RATE, STEPS
from generations import simulator, tensor_node, values
from nengo.exceptions import ValidationError
from networks import ThreeConnections, product

import nengo_wd


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
