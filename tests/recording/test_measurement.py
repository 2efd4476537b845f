"""Norms and penalties against NumPy on `sim.data` and on the layers' variables."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from by_hand import norm
from generations import assign, simulator, use_dtype, values
from internals import n_operations_of_record
from networks import EveryParameter, readout_network

import nengo_wd
from nengo_wd import nengo_dl
from nengo_wd.regularizers import GroupLasso, TowardsInitial

l1, l2 = tf.keras.regularizers.l1, tf.keras.regularizers.l2


class Transposed(nengo_wd.TimeLoopLayer, tf.keras.layers.Conv2DTranspose):
    """A transposed convolution for the time loop."""


class Depthwise(nengo_wd.TimeLoopLayer, tf.keras.layers.DepthwiseConv2D):
    """A depthwise convolution for the time loop."""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_norms_of_native_parameters_equal_numpy(dtype):
    model = EveryParameter()
    with model.net:
        use_dtype(dtype)
    objects = [model.sparse, model.a, model.readout, model.conv, model.full, model.a.neurons]
    with simulator(model.net) as sim:
        norms = nengo_wd.WeightNorms(sim, objects=objects)
        norms.record()
        data = sim.data
        expected = [  # by channel, in the order that was asked for
            norm(model.matrix.toarray(), axis=1),
            norm(data[model.a].scaled_encoders, axis=1),
            norm(data[model.readout].weights, axis=1),
            norm(data[model.conv].weights, axis=(0, 1, 2)),
            norm(data[model.full].weights, axis=1),
            np.abs(data[model.a].bias),
        ]
    rtol = {"float32": 1e-6, "float64": 1e-12}[dtype]
    for channels, of_channels in zip(expected, norms.channel_norms.values()):
        assert of_channels.shape == (1, len(channels))
        np.testing.assert_allclose(of_channels[0], channels, rtol=rtol)
    np.testing.assert_allclose(norms.norms, [[norm(c) for c in expected]], rtol=rtol)
    assert [p.obj for p in norms.parameters.values()] == objects


@pytest.mark.parametrize(
    "make, size_in, kernel_axes, channel_axes",
    [
        (lambda: nengo_wd.RegularizedDense(5), 3, 2, 0),
        (lambda: nengo_wd.RegularizedConv1D(5, 2, input_shape=(4, 3)), 12, 3, (0, 1)),
        (lambda: nengo_wd.RegularizedConv2D(5, 2, input_shape=(3, 3, 2)), 18, 4, (0, 1, 2)),
        (lambda: nengo_wd.RegularizedConv3D(5, 2, input_shape=(2, 2, 2, 3)), 24, 5, (0, 1, 2, 3)),
        # the kernel of a transposed convolution is of shape (height, width, output, input)
        (
            lambda: Transposed(5, 2, kernel_regularizer="l2", input_shape=(3, 3, 2)),
            18,
            4,
            (0, 1, 3),
        ),
        (
            lambda: Depthwise(
                2, depth_multiplier=3, depthwise_regularizer="l2", input_shape=(3, 3, 2)
            ),
            18,
            4,
            (0, 1),
        ),
    ],
)
def test_norms_of_layers_equal_numpy(make, size_in, kernel_axes, channel_axes):
    layer = make()
    with nengo.Network(seed=0) as net:
        nengo_dl.tensor_layer(nengo.Node(np.zeros(size_in)), layer)
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        norms.record()
        kernel = values(sim, layer.trainable_weights)[0]
    assert kernel.ndim == kernel_axes
    channels = norm(kernel, channel_axes).ravel()
    (recorded,) = norms.channel_norms.values()
    np.testing.assert_allclose(recorded, [channels], rtol=1e-6)
    np.testing.assert_allclose(norms.norms, [[norm(kernel)]], rtol=1e-6)


def test_sums_over_many_rows_are_precise():
    layer = nengo_wd.RegularizedDense(3, name="readout")
    with nengo.Network() as net:
        nengo_dl.tensor_layer(nengo.Node(np.zeros(100000)), layer)
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        kernel = np.random.RandomState(0).uniform(size=(100000, 3)).astype(np.float32)
        assign(sim, layer.kernel, kernel)
        norms.record()
    np.testing.assert_allclose(norms.channel_norms["readout.kernel"][0], norm(kernel, 0), rtol=1e-7)


def test_penalties_equal_numpy():
    model = EveryParameter()
    config = model.net.config
    config[model.readout].regularizer = l2(0.5)
    config[model.full].regularizer = l1(0.25)
    config[model.conv].regularizer = GroupLasso(0.1, axis=3)
    config[model.a].regularizer = TowardsInitial(l2=0.75)
    config[model.b].weight_decay = 0.1  # a parameter without penalty
    with model.net:
        layer = nengo_wd.RegularizedDense(2, kernel_regularizer=None, bias_regularizer=l2(2.0))
        nengo_dl.tensor_layer(model.image, layer)
    with simulator(model.net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        data = sim.data
        kernel = data[model.conv].weights
        assign(sim, layer.bias, np.array([1.0, 3.0], np.float32))
        norms.record()
        expected = {
            model.readout: 0.5 * norm(data[model.readout].weights) ** 2,
            model.full: 0.25 * np.abs(data[model.full].weights).sum(),
            model.conv: 0.1 * np.sqrt(kernel[..., 0].size) * norm(kernel, (0, 1, 2)).sum(),
            model.a: 0.0,
            model.b: 0.0,
        }
        recorded = {p.obj: x for p, x in zip(norms.parameters.values(), norms.penalties[0])}
        for obj, penalty in expected.items():
            assert recorded.pop(obj) == pytest.approx(penalty, rel=1e-6)
        assert list(recorded.values()) == [pytest.approx(20.0)]
        for parameter in norms.parameters.values():  # twice the rows of the encoders, not others
            if parameter.obj is model.a:
                value = values(sim, [parameter.variable])[0]
                value[parameter.rows] *= 2
                assign(sim, parameter.variable, value)
        norms.record()
        towards = 0.75 * norm(parameter_of(norms, model.a).initial) ** 2
        assert norms.penalties[1, place(norms, model.a)] == pytest.approx(towards, rel=1e-6)
        total = nengo_wd.regularization_loss(sim)
        assert norms.total_penalties[1] == pytest.approx(total, rel=1e-6)
        assert norms.total_penalties[1] == pytest.approx(norms.penalties[1].sum(), rel=1e-6)


def parameter_of(norms, obj):
    return next(p for p in norms.parameters.values() if p.obj is obj)


def place(norms, obj):
    return [p.obj for p in norms.parameters.values()].index(obj)


def test_total_penalty_counts_what_is_not_recorded():
    model = EveryParameter()
    with model.net:
        nengo_wd.configure_settings(regularizer=l2(1.0))
    with simulator(model.net) as sim:
        norms = nengo_wd.WeightNorms(sim, objects=model.readout)
        norms.record()
        assert norms.total_penalties[0] > norms.penalties[0, 0] > 0
        assert norms.total_penalties[0] == pytest.approx(nengo_wd.regularization_loss(sim))


def operations(n_connections):
    """Return how many operations a measurement of so many connections has."""
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(regularizer="l2")
        a = nengo.Ensemble(10, 1)
        for _ in range(n_connections):
            nengo.Connection(a, a)
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        assert len(norms.names) == n_connections
        return n_operations_of_record(sim, norms)


def test_operations_grow_with_variables_not_objects():
    assert operations(2) == operations(20)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_weights_whose_squares_are_no_float32(size):
    net, _, layer, _ = readout_network()
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        assign(sim, layer.kernel, np.full((2, 3), size, np.float32))
        norms.record()
    np.testing.assert_allclose(norms.norms, [[np.sqrt(6) * size]], rtol=1e-6)
