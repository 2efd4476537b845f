"""Values for the rows of a variable: one for each, or one for each element."""

from __future__ import annotations

from typing import Any, Iterable

import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd import _clock as clock
from nengo_wd import _seam as seam


class LiveArray:
    """An array that can be changed in what was built with it.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator.
    values : np.ndarray
        The values at first.
    live : bool
        Whether the values can change. With False they are constants, which costs less.
    """

    def __init__(self, sim: nengo_dl.Simulator, values: np.ndarray, live: bool = True) -> None:
        self.sim, self.values = sim, values
        self.variable = seam.values.state_variable(sim, values) if live else None

    def assign(self, values: np.ndarray) -> None:
        """Take on other values of the same shape."""
        if values.tobytes() != self.values.tobytes():
            self.values = values
            seam.values.assign(self.sim, self.variable, values)

    def tensor(self) -> tf.Tensor:
        """Return the values as they are when the tensor is evaluated."""
        return tf.convert_to_tensor(self.values if self.variable is None else self.variable)


class RowValues:
    """A strength or a rate of all objects in a variable, as a value for each row of the variable.

    Numbers are kept in a TensorFlow variable, so that they can be changed without building
    anything anew. Schedules and the user's own variables, by which they are multiplied, are
    evaluated at every step.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator.
    variable : tf.Variable
        The variable, with the rows along its first axis.
    values : iterable of (np.ndarray of int, value)
        The values, each with the rows that it is for.
    unset : float
        The value of rows for which nothing is set: NaN where `tensor` is to fill in a default.
    live : bool
        Whether the values can be changed.
    """

    def __init__(
        self,
        sim: nengo_dl.Simulator,
        variable: tf.Variable,
        values: Iterable[tuple[np.ndarray, Any]],
        unset: float = 0.0,
        live: bool = True,
    ) -> None:
        self.variable, self.unset = variable, unset
        self.dtype = variable.dtype.base_dtype
        numbers, self.symbolic = self._split(values)
        self.numbers = LiveArray(sim, numbers, live)

    def take(self, values: Iterable[tuple[np.ndarray, Any]]) -> None:
        """Take on other values."""
        numbers, self.symbolic = self._split(values)
        self.numbers.assign(numbers)

    def _split(
        self, values: Iterable[tuple[np.ndarray, Any]]
    ) -> tuple[np.ndarray, list[tuple[tuple, np.ndarray]]]:
        """Return numbers by row, and the factors that move, each with a mask of its rows."""
        n_rows = int(self.variable.shape[0])
        numbers = np.full(n_rows, self.unset, self.dtype.as_numpy_dtype)
        masks: dict[tuple, tuple[tuple, np.ndarray]] = {}
        for rows, value in values:
            numbers[rows], factors = clock.split(value)
            if factors:
                # one for all objects of a class
                _, mask = masks.setdefault(clock.ids(value), (factors, np.zeros(n_rows, bool)))
                mask[rows] = True
        return numbers, list(masks.values())

    @property
    def has_schedules(self) -> bool:
        """Whether a value is asked for at each training step."""
        return any(callable(factor) for factors, _ in self.symbolic for factor in factors)

    def tensor(self, step: tf.Tensor | None = None, default: Any = None) -> tf.Tensor:
        """Return the values at a training step, of shape (n_rows,).

        Rows with the value NaN have the value ``default``, where that is given.
        """
        values = self.numbers.tensor()
        if default is not None:
            values = _where(tf.math.is_nan(values), tf.cast(default, self.dtype), values)
        for factors, mask in self.symbolic:
            for factor in factors:
                now = tf.cast(clock.value_at(factor, step), self.dtype)
                values *= _where(mask, now, tf.ones((), self.dtype))
        return values

    def over_rows(self, values: tf.Tensor) -> tf.Tensor:
        """Return values by row in a shape that fits the variable's."""
        return tf.reshape(values, [-1] + [1] * (self.variable.shape.rank - 1))


_where = tf.compat.v2.where  # which broadcasts, also in TensorFlow 1.15
