"""What is known of TensorNodes: the patterns of their layers."""

from __future__ import annotations

from typing import Any, NamedTuple

import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd.energy import patterns
from nengo_wd.layers import TimeLoopLayer, shapes

keras = tf.keras.layers
POOLING = (keras.AveragePooling1D, keras.AveragePooling2D, keras.AveragePooling3D)
LINEAR = (None, tf.keras.activations.linear)


class Known(NamedTuple):
    """A layer that synapses can be counted of."""

    pattern: patterns.Pattern
    has_weights: bool  # and does not just hand values on
    activation: Any  # None for one that is linear


def of_node(sim: nengo_dl.Simulator, node: nengo_dl.TensorNode, skip_zeros: bool) -> Known | None:
    """Return what is known of a TensorNode's layer, or None."""
    layer = parameters.layers(node, sim)[0]
    kind = _kind(layer)
    if kind is None or not node.size_in:
        return None
    shape = (None, *node.shape_in)
    if isinstance(layer, TimeLoopLayer):
        shape = shapes.applied_shape(layer, shape)
    pattern = kind(sim, layer, shape[1:], skip_zeros)
    if pattern is None:
        return None
    activation = getattr(layer, "activation", None)
    return Known(pattern, kind is not _handing_on, None if activation in LINEAR else activation)


def _kind(layer: Any) -> Any:
    """Return the function that makes the pattern of a layer, by the Keras code that it runs."""
    classes = [c for c in type(layer).__mro__ if c is not TimeLoopLayer]
    runs = next((c for c in classes if "call" in vars(c) and c is not object), None)
    if isinstance(layer, POOLING):
        return _pooling if runs in [c for pool in POOLING for c in pool.__mro__] else None
    for cls, kind in KINDS.items():
        if runs in cls.__mro__ and isinstance(layer, cls):
            return kind
    return None


def _dense(sim: Any, layer: Any, shape: tuple, skip_zeros: bool) -> patterns.Pattern:
    kernel = _mask(sim, layer, skip_zeros)
    return patterns.on_last_axis(patterns.of_matrix(kernel.T, True), int(np.prod(shape[:-1])))


def _convolution(sim: Any, layer: Any, shape: tuple, skip_zeros: bool) -> patterns.Pattern:
    kernel = _mask(sim, layer, skip_zeros)
    dilations, groups = layer.dilation_rate, getattr(layer, "groups", 1)
    return _filtered(layer, shape, kernel, layer.strides, dilations, groups)


def _pooling(sim: Any, layer: Any, shape: tuple, skip_zeros: bool) -> patterns.Pattern:
    last = layer.data_format == "channels_last"
    channels = shape[-1] if last else shape[0]
    window = tuple(np.atleast_1d(layer.pool_size))
    kernel = np.ones((*window, 1, channels), bool)
    strides = np.atleast_1d(layer.strides)
    return _filtered(layer, shape, kernel, strides, (1,) * len(window), channels)


def _filtered(
    layer: Any, shape: tuple, kernel: np.ndarray, strides: Any, dilations: Any, groups: int
) -> patterns.Pattern:
    last = layer.data_format == "channels_last"
    sizes = shape[:-1] if last else shape[1:]
    return patterns.of_convolution(
        patterns.Filters(sizes, kernel, strides, dilations, layer.padding, last, groups)
    )


def _handing_on(sim: Any, layer: Any, shape: tuple, skip_zeros: bool) -> patterns.Pattern | None:
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return None  # elements change places
    return patterns.identity(int(np.prod(shape)))


def _mask(sim: Any, layer: Any, skip_zeros: bool) -> np.ndarray:
    """Return which weights of a layer's kernel are synapses."""
    if not skip_zeros:
        return np.ones(layer.kernel.shape.as_list(), bool)
    return seam.values.fetch(sim, [layer.kernel])[0] != 0


KINDS = {
    keras.Dense: _dense,
    keras.Conv1D: _convolution,
    keras.Conv2D: _convolution,
    keras.Conv3D: _convolution,
    keras.Flatten: _handing_on,
    keras.Reshape: _handing_on,
    keras.Dropout: _handing_on,
}
