"""Layers that can't be made, and those that do not fit where they are put."""

import nengo
import numpy as np
import tensorflow as tf
from bad_inputs import Row, built, check, table
from generations import simulator, tensor_node
from networks import dense

import nengo_wd

LAYERS = {
    "RegularizedDense": lambda **kwargs: nengo_wd.RegularizedDense(3, name="mine", **kwargs),
    "RegularizedConv1D": lambda **kwargs: nengo_wd.RegularizedConv1D(3, 1, name="mine", **kwargs),
    "RegularizedConv2D": lambda **kwargs: nengo_wd.RegularizedConv2D(3, 1, name="mine", **kwargs),
    "RegularizedConv3D": lambda **kwargs: nengo_wd.RegularizedConv3D(3, 1, name="mine", **kwargs),
}
NO_ARGUMENTS = {
    "unknown kernel_regularizer": ({"kernel_regularizer": "l3"}, "'l3' is not a regularizer"),
    "class of a regularizer": (
        {"kernel_regularizer": tf.keras.regularizers.L1L2},
        r"L1L2 is a class, not a regularizer; give an instance, L1L2\(...\)",
    ),
    "class of an activation": (
        {"activation": tf.keras.layers.ReLU},
        r"activation=ReLU is a class; give an instance, ReLU\(...\), a function",
    ),
    "class of neurons": ({"activation": nengo.LIF}, "activation=LIF is a class"),
    "class of a constraint": (
        {"bias_constraint": tf.keras.constraints.NonNeg},
        "bias_constraint=NonNeg is a class; give an instance",
    ),
    "unknown bias_regularizer": ({"bias_regularizer": 0.5}, "0.5 is not a regularizer"),
    "negative strength": (
        {"kernel_regularizer": tf.keras.regularizers.l2(-1.0)},
        "l2=-1.0 must be a finite number",
    ),
    "activity_regularizer": (
        {"activity_regularizer": "l2"},
        "put a probe on the TensorNode and the penalty on the probe",
    ),
}
ROWS = [
    Row(f"{name}, {kind}", lambda s, make=make, a=a: make(**a), f"layer 'mine'.*{pattern}")
    for name, make in LAYERS.items()
    for kind, (a, pattern) in NO_ARGUMENTS.items()
]


NO_COUNTS = (None, 0, -2, 2.5, "3", True, np.nan, np.inf, (3,), [3], np.ones(2), "x", int)
NO_SIZES = (None, 0, -1, 1.5, "1", True, (), (0,), (1.5,), ("1",), np.nan)
CONVOLUTIONS = {name: make for name, make in LAYERS.items() if "Conv" in name}
OF_KERAS = {name: getattr(nengo_wd, name) for name in LAYERS}
ROWS += [
    Row(
        f"{name}, {attr}={value!r}",
        lambda s, cls=cls, a=(value, *more): cls(*a, name="mine"),
        f"layer 'mine': {attr}=.* must be a whole number, 1 or more",
    )
    for name, cls in OF_KERAS.items()
    for attr, more in [("units", ()) if name == "RegularizedDense" else ("filters", (1,))]
    for value in NO_COUNTS
]
ROWS += [
    Row(
        f"{name}, {attr}={value!r}",
        lambda s, cls=OF_KERAS[name], a={"kernel_size": 1, attr: value}: cls(2, name="mine", **a),
        f"layer 'mine': {attr}=.* must be a whole number, 1 or more, or a tuple of them",
    )
    for name in CONVOLUTIONS
    for attr in ("kernel_size", "strides", "dilation_rate")
    for value in NO_SIZES
    if (attr, value) != ("strides", None)  # which is that of pooling
]


def of_bases(*bases):
    """Return a call that makes a layer of a class with nothing of its own."""
    return lambda s: type("Mine", (nengo_wd.TimeLoopLayer, *bases), {})(name="mine")


class OfTwoInputs(nengo_wd.TimeLoopLayer, tf.keras.layers.Layer):
    def call(self, one, other):
        return one + other


SEVERAL = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
ROWS += [
    Row(
        "mixin alone",
        lambda s: nengo_wd.TimeLoopLayer(),
        r"TimeLoopLayer has no Keras layer .*class Mine\(TimeLoopLayer, tf.keras.layers.Dense\)",
    ),
    Row("class of the mixin alone", of_bases(), "Mine has no Keras layer among its base classes"),
    Row("mixin and a dictionary", of_bases(dict), "Mine has no Keras layer among its base classes"),
    Row(
        "two inputs", lambda s: OfTwoInputs(), "OfTwoInputs is a layer of several inputs, and a Te"
    ),
    Row(
        "product of two inputs",
        lambda s: type("Mine", (nengo_wd.TimeLoopLayer, tf.keras.layers.Dot), {})(1),
        "Mine is a layer of several inputs",
    ),
    *(
        Row(
            f"layer of several inputs, {name}",
            of_bases(getattr(tf.keras.layers, name)),
            "Mine is a layer of several inputs, and a TensorNode has one",
        )
        for name in (*SEVERAL, "Attention")
    ),
]


class MakesVariableTooEarly(nengo_wd.TimeLoopLayer, tf.keras.layers.Layer):
    def __init__(self):
        self.add_weight("early", ())
        super().__init__()


def in_the_wrong_order(shared):
    class Wrong(tf.keras.layers.Dense, nengo_wd.TimeLoopLayer):
        pass


def conv(**kwargs):
    return nengo_wd.RegularizedConv1D(3, 2, name="edges", **kwargs)


def with_changed_regularizer():
    layer = dense()
    layer.kernel_regularizer = tf.keras.regularizers.l2(0.1)
    layer.kernel_regularizer.l2 = -1.0
    return layer


def for_two_shapes():
    layer = dense()
    layer.pre_build((1, 2))
    layer.pre_build((1, 4), (1, 3))
    return layer


ROWS += [
    Row(
        "mixin after the layer",
        in_the_wrong_order,
        "Wrong must have TimeLoopLayer as the first of its base classes",
    ),
    Row(
        "variable in __init__",
        lambda s: MakesVariableTooEarly(),
        "MakesVariableTooEarly makes a variable in __init__",
    ),
    Row("no input", lambda s: built(dense, ()), "layer 'readout' has no input"),
    Row(
        "another number of elements",
        lambda s: built(lambda: conv(input_shape=(4, 2)), (1, 7)),
        r"layer 'edges' has input_shape=\(4, 2\), of 8 elements, but its input has 7",
    ),
    Row(
        "another output",
        lambda s: built(dense, (1, 4), (1, 5)),
        r"layer 'readout' has outputs of shape \(3,\), which do not fit the 5",
    ),
    Row(
        "strength that was changed",
        lambda s: built(with_changed_regularizer),
        "layer 'readout': the strength l2=-1.0",
    ),
    Row(
        "shared by inputs of two shapes",
        lambda s: built(for_two_shapes),
        "layer 'readout' was built for inputs with 2 elements along axis -1",
    ),
]


TOO_LARGE = {  # for an input of 2 along each dimension
    "kernel": ({"kernel_size": 3}, "kernel_size=.3"),
    "dilated kernel": ({"kernel_size": 2, "dilation_rate": 2}, "dilation_rate=.2"),
    "kernel with strides": ({"kernel_size": 3, "strides": 2}, "kernel_size=.3"),
}


def convolution(n_dimensions, **kwargs):
    cls = getattr(nengo_wd, f"RegularizedConv{n_dimensions}D")
    return cls(4, input_shape=(*[2] * n_dimensions, 1), name="edges", **kwargs)


def in_network(make, size_in):
    """Have NengoDL ask a layer for its output."""
    with nengo.Network():
        nengo_wd.nengo_dl.tensor_layer(nengo.Node(np.zeros(size_in)), make())


class Pooling(nengo_wd.TimeLoopLayer, tf.keras.layers.MaxPooling1D):
    pass


ROWS += [
    Row(
        f"{kind} larger than the input, {n}D, {way}",
        lambda s, n=n, kwargs=kwargs, use=use: use(lambda: convolution(n, **kwargs), 2**n),
        rf"layer 'edges' has no output for inputs of shape \(2, .*1\).* too small .*{pattern}",
    )
    for n in (1, 2, 3)
    for kind, (kwargs, pattern) in TOO_LARGE.items()
    for way, use in (
        ("in a network", in_network),
        ("built", lambda make, size: built(make, (1, size))),
    )
]
ROWS += [
    Row(
        "pool larger than the input",
        lambda s: in_network(lambda: Pooling(9, input_shape=(4, 2), name="pool"), 8),
        r"layer 'pool' has no output for inputs of shape \(4, 2\).* too small for its pool_size=",
    ),
]

# -- in a simulator ---------------------------------------------------------------------------


def simulated(make, size_in=2, size_out=3):
    with nengo.Network():
        source = nengo.Node(np.zeros(size_in))
        node = tensor_node(make(), size_in, size_out)
        nengo.Connection(source, node)
        net = nengo.Network.context[-1]
    with simulator(net):
        pass


def called_by_a_function():
    layer = dense()
    return lambda t, x: layer(t, x)


ROWS += [
    Row(
        f"layer of {dtype}",
        lambda s, dtype=dtype: simulated(lambda: dense(dtype=dtype)),
        f"layer 'readout' computes in {computed}, but its simulator in float32",
        generation=generation,
    )
    for dtype, computed, generation in (
        ("float64", "float64", None),
        ("float16", "float16", None),
        ("mixed_float16", "float16", 3),
    )
]
ROWS += [
    Row(
        "called by a function",
        lambda s: simulated(called_by_a_function),
        "'readout' is called by the function of a TensorNode",
        Exception,
        generation=3,
    ),
    Row(
        "inferred output of a layer with a bad penalty",
        lambda s: simulated(lambda: dense(kernel_regularizer=lambda w: "much"), size_out=None),
        r"the penalty readout\.kernel is 'much'",
    ),
    Row(
        "activity_regularizer in a mixin",
        lambda s: Depthwise(3, activity_regularizer="l1", name="edges"),
        "layer 'edges': its output exists only inside the time loop",
    ),
    Row(
        "unknown regularizer in a mixin",
        lambda s: Depthwise(3, depthwise_regularizer="l3", name="edges"),
        "layer 'edges': 'l3' is not a regularizer",
    ),
]


class Depthwise(nengo_wd.TimeLoopLayer, tf.keras.layers.DepthwiseConv2D):
    pass


@table(ROWS)
def test_layers(row, shared):
    check(row, shared)
