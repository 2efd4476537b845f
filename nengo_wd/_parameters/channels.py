"""Which output channel each weight belongs to."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from nengo.transforms import SparseMatrix

from nengo_wd import _names as names

TRANSPOSED = tuple(  # whose kernels have the output channels before the input channels
    getattr(tf.keras.layers, name)
    for name in ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
    if hasattr(tf.keras.layers, name)
)


class Channels(NamedTuple):
    """The output channels of a parameter: the groups of its rows, times its channel axes.

    Decoders have a channel in each row; the kernel of a convolution has all of its channels in
    every row, along its last axis.
    """

    rows: np.ndarray  # the group of each row, along the first axis
    n_groups: int
    axes: tuple[int, ...] = ()  # the others along which channels lie


def of_signal(signal: Any, n_rows: int) -> Channels:
    """Return the channels of a native parameter of ``n_rows``: outputs, neurons or filters."""
    if signal.sparse:
        return Channels(_sparse_rows(signal.initial_value), signal.shape[0])
    if len(signal.shape) > 2:  # the kernel of a convolution
        return _along(n_rows, len(signal.shape) - 1)
    return _in_rows(n_rows)


def of_layer(layer: Any, variable: tf.Variable) -> Channels:
    """Return the channels of a variable of a layer: units, or filters."""
    n_rows, last = int(variable.shape[0]), variable.shape.rank - 1
    if last == 0:
        return _in_rows(n_rows)
    if names.of_variable(variable) == "depthwise_kernel":  # a filter for each input channel
        return _along(n_rows, last - 1, last)
    if isinstance(layer, TRANSPOSED):
        return _along(n_rows, last - 1)
    return _along(n_rows, last)


def _in_rows(n_rows: int) -> Channels:
    return Channels(np.arange(n_rows), n_rows)


def _along(n_rows: int, *axes: int) -> Channels:
    return Channels(np.zeros(n_rows, int), 1, axes)


def _sparse_rows(value: Any) -> np.ndarray:
    """Return the row of each value of a sparse matrix, in the order of its data."""
    return value.indices[:, 0] if isinstance(value, SparseMatrix) else value.tocoo().row
