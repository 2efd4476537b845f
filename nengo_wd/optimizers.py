"""Weight decay as a step of the optimizer, and learning rates and momenta by object."""

from __future__ import annotations

import weakref
from typing import Any, Callable

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import parameters, seam
from nengo_wd.objectives import check_simulator
from nengo_wd.parameters import Parameter


class RowValues:
    """A setting of the objects in one variable, as a value for each of the variable's rows.

    Numbers are kept in a TensorFlow variable, so that they can be changed without building
    anything anew; schedules and the user's own variables are added where they apply.
    """

    def __init__(self, sim: nengo_dl.Simulator, variable: tf.Variable) -> None:
        self.sim, self.variable = sim, variable
        n_rows = int(variable.shape[0])
        self.dtype = variable.dtype.base_dtype
        self.numbers = np.zeros(n_rows, self.dtype.as_numpy_dtype)
        self.is_set = np.zeros(n_rows, bool)
        self.symbolic: list[tuple[Any, np.ndarray]] = []
        self._numbers: tf.Variable | None = None

    def add(self, parameter: Parameter, value: Any) -> None:
        """Give the rows of ``parameter`` a value."""
        self.is_set[parameter.rows] = True
        if isinstance(value, (int, float, np.number)):
            self.numbers[parameter.rows] = value
        else:
            where = np.zeros_like(self.numbers)
            where[parameter.rows] = 1
            self.symbolic.append((value, where))
