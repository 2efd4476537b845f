"""What goes into a layer and comes out of it."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import GENERATION, simulator, tensor_node
from nengo.exceptions import ValidationError
from networks import connected, dense, network_of

import nengo_wd
from nengo_wd import nengo_dl


@pytest.mark.parametrize("given", ["x", "(t, x)", "[t, x]"])
def test_call_takes_the_time_and_leaves_it_out(given):
    layer = dense()
    t, x = tf.constant(0.001), tf.ones((2, 4))
    y = {"x": lambda: layer(x), "(t, x)": lambda: layer(t, x), "[t, x]": lambda: layer([t, x])}
    assert tuple(y[given]().shape) == (2, 3)


@pytest.mark.parametrize("size_in, size_out", [(4, 5), (4, 1)])
def test_output_that_does_not_fit_is_named(size_in, size_out):
    net, _, _ = network_of(dense(), size_in, size_out)
    with pytest.raises(ValidationError, match=rf"readout.*\(3,\).*{size_out}"):
        simulator(net)


def test_layer_without_input_is_named():
    with nengo.Network() as net:
        if GENERATION == 2:
            nengo.Probe(nengo_dl.TensorNode(dense(), size_out=3))
        else:
            nengo.Probe(nengo_dl.TensorNode(dense(), shape_out=(3,)))
    with pytest.raises(ValidationError, match="readout.*no input"):
        simulator(net)


def test_inputs_of_different_size_cannot_share_a_layer():
    layer = dense()
    with nengo.Network(seed=0) as net:
        connected(tensor_node(layer, 4, 3), 4)
        connected(tensor_node(layer, 2, 3), 2)
    with pytest.raises(ValidationError, match="readout.*built for inputs with . elements"):
        simulator(net)


def test_declared_input_shape_must_fit():
    layer = nengo_wd.RegularizedConv1D(3, 2, input_shape=(5, 2), name="conv")
    net, _, _ = network_of(layer, 9, 12)
    with pytest.raises(ValidationError, match=r"conv.*\(5, 2\).*10 elements.*has 9"):
        simulator(net)


@pytest.mark.parametrize("size_out", [None, 4])
def test_flat_input_of_a_convolution_without_input_shape(size_out):
    layer = nengo_wd.RegularizedConv2D(4, 3, name="edges")
    with pytest.raises(ValidationError, match=r"'edges' takes inputs of 3 dim.*\(64,\)"):
        net, _, _ = network_of(layer, 64, size_out)
        simulator(net)


@pytest.mark.generation(3)
def test_flat_input_of_a_convolution_is_refused_when_the_node_is_made():
    for shape in ((64,), (8, 8)):
        layer = nengo_wd.RegularizedConv2D(4, 3, input_shape=shape, name="edges")
        with nengo.Network(), pytest.raises(ValidationError, match="'edges' takes inputs of 3"):
            nengo_dl.tensor_layer(nengo.Node(np.zeros(64)), layer)
