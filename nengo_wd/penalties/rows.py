"""The penalties on all rows of one variable, as one expression."""

from __future__ import annotations

from typing import Any

import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd.checks import is_live
from nengo_wd.parameters import Parameter
from nengo_wd.parameters.sums import sum_rows
from nengo_wd.regularizers.forms import NORMS, RowForm
from nengo_wd.strengths.rows import LiveArray, RowValues


class RowPenalty:
    r"""The L1 and L2 penalties on all rows of one variable, as one expression.

    .. math:: \sum_i a_i \|w_i - c_i\|_1 + b_i \|w_i - c_i\|_2^2

    with the rows :math:`w_i` of the variable, and strengths and centre by row. So the
    number of operations does not depend on the number of objects, and strengths can be changed
    without building anything anew.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator.
    penalized : list of (Parameter, RowForm)
        The parameters that are penalized, all of them in one variable, and how.
    live : bool
        Whether the strengths can be changed.

    Attributes
    ----------
    parameters : list of Parameter
        The parameters that are penalized.
    """

    def __init__(
        self, sim: nengo_dl.Simulator, penalized: list[tuple[Parameter, RowForm]], live: bool
    ) -> None:
        self.variable = penalized[0][0].variable
        self.parameters = [parameter for parameter, _ in penalized]
        self.strengths = {
            norm: RowValues(sim, self.variable, _strengths(penalized, norm), live=live)
            for norm in NORMS
            if _has(penalized, norm)
        }
        self._live = _live(penalized)
        self.initial = self.pulled = None
        if _has(penalized, "towards_initial"):
            self.initial = penalized[0][0].initial_variable
            self.pulled = LiveArray(sim, self._pulled(penalized), live)

    def can_take(self, penalized: list[tuple[Parameter, RowForm]]) -> bool:
        """Tell whether the expression has the norms, variables and initial values asked for."""
        norms = {norm for norm in NORMS if _has(penalized, norm)}
        has_initial = self.pulled is not None or not _has(penalized, "towards_initial")
        return norms <= set(self.strengths) and has_initial and _live(penalized) == self._live

    def take(self, penalized: list[tuple[Parameter, RowForm]]) -> None:
        """Take on what is penalized, and how, in the place of what was."""
        self.parameters = [parameter for parameter, _ in penalized]
        for norm, values in self.strengths.items():
            values.take(_strengths(penalized, norm))
        if self.pulled is not None:
            self.pulled.assign(self._pulled(penalized))

    def _pulled(self, penalized: list[tuple[Parameter, RowForm]]) -> np.ndarray:
        """Return one for each row that is pulled towards its initial values, zero elsewhere."""
        pulled = np.zeros(self.variable.shape[0], self.variable.dtype.base_dtype.as_numpy_dtype)
        for parameter, form in penalized:
            pulled[parameter.rows] = form.towards_initial
        return pulled

    @property
    def key(self) -> RowPenalty:
        """What tells the expression from every other one in its simulator: itself."""
        return self

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
        if self.pulled is not None:
            by_row = tf.reshape(self.pulled.tensor(), [-1] + [1] * (self.variable.shape.rank - 1))
            weights -= tf.cast(by_row * self.initial, dtype)
        terms = []
        for norm, values in self.strengths.items():
            sums = sum_rows(NORMS[norm].of_tensor(weights))
            # a sum that is infinite counts for nothing where the strength is zero
            terms.append(tf.math.multiply_no_nan(sums, tf.cast(values.tensor(), dtype)))
        return tf.add_n(terms) if terms else tf.zeros(weights.shape[:1], dtype)


def _has(penalized: list[tuple[Parameter, RowForm]], part: str) -> bool:
    """Tell whether a norm has a strength, or something is pulled towards its initial value."""
    return any(form.has(part) for _, form in penalized)


def _live(penalized: list[tuple[Parameter, RowForm]]) -> list[tuple]:
    """Return what is built into the expression: strengths that are variables, by parameter."""
    return [
        (parameter.key, *(id(value) if is_live(value) else None for value in form[:2]))
        for parameter, form in penalized
        if form.live
    ]


def _strengths(
    penalized: list[tuple[Parameter, RowForm]], norm: str
) -> list[tuple[np.ndarray, Any]]:
    """Return the strengths of a norm with the rows that they are for."""
    return [(parameter.rows, getattr(form, norm)) for parameter, form in penalized]
