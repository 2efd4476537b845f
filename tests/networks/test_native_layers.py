"""Layers of every class that has a native form, in NengoDL and in Nengo's own simulator."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from native_networks import both, give_weights, neurons, varied_input

import nengo_wd
from nengo_wd import nengo_dl

pytestmark = [
    pytest.mark.generation(3),
    pytest.mark.filterwarnings("ignore:.*size_out' is being overwritten"),
    pytest.mark.filterwarnings("ignore:The initializer"),
]

keras = tf.keras.layers
FLAT = (6,)
LAYERS = {  # a layer, and the shape of its input
    "dense": (lambda **k: keras.Dense(5, **k), FLAT),
    "dense without bias": (lambda **k: keras.Dense(5, use_bias=False, **k), FLAT),
    "dense of several axes": (lambda **k: keras.Dense(2, **k), (2, 2, 3)),
    "our dense": (lambda **k: nengo_wd.RegularizedDense(4), FLAT),
    "conv 1": (lambda **k: keras.Conv1D(3, 2, **k), (5, 2)),
    "conv 1 same": (lambda **k: keras.Conv1D(3, 4, padding="same", **k), (5, 2)),
    "conv 1 causal": (lambda **k: keras.Conv1D(3, 3, padding="causal", **k), (5, 2)),
    "conv 1 dilated": (lambda **k: keras.Conv1D(2, 2, dilation_rate=3, **k), (6, 2)),
    "conv 1 in groups": (lambda **k: keras.Conv1D(4, 2, groups=2, **k), (4, 4)),
    "our conv 1": (lambda **k: nengo_wd.RegularizedConv1D(3, 2, strides=2), (6, 2)),
    "our flat conv 1": (lambda **k: nengo_wd.RegularizedConv1D(3, 2, input_shape=(5, 2)), (10,)),
    "conv 2": (lambda **k: keras.Conv2D(2, (2, 3), **k), (4, 4, 2)),
    "conv 2 same": (lambda **k: keras.Conv2D(2, 2, padding="same", **k), (3, 4, 2)),
    "conv 2 same in strides": (
        lambda **k: keras.Conv2D(2, 3, strides=(2, 3), padding="same", **k),
        (4, 5, 1),
    ),
    "conv 2 dilated": (
        lambda **k: keras.Conv2D(2, 2, dilation_rate=2, padding="same", **k),
        (4, 4, 1),
    ),
    "conv 2 channels first": (
        lambda **k: keras.Conv2D(2, 2, data_format="channels_first", **k),
        (2, 3, 4),
    ),
    "our conv 2": (lambda **k: nengo_wd.RegularizedConv2D(2, 2, padding="same"), (3, 3, 2)),
    "conv 3": (lambda **k: keras.Conv3D(2, 2, **k), (3, 3, 2, 1)),
    "our conv 3": (lambda **k: nengo_wd.RegularizedConv3D(2, 2, padding="same"), (2, 3, 2, 1)),
    "conv 1 transposed": (lambda **k: keras.Conv1DTranspose(2, 3, strides=2, **k), (3, 2)),
    "conv 2 transposed": (lambda **k: keras.Conv2DTranspose(1, 2, **k), (2, 2, 2)),
    "depthwise": (lambda **k: keras.DepthwiseConv2D(2, depth_multiplier=2, **k), (3, 3, 2)),
    "separable 1": (lambda **k: keras.SeparableConv1D(3, 2, **k), (4, 2)),
    "separable 2": (lambda **k: keras.SeparableConv2D(2, 2, **k), (3, 3, 2)),
    "locally connected": (lambda **k: keras.LocallyConnected1D(2, 2, **k), (4, 2)),
    "pooling 1": (lambda **k: keras.AveragePooling1D(2, **k), (5, 2)),
    "pooling 2": (lambda **k: keras.AveragePooling2D((2, 3), strides=(1, 2), **k), (4, 5, 2)),
    "pooling 2 same": (lambda **k: keras.AveragePooling2D(2, padding="same", **k), (3, 3, 2)),
    "pooling 3": (lambda **k: keras.AveragePooling3D(2, **k), (2, 3, 4, 1)),
    "zeros around 2": (lambda **k: keras.ZeroPadding2D(((1, 0), (0, 2)), **k), (2, 3, 2)),
    "pooling all": (lambda **k: keras.GlobalAveragePooling2D(**k), (2, 3, 2)),
    "flatten": (lambda **k: keras.Flatten(**k), (2, 3)),
    "flatten channels first": (
        lambda **k: keras.Flatten(data_format="channels_first", **k),
        (2, 3, 2),
    ),
    "reshape": (lambda **k: keras.Reshape((3, 2), **k), FLAT),
    "permute": (lambda **k: keras.Permute((2, 1), **k), (2, 3)),
    "repeat": (lambda **k: keras.RepeatVector(2, **k), (3,)),
    "upsampling": (lambda **k: keras.UpSampling2D((2, 1), **k), (2, 2, 1)),
    "bilinear": (lambda **k: keras.UpSampling2D(2, interpolation="bilinear", **k), (2, 2, 1)),
    "zeros around": (lambda **k: keras.ZeroPadding1D(1, **k), (3, 2)),
    "cropping": (lambda **k: keras.Cropping2D(((1, 0), (0, 1)), **k), (3, 3, 1)),
    "activation": (lambda **k: keras.Activation("linear", **k), FLAT),
    "dropout": (lambda **k: keras.Dropout(0.5, **k), FLAT),
    "noise": (lambda **k: keras.GaussianNoise(0.5, **k), FLAT),
    "batch normalization": (lambda **k: keras.BatchNormalization(**k), (3, 2)),
    "rescaling": (lambda **k: keras.Rescaling(2.0, offset=0.1, **k), FLAT),
    "sequential": (
        lambda **k: tf.keras.Sequential(
            [
                keras.Input((4, 4, 1), **k),
                keras.Conv2D(2, 2, **k),
                keras.Dropout(0.1, **k),
                keras.AveragePooling2D(2, 1, **k),
                keras.Flatten(**k),
                tf.keras.Sequential([keras.Input((8,), **k), keras.Dense(3, **k)]),
            ]
        ),
        (4, 4, 1),
    ),
    "functional": (lambda **k: functional(**k), (4, 2)),
}

IN_FLOAT32_ALONE = ("pooling 3", "bilinear")  # or TensorFlow does not compute them
ON_GPU_ALONE = ("conv 2 channels first",)


def functional(**k):
    inputs = tf.keras.Input((4, 2), **k)
    hidden = keras.Conv1D(2, 2, padding="same", **k)(inputs)
    return tf.keras.Model(inputs, keras.Permute((2, 1), **k)(hidden))


class BetweenNeurons:
    """A layer between neurons, of which spikes and currents are probed."""

    def __init__(self, kind, rng, dtype="float64", spiking=True):
        make, shape = LAYERS[kind]
        kind = nengo.SpikingRectifiedLinear if spiking else nengo.RectifiedLinear
        with nengo.Network(seed=0) as self.net:
            nengo_wd.configure_settings()
            nengo_dl.configure_settings(dtype=dtype)
            source = varied_input(rng, 3)
            a = neurons(int(np.prod(shape)), rng, kind)
            nengo.Connection(source, a.neurons, transform=rng.uniform(-1, 1, (a.n_neurons, 3)))
            layer = make(dtype=dtype)
            self.layer = nengo_dl.TensorNode(layer, shape_in=shape, pass_time=False)
            nengo.Connection(a.neurons, self.layer, synapse=rng.choice([None, 0.005]))
            b = neurons(self.layer.size_out, rng, kind)
            nengo.Connection(self.layer, b.neurons, synapse=None)
            self.spikes = [nengo.Probe(one.neurons) for one in (a, b)]
            self.currents = nengo.Probe(b.neurons, "input")


@pytest.mark.parametrize("kind", [k for k in LAYERS if k not in IN_FLOAT32_ALONE + ON_GPU_ALONE])
def test_spikes_are_the_same_in_nengo(kind, rng):
    model = BetweenNeurons(kind, rng)
    made, ((a, new_a), (b, new_b), (currents, new_currents)) = both(model.net, rng)
    np.testing.assert_array_equal(new_a, a)
    np.testing.assert_array_equal(new_b, b)
    np.testing.assert_allclose(new_currents, currents, rtol=1e-9, atol=1e-9)
    assert a.any() and b.any()
    assert not any(isinstance(one, nengo_dl.TensorNode) for one in made.network.all_nodes)


def in_float32():
    """Yield the layers, all of them with `--slow`."""
    for kind in LAYERS:
        if kind not in ON_GPU_ALONE:
            is_fast = kind in ("our conv 2", *IN_FLOAT32_ALONE)
            yield pytest.param(kind, marks=() if is_fast else pytest.mark.slow)


@pytest.mark.parametrize("kind", in_float32())
def test_outputs_are_the_same_in_float32(kind, rng):
    model = BetweenNeurons(kind, rng, dtype="float32", spiking=False)
    for before, after in both(model.net, rng)[1]:
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4 * np.abs(before).max())


# -- channels first, which TensorFlow computes on GPUs alone --------------------------------

FIRST = {
    "conv 1": (keras.Conv1D, dict(filters=3, kernel_size=2), (2, 5)),
    "conv 2": (keras.Conv2D, dict(filters=3, kernel_size=2, padding="same"), (2, 3, 4)),
    "conv 3": (keras.Conv3D, dict(filters=2, kernel_size=2), (2, 3, 2, 3)),
    "pooling 2": (keras.AveragePooling2D, dict(pool_size=2), (2, 4, 4)),
    "pooling same": (keras.AveragePooling2D, dict(pool_size=2, padding="same"), (2, 3, 3)),
}


@pytest.mark.parametrize("kind", FIRST)
def test_channels_first(kind, rng):
    """It is what the same layer with channels last does to the array with its axes moved."""
    make, arguments, shape = FIRST[kind]
    values = rng.uniform(-1, 1, (1, *shape))
    with nengo.Network() as net:
        layer = make(data_format="channels_first", **arguments)
        source = nengo.Node(values.ravel())
        node = nengo_dl.TensorNode(layer, shape_in=shape, pass_time=False)
        nengo.Connection(source, node, synapse=None)
        probe = nengo.Probe(node)
    with nengo_dl.Simulator(net, progress_bar=False) as sim:
        give_weights(net, rng)
        made = nengo_wd.native(sim)
    with nengo.Simulator(made.network, progress_bar=False) as sim:
        sim.run_steps(1)
    last = make(**arguments)
    last.build((1, *shape[1:], shape[0]))
    last.set_weights(layer.get_weights())
    expected = np.moveaxis(last(np.moveaxis(values, 1, -1)).numpy(), -1, 1)
    np.testing.assert_allclose(sim.data[made[probe]][0], expected.ravel(), rtol=1e-5, atol=1e-6)
