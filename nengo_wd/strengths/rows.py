"""Values for the rows of a variable: one for each, or one for each element."""

from __future__ import annotations

from typing import Any, Iterable

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import seam
from nengo_wd.checks import check_scalar, is_number


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
    anything anew. Schedules and the user's own variables are evaluated at every step.

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
    ) -> tuple[np.ndarray, list[tuple[Any, np.ndarray]]]:
        """Return numbers by row, and what is evaluated at every step with a mask of its rows."""
        n_rows = int(self.variable.shape[0])
        numbers, symbolic = np.full(n_rows, self.unset, self.dtype.as_numpy_dtype), []
        for rows, value in values:
            if is_number(value):
                numbers[rows] = value
            else:
                numbers[rows] = 0
                symbolic.append((value, np.isin(np.arange(n_rows), rows)))
        return numbers, symbolic

    def tensor(self, step: tf.Tensor | None = None, default: Any = None) -> tf.Tensor:
        """Return the values at a training step, of shape (n_rows,).

        Rows with the value NaN have the value ``default``, where that is given.
        """
        values = self.numbers.tensor()
        if default is not None:
            values = _where(tf.math.is_nan(values), tf.cast(default, self.dtype), values)
        for value, mask in self.symbolic:
            values = _where(mask, tf.cast(_now(value, step), self.dtype), values)
        return values

    def over_rows(self, values: tf.Tensor) -> tf.Tensor:
        """Return values by row in a shape that fits the variable's."""
        return tf.reshape(values, [-1] + [1] * (self.variable.shape.rank - 1))


def _now(value: Any, step: tf.Tensor | None) -> Any:
    """Return a schedule or variable as it is at a training step: a single number."""
    if not callable(value):
        return value
    name = type(value).__name__
    try:
        now = tf.convert_to_tensor(value(step))
    except (TypeError, ValueError) as error:
        raise ValidationError(
            f"the schedule {name} has no value at a training step: {error}", attr="schedule"
        ) from error
    check_scalar(now, "value of a schedule", f"the schedule {name}")
    return now


_where = tf.compat.v2.where  # which broadcasts, also in TensorFlow 1.15
