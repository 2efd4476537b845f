"""Which inputs of a linear step reach which of its outputs: sparse matrices of bools.

A pattern has a row for each output, and a column for each input. Where kernels are numbers, the
matrices have the weights.
"""

from __future__ import annotations

import functools
import operator
from typing import Any, Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from scipy import sparse
from scipy.sparse import csr_matrix as Pattern  # noqa: N812 - a class

from nengo_wd.layers import TimeLoopLayer, refusals

keras = tf.keras.layers
Mask = Callable[[tf.Variable], np.ndarray]  # tells which weights of a kernel are synapses


def identity(size: int) -> Pattern:
    """Return the pattern of outputs that equal the inputs."""
    return sparse.identity(size, bool, "csr")


def pattern_at(indices: np.ndarray, shape: Sequence, weights: Any = True) -> Pattern:
    """Return the pattern that has synapses at (row, column), of shape (synapses, 2)."""
    rows, columns = np.reshape(indices, (-1, 2)).T
    return Pattern((np.broadcast_to(weights, len(rows)), (rows, columns)), shape=tuple(shape))


def slice_pattern(size: int, places: Any) -> Pattern:
    """Return the pattern of a slice of an array of a size."""
    return identity(size)[np.atleast_1d(np.arange(size)[places])]


def composed(after: Pattern, before: Pattern) -> Pattern:
    """Return the pattern of one linear step after another."""
    n_outputs = after.shape[0]
    has_weights = not after.dtype == before.dtype == bool
    if has_weights or after.nnz != n_outputs * after.shape[1]:
        return after @ before
    columns = np.unique(before.indices)  # each input reaches every output
    ends = len(columns) * np.arange(n_outputs + 1)
    everywhere = np.ones(ends[-1], bool), np.tile(columns, n_outputs), ends
    return Pattern(everywhere, shape=(n_outputs, before.shape[1]))


def merged(patterns: Sequence[Pattern]) -> Pattern:
    """Return the pattern of a sum, of several steps on the same inputs."""
    return functools.reduce(operator.add, patterns)


def convolution_pattern(
    sizes: Sequence,
    kernel: np.ndarray,
    strides: Sequence,
    dilations: Sequence,
    padding: str,
    channels_last: bool = True,
    groups: int = 1,
) -> Pattern:
    """Return the pattern of a convolution on flat inputs, in the order of their elements.

    It is the sum over the places in the window: for each of them, one element of the input
    contributes to each element of the output, except beyond the borders. ``kernel`` tells which
    weights are synapses, or has them: (*sizes of the window, input channels of a group, output
    channels).
    """
    window, axes = kernel.shape[:-2], [*zip(sizes, kernel.shape, strides, dilations)]
    in_space = [
        _kron(*(_along_axis(*axis, i, padding) for axis, i in zip(axes, place)))
        for place in np.ndindex(*window)
    ]
    if kernel.dtype == bool and kernel.all():  # a single product, of all places
        in_space, window = [merged(in_space)], (1,) * len(window)
    parts = []
    for space, place in zip(in_space, np.ndindex(*window)):
        channels = sparse.block_diag([*map(Pattern, np.split(kernel[place].T, groups))])
        parts.append(_kron(space, channels) if channels_last else _kron(channels, space))
    return merged(parts)


def _kron(*patterns: Pattern) -> Pattern:
    """Return the pattern of an array of several axes, from those of its axes."""
    return functools.reduce(lambda one, other: sparse.kron(one, other, "csr"), patterns)


def _along_axis(
    size: int, width: int, stride: int, dilation: int, place: int, padding: str
) -> Pattern:
    """Return which element of an axis is at one place of the window, for each output.

    "same" pads as TensorFlow does, with the odd element at the end.
    """
    reach = (width - 1) * dilation + 1
    n_outputs = -(-(size - reach + 1 if padding == "valid" else size) // stride)
    padded = {
        "valid": 0,
        "same": max((n_outputs - 1) * stride + reach - size, 0) // 2,
        "causal": reach - 1,
    }[padding]
    outputs = np.arange(n_outputs)
    inputs = outputs * stride - padded + place * dilation
    inside = (inputs >= 0) & (inputs < size)
    return pattern_at(np.stack([outputs, inputs], 1)[inside], (n_outputs, size))


def layer_pattern(layer: Any, shape: Sequence, mask: Mask) -> tuple[Pattern, bool] | None:
    """Return the pattern of a layer for inputs of a shape, and whether it has weights.

    None, if what the layer computes is not known.
    """
    make = known_by_class(layer, MAKERS)
    if make is None:
        return None
    if isinstance(layer, TimeLoopLayer):
        shape = refusals.applied_shape(layer, (None, *shape))[1:]
    pattern = make(layer, shape, mask)
    return None if pattern is None else (pattern, make is not _identity)


def known_by_class(layer: Any, makers: Mapping[type, Callable]) -> Callable | None:
    """Return what a table has for the class of a layer, or None, where others wrote its code."""
    classes = [cls for cls in type(layer).__mro__ if cls is not TimeLoopLayer]
    runs = next((cls for cls in classes if "call" in vars(cls)), None)  # the Keras code
    found = (make for cls, make in makers.items() if isinstance(layer, cls) and runs in cls.mro())
    return next(found, None)


def _dense(layer: Any, shape: Sequence, mask: Mask) -> Pattern:
    """Return the pattern of a matrix on the last axis."""
    before = identity(int(np.prod(shape[:-1])))
    return _kron(before, Pattern(mask(layer.kernel).T))


def _convolution(layer: Any, shape: Sequence, mask: Mask) -> Pattern:
    last, kernel = layer.data_format == "channels_last", mask(layer.kernel)
    sizes, groups = shape[:-1] if last else shape[1:], getattr(layer, "groups", 1)
    strides, dilations = layer.strides, layer.dilation_rate
    return convolution_pattern(sizes, kernel, strides, dilations, layer.padding, last, groups)


def _pooling(layer: Any, shape: Sequence, mask: Mask) -> Pattern:
    """Return the pattern of a convolution of each channel by itself."""
    last = layer.data_format == "channels_last"
    sizes, channels = (shape[:-1], shape[-1]) if last else (shape[1:], shape[0])
    window, strides = (tuple(np.atleast_1d(one)) for one in (layer.pool_size, layer.strides))
    kernel, dilations = np.ones((*window, 1, channels), bool), (1,) * len(window)
    return convolution_pattern(sizes, kernel, strides, dilations, layer.padding, last, channels)


def _identity(layer: Any, shape: Sequence, mask: Mask) -> Pattern | None:
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return None  # elements change places
    return identity(int(np.prod(shape)))


POOLING = (keras.AveragePooling1D, keras.AveragePooling2D, keras.AveragePooling3D)
MAKERS = {  # functions that make the pattern of a layer, by its class
    keras.Dense: _dense,
    **dict.fromkeys((keras.Conv1D, keras.Conv2D, keras.Conv3D), _convolution),
    **dict.fromkeys(POOLING, _pooling),
    **dict.fromkeys((keras.Flatten, keras.Reshape, keras.Dropout), _identity),
}
