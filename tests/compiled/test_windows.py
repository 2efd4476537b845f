"""Convolutions as windows, in loops that XLA compiles, against sums over all places by NumPy."""

import importlib
import inspect
import itertools

import nengo
import numpy as np
import pytest
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl

pytestmark = [pytest.mark.generation(3), pytest.mark.slow]
AXES = {1: ((9,), (3,)), 2: ((7, 6), (3, 2)), 3: ((5, 6, 4), (2, 3, 1))}


def windows():
    """Return the module, which only NengoDL 3 can import."""
    return importlib.import_module("nengo_wd._seam.nengo_dl3.builders.windows")


def by_hand(inputs, kernel, strides, dilations, padding):
    """Return a convolution with channels last, the sum over all places of the kernel."""
    *size, _, filters = kernel.shape
    pads = [(0, 0)]
    for length, width, stride, dilation in zip(inputs.shape[1:-1], size, strides, dilations):
        reach = (width - 1) * dilation + 1
        total = max((int(np.ceil(length / stride)) - 1) * stride + reach - length, 0)
        before = {"valid": 0, "causal": reach - 1, "same": total // 2}[padding]
        pads.append((before, total - before if padding == "same" else 0))
    inputs = np.pad(inputs, [*pads, (0, 0)])
    reaches = [(width - 1) * dilation + 1 for width, dilation in zip(size, dilations)]
    lengths = [(n - r) // s + 1 for n, r, s in zip(inputs.shape[1:-1], reaches, strides)]
    outputs = np.zeros((len(inputs), *lengths, filters), inputs.dtype)
    for place in np.ndindex(*lengths):
        for tap in np.ndindex(*size):
            at = tuple(p * s + t * d for p, s, t, d in zip(place, strides, tap, dilations))
            outputs[(slice(None), *place)] += inputs[(slice(None), *at)] @ kernel[tap]
    return outputs


def with_gradients(layer, inputs, factors):
    """Return what XLA computes for a TensorNode's layer in a loop of one step, with gradients."""

    @tf.function(jit_compile=True)
    def compiled(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            with windows()._as_windows(layer):
                outputs = tf.while_loop(
                    lambda step, _: step < 1,
                    lambda step, _: (step + 1, layer(inputs)),
                    (0, tf.zeros(factors.shape, inputs.dtype)),
                    maximum_iterations=1,
                )[1]
            loss = tf.reduce_sum(outputs * factors)
        return outputs, tape.gradient(loss, [inputs, layer.kernel])

    outputs, gradients = compiled(tf.constant(inputs))
    return [outputs.numpy(), *(one.numpy() for one in gradients)]


def options():
    for n_axes, padding, first in itertools.product((1, 2, 3), ("valid", "same"), (False, True)):
        for stride, dilation in ((1, 1), (2, 1), (3, 1), (1, 2)):
            yield n_axes, padding, first, stride, dilation
    for first, (stride, dilation) in itertools.product((False, True), ((1, 1), (2, 1), (1, 2))):
        yield 1, "causal", first, stride, dilation


def assert_agrees(rng, n_axes, padding, first, stride, dilation, dtype="float64", channels=2):
    shape, size = AXES[n_axes]
    kind = getattr(tf.keras.layers, f"Conv{n_axes}D")
    order = "channels_first" if first else "channels_last"
    sizes = dict(strides=stride, dilation_rate=dilation)
    layer = kind(3, size, padding=padding, data_format=order, use_bias=False, dtype=dtype, **sizes)
    inputs = rng.randn(2, *shape, channels).astype(dtype)
    given = np.moveaxis(inputs, -1, 1) if first else inputs
    layer.build(given.shape)
    kernel = layer.kernel.numpy()

    def convolved(inputs, kernel):
        return by_hand(inputs, kernel, (stride,) * n_axes, (dilation,) * n_axes, padding)

    expected = convolved(inputs, kernel)
    factors = rng.randn(*expected.shape).astype(dtype)
    found = with_gradients(layer, given, np.moveaxis(factors, -1, 1) if first else factors)
    outputs, for_inputs, for_kernel = found
    if first:
        outputs, for_inputs = (np.moveaxis(one, 1, -1) for one in (outputs, for_inputs))
    tolerance = {"float32": 1e-5, "float64": 1e-12}[dtype]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(outputs, expected, rtol=tolerance, atol=tolerance * scale)
    for gradient, along in ((for_inputs, 0), (for_kernel, 1)):  # the loss is linear in each
        direction = rng.randn(*gradient.shape)
        args = (direction, kernel) if along == 0 else (inputs, direction)
        difference = np.sum(factors * convolved(*args))
        size_of_terms = np.sum(np.abs(gradient * direction))
        assert abs(np.sum(gradient * direction) - difference) < tolerance * size_of_terms


@pytest.fixture
def counted(monkeypatch):
    """Return a list that gets the kernels' shapes of the convolutions that are windows."""
    found, convolve = [], windows().convolve

    def counting(inputs, kernel, *args):
        found.append(tuple(kernel.shape))
        return convolve(inputs, kernel, *args)

    monkeypatch.setattr(windows(), "convolve", counting)
    return found


@pytest.mark.parametrize("n_axes, padding, first, stride, dilation", options())
def test_outputs_and_gradients_are_those_of_sums_over_places(
    rng, counted, n_axes, padding, first, stride, dilation
):
    assert_agrees(rng, n_axes, padding, first, stride, dilation)
    assert counted


@pytest.mark.parametrize("n_axes", AXES)
def test_in_single_precision(rng, n_axes):
    assert_agrees(rng, n_axes, "same", False, 2, 1, "float32")


def test_with_many_channels_the_outputs_are_those_of_xla(rng, counted):
    assert_agrees(rng, 2, "same", False, 2, 1, channels=50)
    assert counted


def test_large_kernels_and_groups_stay_as_they_are(rng, counted):
    for options in (dict(kernel_size=70), dict(kernel_size=3, groups=2)):
        layer = tf.keras.layers.Conv1D(2, use_bias=False, **options)
        inputs = rng.randn(1, 80, 2).astype("float32")
        expected = layer(inputs).numpy()
        found = with_gradients(layer, inputs, np.ones(expected.shape, "float32"))
        np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)
    assert not counted


def test_a_convolution_of_ones_own_stays_as_it_is(rng, counted):
    class Doubled(tf.keras.layers.Conv1D):
        def convolution_op(self, inputs, kernel):
            return super().convolution_op(inputs, 2 * kernel)

    layer, inputs = Doubled(2, 3, use_bias=False), rng.randn(1, 9, 2).astype("float32")
    layer.build(inputs.shape)
    found = with_gradients(layer, inputs, np.ones((1, 7, 2), "float32"))
    expected = by_hand(inputs, 2 * layer.kernel.numpy(), (1,), (1,), "valid")
    np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-5)
    assert not counted


# -- in networks ---------------------------------------------------------------------------


def tensor_nodes(make):
    with nengo.Network(seed=0) as net:
        net.source = nengo.Node(np.zeros(18))
        node = nengo_dl.Layer(make())(net.source, shape_in=(9, 2))
        net.probe = nengo.Probe(node)
    return net


LAYERS = {
    "Keras": lambda: tf.keras.layers.Conv1D(3, 3, strides=2),
    "ours": lambda: nengo_wd.RegularizedConv1D(3, 3, strides=2, kernel_regularizer="l2"),
    "model": lambda: tf.keras.Sequential([tf.keras.layers.Conv1D(3, 3, strides=2)]),
}


@pytest.mark.traced
@pytest.mark.parametrize("kind", LAYERS)
def test_layers_in_tensor_nodes(rng, counted, kind):
    net = tensor_nodes(LAYERS[kind])
    data = rng.randn(2, 3, 18).astype("float32")
    with nengo_dl.Simulator(net, minibatch_size=2, progress_bar=False) as sim:
        sim.compile(loss="mse", jit_compile=True)
        assert not counted  # nothing is compiled yet
        found = sim.predict({net.source: data}, verbose=0)[net.probe]
        assert counted == [(3, 2, 3)]
        kernel = next(one for one in sim.keras_model.trainable_variables if one.shape.ndims == 3)
        kernel = kernel.numpy()
        sim.compile(loss="mse", jit_compile=False)
        sim.predict({net.source: data}, verbose=0)
        assert len(counted) == 1
    expected = by_hand(data.reshape(6, 9, 2), kernel, (2,), (1,), "valid")
    np.testing.assert_allclose(found, expected.reshape(2, 3, -1), rtol=1e-5, atol=1e-6)


@pytest.mark.traced
@pytest.mark.parametrize("n_kernels", (1, 2))
@pytest.mark.parametrize("channels_last", (True, False))
@pytest.mark.parametrize("padding", ("valid", "same"))
@pytest.mark.filterwarnings("ignore:TensorFlow does not support convolution with channels_last")
def test_convolutions_of_nengo(rng, counted, n_kernels, channels_last, padding):
    """Two convolutions of the same input are one operator of NengoDL."""
    shape = nengo.transforms.ChannelShape((7, 6, 2) if channels_last else (2, 7, 6), channels_last)
    values = rng.uniform(-1, 1, 84)
    with nengo.Network(seed=0) as net:
        source = nengo.Node(values)
        relay = nengo.Node(size_in=84)
        nengo.Connection(source, relay, synapse=None)
        probes = []
        for _ in range(n_kernels):
            conv = nengo.Convolution(
                3, shape, (3, 3), (2, 2), padding, channels_last, rng.uniform(-1, 1, (3, 3, 2, 3))
            )
            target = nengo.Node(size_in=conv.output_shape.size)
            nengo.Connection(relay, target, synapse=None, transform=conv)
            probes.append(nengo.Probe(target))
    with nengo.Simulator(net, progress_bar=False) as reference:
        reference.run_steps(2)
    with nengo_dl.Simulator(net, progress_bar=False) as sim:
        sim.compile(loss="mse", jit_compile=True)
        found = sim.predict({source: np.tile(values, (1, 2, 1))}, verbose=0)
    assert counted == [(3, 3, 2, 3 * n_kernels)]
    for probe in probes:
        np.testing.assert_allclose(found[probe][0], reference.data[probe], rtol=1e-5, atol=1e-5)


@pytest.mark.traced
def test_convolutions_of_nengo_in_groups_stay_as_they_are(rng, counted):
    values = rng.uniform(-1, 1, 18)
    if "groups" not in inspect.signature(nengo.Convolution).parameters:
        pytest.skip("Nengo 3 has no groups")
    with nengo.Network(seed=0) as net:
        source, relay = nengo.Node(values), nengo.Node(size_in=18)
        nengo.Connection(source, relay, synapse=None)
        kernel = rng.uniform(-1, 1, (3, 1, 4))
        conv = nengo.Convolution(4, (9, 2), (3,), (1,), init=kernel, groups=2)
        target = nengo.Node(size_in=conv.output_shape.size)
        nengo.Connection(relay, target, synapse=None, transform=conv)
        probe = nengo.Probe(target)
    with nengo.Simulator(net, progress_bar=False) as reference:
        reference.run_steps(2)
    with nengo_dl.Simulator(net, progress_bar=False) as sim:
        sim.compile(loss="mse", jit_compile=True)
        found = sim.predict({source: np.tile(values, (1, 2, 1))}, verbose=0)[probe]
    assert not counted
    np.testing.assert_allclose(found[0], reference.data[probe], rtol=1e-5, atol=1e-5)
