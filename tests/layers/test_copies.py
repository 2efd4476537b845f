"""Copies of networks and of layers, with all that they have."""

import copy
import pickle

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import assign, simulator, tensor_node
from networks import dense

import nengo_wd
from nengo_wd import nengo_dl

COPIES = {
    "copy": lambda net: net.copy(),
    "deepcopy": copy.deepcopy,
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
}


def model():
    """Return a network with a shared layer, a native connection, and settings of all kinds."""
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(weight_decay=0.5)
        source = nengo.Node(np.zeros(4), label="source")
        layer = dense(kernel_regularizer=tf.keras.regularizers.l2(0.5))
        for _ in range(2):
            node = tensor_node(layer, 4, 3)
            nengo.Connection(source, node, synapse=None)
        ensemble = nengo.Ensemble(5, 3, label="a")
        connection = nengo.Connection(node, ensemble, transform=np.eye(3))
        readout = nengo.Connection(ensemble, nengo.Node(size_in=3), label="readout")
        net.config[connection].weight_decay = 0.25
        net.config[readout].regularizer = nengo_wd.regularizers.GroupLasso(0.5, axis=1)
        net.config[ensemble].regularizer = nengo_wd.regularizers.TowardsInitial(l2=0.5)
        net.config[ensemble.neurons].regularizer = "l1"
        net.config[nengo.Probe(ensemble.neurons)].regularizer = "l2"
    return net, layer


def penalties(net, kernel):
    """Return the penalties of a network, with a kernel in its layer."""
    with simulator(net, seed=0) as sim:
        assign(sim, layer_of(net).kernel, kernel)
        return nengo_wd.regularization_losses(sim)


def layer_of(net):
    return next(node.tensor_func for node in net.nodes if isinstance(node, nengo_dl.TensorNode))


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("simulated", [False, True])
def test_network(how, simulated, rng):
    net, layer = model()
    kernel = rng.uniform(-1, 1, size=(4, 3))
    if simulated:
        expected = penalties(net, kernel)
    copied = COPIES[how](net)
    assert layer_of(copied) is not layer
    nodes = [node for node in copied.nodes if isinstance(node, nengo_dl.TensorNode)]
    assert nodes[0].tensor_func is nodes[1].tensor_func
    found = penalties(copied, kernel)
    assert found["readout.kernel"] == pytest.approx(0.5 * np.square(kernel).sum(), rel=1e-6)
    assert found == pytest.approx(expected if simulated else penalties(net, kernel), rel=1e-6)
    connection = next(c for c in copied.connections if isinstance(c.post, nengo.Ensemble))
    assert copied.config[connection].weight_decay == 0.25


@pytest.mark.generation(3)
def test_network_keeps_the_weights_of_its_layers():
    net, layer = model()
    with simulator(net):
        kernel, bias = layer.get_weights()
    copied = pickle.loads(pickle.dumps(net))
    with simulator(copied, seed=5):
        found = layer_of(copied).get_weights()
    np.testing.assert_array_equal(found[0], kernel)
    np.testing.assert_array_equal(found[1], bias)


@pytest.mark.generation(3)
@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_layer(how):
    layer = dense(kernel_regularizer=tf.keras.regularizers.l2(0.5), bias_regularizer="l1")
    assert COPIES[how](layer).get_config() == layer.get_config()
    layer.build((None, 4))
    copied = COPIES[how](layer)
    assert copied.kernel is not layer.kernel
    copied.kernel.assign(tf.ones((4, 3)))
    assert [float(loss) for loss in copied.losses] == [6.0, pytest.approx(0.03)]
    assert float(layer.losses[0]) != 6.0


@pytest.mark.generation(3)
@pytest.mark.parametrize("setting", [False, True])
def test_network_of_several_simulators(setting):
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings()
        node = tensor_node(dense(bias_regularizer="l1"), 4, 3)  # with a default penalty
        if setting:
            net.config[node].regularizer = "l1"
    with simulator(net), simulator(net) as sim:
        expected = nengo_wd.regularization_losses(sim)
        copied = pickle.loads(pickle.dumps(net))
    with simulator(copied, seed=5) as sim:
        assert nengo_wd.regularization_losses(sim) == pytest.approx(expected)
