"""The penalties on all rows of one variable, as one expression."""

from __future__ import annotations

from typing import Any, Iterable

import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd import seam
from nengo_wd.parameters import Parameter
from nengo_wd.parameters.sums import sum_rows
from nengo_wd.regularizers.forms import NORMS, RowForm
from nengo_wd.strengths.rows import RowValues


class RowPenalty:
    r"""The L1 and L2 penalties on all rows of one variable, as one expression.

    .. math:: \sum_i a_i \|w_i - c_i\|_1 + b_i \|w_i - c_i\|_2^2

    with the rows :math:`w_i` of the variable, and strengths and centre by row. So the
    number of operations does not depend on the number of objects, and strengths can be changed
    without building anything anew. Only a norm that had no strength, or a centre where there
    was none, has to be built.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator.
    variable : tf.Variable
        The variable, with the rows along its first axis.

    Attributes
    ----------
    parameters : list of Parameter
        The parameters that are penalized.
    """

    def __init__(self, sim: nengo_dl.Simulator, variable: tf.Variable) -> None:
        self.sim, self.variable = sim, variable
        self.strengths: dict[str, RowValues] = {}
        self.centre: tf.Variable | None = None
        self.parameters: list[Parameter] = []

    def take(self, penalized: Iterable[tuple[Parameter, RowForm]]) -> None:
        """Take on what is penalized, and how, in the place of what was."""
        penalized = list(penalized)
        self.parameters = [parameter for parameter, _ in penalized]
        for norm in NORMS:
            values = [(p.rows, getattr(form, norm)) for p, form in penalized]
            if norm not in self.strengths and any(value for _, value in values):
                self.strengths[norm] = RowValues(self.sim, self.variable)
            if norm in self.strengths:
                self.strengths[norm].take(values)
        self._take_centre([p for p, form in penalized if form.towards_initial])

    def _take_centre(self, pulled: list[Parameter]) -> None:
        """Take on the initial values of the parameters that are pulled towards them."""
        if not pulled and self.centre is None:
            return
        shape = self.variable.shape.as_list()
        values = np.zeros(shape, self.variable.dtype.base_dtype.as_numpy_dtype)
        for parameter in pulled:
            values[parameter.rows] = np.reshape(parameter.initial, (-1, *shape[1:]))
        if self.centre is None:
            self.centre = seam.values.state_variable(self.sim, values)
        else:
            seam.values.assign(self.sim, self.centre, values)

    @property
    def key(self) -> tuple:
        """What tells the expression from every other one in its simulator."""
        return (id(self), *self.strengths, self.centre is not None)

    def __call__(self) -> tf.Tensor:
        """Return the penalty as a scalar tensor."""
        return tf.reduce_sum(self._by_row(self.variable.dtype.base_dtype))

    def by_parameter(self) -> tf.Tensor:
        """Return in float64 what each of ``parameters`` adds, of shape (n_parameters,)."""
        owners = np.full(int(self.variable.shape[0]), -1)  # rows of nobody are left out
        for i, parameter in enumerate(self.parameters):
            owners[parameter.rows] = i
        by_row = self._by_row(tf.float64)
        return tf.math.unsorted_segment_sum(by_row, owners, len(self.parameters))

    def _by_row(self, dtype: Any) -> tf.Tensor:
        """Return what each row adds, of shape (n_rows,), in a precision."""
        weights = tf.cast(tf.convert_to_tensor(self.variable), dtype)
        if self.centre is not None:
            weights -= tf.cast(self.centre, dtype)
        terms = [
            tf.cast(strengths.tensor(), dtype) * sum_rows(NORMS[norm].of_tensor(weights))
            for norm, strengths in self.strengths.items()
        ]
        return tf.add_n(terms) if terms else tf.zeros(weights.shape[:1], dtype)
