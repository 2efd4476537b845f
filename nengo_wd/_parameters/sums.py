"""Sums over the elements of variables, by row and by output channel."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from nengo_wd._parameters.parameter import Parameter

LEAST_NORM = 1e-12  # below it, float32 loses some of the squares


def norms_of_groups(values: tf.Tensor, groups: np.ndarray, n_groups: int) -> tf.Tensor:
    """Return the L2 norm of each group of rows, in float64; rows of the group after them are left.

    That is one pass with no copy. Where the squares are too large or too small for the precision of
    the values, there is a second pass.
    """
    norms = _norms_of_groups(values, groups, n_groups)
    if values.dtype == tf.float64:
        return norms
    return tf.cond(
        tf.reduce_any(~tf.math.is_finite(norms) | (norms < LEAST_NORM)),
        lambda: _norms_of_groups(tf.cast(values, tf.float64), groups, n_groups),
        lambda: norms,
    )


def _norms_of_groups(values: tf.Tensor, groups: np.ndarray, n_groups: int) -> tf.Tensor:
    axes = list(range(1, len(values.shape)))
    by_row = tf.math.reduce_euclidean_norm(values, axis=axes) if axes else tf.abs(values)
    squares = tf.square(tf.cast(by_row, tf.float64))
    return tf.sqrt(tf.math.unsorted_segment_sum(squares, groups, n_groups + 1)[:n_groups])


def sum_rows(values: tf.Tensor, keep: tuple[int, ...] = ()) -> tf.Tensor:
    """Return the sum over all axes of ``values`` but the first and those in ``keep``."""
    axes = [axis for axis in range(1, len(values.shape)) if axis not in keep]
    return tf.reduce_sum(values, axis=axes)


def sum_channels(values: tf.Tensor, parameters: list[Parameter]) -> tf.Tensor:
    """Return the sum of ``values`` over each output channel of parameters in one variable.

    The values are those of the variable's elements, in its shape. The channels follow one
    another, parameter after parameter.
    """
    by_row = sum_rows(values, parameters[0].channels.axes)
    groups, n_groups = np.full(int(values.shape[0]), -1), 0  # rows of nobody are left out
    for parameter in parameters:
        groups[parameter.rows] = n_groups + parameter.channels.rows
        n_groups += parameter.channels.n_groups
    return tf.reshape(tf.math.unsorted_segment_sum(by_row, groups, n_groups), (-1,))
