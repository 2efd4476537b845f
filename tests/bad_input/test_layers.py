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
    "unknown kernel_regularizer": ({"kernel_regularizer": "l3"}, "'l3' is no regularizer"),
    "class of a regularizer": (
        {"kernel_regularizer": tf.keras.regularizers.L1L2},
        "<class.*is no regularizer",
    ),
    "unknown bias_regularizer": ({"bias_regularizer": 0.5}, "0.5 is no regularizer"),
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
        "layer 'edges': 'l3' is no regularizer",
    ),
]


class Depthwise(nengo_wd.TimeLoopLayer, tf.keras.layers.DepthwiseConv2D):
    pass


@table(ROWS)
def test_layers(row, shared):
    check(row, shared)
