"""One value for each row of a variable."""

from __future__ import annotations

import numbers
from typing import Any, Iterable

import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd import seam


class RowValues:
    """A strength or a rate of all objects in a variable, as a value for each row of the variable.

    Numbers are kept in a TensorFlow variable, so that they can be changed without building
    anything anew. Schedules and the user's own variables are evaluated at every step.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator.
    variable : tf.Variable
        The variable, with the rows along its first axis.
    unset : float
        The value of rows for which nothing is set: NaN where `tensor` is to fill in a default.
    """

    def __init__(self, sim: nengo_dl.Simulator, variable: tf.Variable, unset: float = 0.0) -> None:
        self.sim, self.variable, self.unset = sim, variable, unset
        self.dtype = variable.dtype.base_dtype
        values = np.full(int(variable.shape[0]), unset, self.dtype.as_numpy_dtype)
        self.numbers = seam.values.state_variable(sim, values)
        self.symbolic: list[tuple[Any, np.ndarray]] = []

    def take(self, values: Iterable[tuple[np.ndarray, Any]]) -> None:
        """Take on values, each with the rows that it is for."""
        known, symbolic = np.full(self.numbers.shape.as_list(), self.unset), []
        for rows, value in values:
            if isinstance(value, numbers.Real):
                known[rows] = value
            else:
                known[rows] = 0
                symbolic.append((value, _mask(rows, len(known))))
        seam.values.assign(self.sim, self.numbers, known)
        self.symbolic = symbolic

    def tensor(self, step: tf.Tensor | None = None, default: Any = None) -> tf.Tensor:
        """Return the values at a training step, of shape (n_rows,).

        Rows with the value NaN have the value ``default``, where that is given.
        """
        values = tf.convert_to_tensor(self.numbers)
        if default is not None:
            values = _where(tf.math.is_nan(values), tf.cast(default, self.dtype), values)
        for value, mask in self.symbolic:
            now = tf.cast(value(step) if callable(value) else value, self.dtype)
            values = _where(mask, now, values)
        return values

    def over_rows(self, values: tf.Tensor) -> tf.Tensor:
        """Return values by row in a shape that fits the variable's."""
        return tf.reshape(values, [-1] + [1] * (self.variable.shape.rank - 1))


def _mask(rows: np.ndarray, n_rows: int) -> np.ndarray:
    mask = np.zeros(n_rows, bool)
    mask[rows] = True
    return mask


_where = tf.compat.v2.where  # which broadcasts, also in TensorFlow 1.15
