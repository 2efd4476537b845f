"""What networks of native objects are made of, and what they are compared with."""

import nengo
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl

keras = tf.keras.layers
STEPS = 16
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

IN_FLOAT32_ALONE = ("pooling 3", "bilinear")  # which TensorFlow computes in float32 alone


def functional(**k):
    inputs = tf.keras.Input((4, 2), **k)
    hidden = keras.Conv1D(2, 2, padding="same", **k)(inputs)
    return tf.keras.Model(inputs, keras.Permute((2, 1), **k)(hidden))


def neurons(size, rng, kind=nengo.SpikingRectifiedLinear):
    """Return an ensemble whose neurons fire, each with another current."""
    return nengo.Ensemble(
        size,
        1,
        neuron_type=kind(amplitude=0.01),
        gain=rng.uniform(50, 150, size),
        bias=rng.uniform(20, 200, size),
    )


def varied_input(rng, size):
    """Return a Node whose values change every few steps."""
    return nengo.Node(nengo.processes.PresentInput(rng.uniform(-1, 1, (4, size)), 0.005))


def give_weights(net, rng):
    """Give layers weights at random, with biases and variances above zero."""
    for node in net.all_nodes:
        for weights in getattr(getattr(node, "tensor_func", None), "weights", ()):
            drawn = rng.uniform(0.2, 1, weights.shape)
            signs = rng.choice([-1, 1], weights.shape) if len(weights.shape) > 1 else 1
            weights.assign(drawn * signs)


def both(net, rng, steps=STEPS, **kwargs):
    """Return what probes of a network record in NengoDL, and the native network's in Nengo."""
    with nengo_dl.Simulator(net, progress_bar=False, seed=0) as sim:
        give_weights(net, rng)
        made = nengo_wd.native(sim, **kwargs)
        before = sim.predict(n_steps=steps, verbose=0)
    with nengo.Simulator(made.network, progress_bar=False, optimize=False) as sim:
        sim.run_steps(steps)
    return made, [(before[probe][0], sim.data[made[probe]]) for probe in net.all_probes]
