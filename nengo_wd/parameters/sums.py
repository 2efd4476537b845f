"""Sums over the elements of variables, by row and by output channel."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from nengo_wd.parameters.parameter import Parameter


def norms_of_rows(values: tf.Tensor) -> tf.Tensor:
    """Return the L2 norm of each row along the first axis, in one pass and with no copy."""
    axes = list(range(1, len(values.shape)))
    return tf.math.reduce_euclidean_norm(values, axis=axes) if axes else tf.abs(values)


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
