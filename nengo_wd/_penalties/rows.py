"""The penalties on all rows of one variable, as one expression."""

from __future__ import annotations

from typing import Any

import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd import _clock as clock
from nengo_wd._parameters.sums import sum_rows
from nengo_wd._strengths.norms import Formed, RowStrengths
from nengo_wd.regularizers.forms import NORMS


class RowPenalty(RowStrengths):
    r"""The L1 and L2 penalties on all rows of one variable, as one expression.

    .. math:: \sum_i a_i \|w_i - c_i\|_1 + b_i \|w_i - c_i\|_2^2

    with the rows :math:`w_i` of the variable, and strengths and centre by row. So the
    number of operations does not depend on the number of objects, and strengths can be changed
    without building anything anew. Parameters and attributes are those of `RowStrengths`.

    Attributes
    ----------
    parameters : list of Parameter
        The parameters that are penalized.
    """

    def __init__(self, sim: nengo_dl.Simulator, formed: Formed, live: bool) -> None:
        super().__init__(sim, formed, live)
        self.parameters = [parameter for parameter, _ in formed]

    def take(self, formed: Formed) -> None:
        """Take on what is penalized, and how, in the place of what was."""
        super().take(formed)
        self.parameters = [parameter for parameter, _ in formed]

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
        if self.centre is not None:
            initial, pulled = self.centre
            weights -= tf.cast(pulled * initial, dtype)
        terms = []
        for norm, values in self.strengths.items():
            sums = sum_rows(NORMS[norm].of_tensor(weights))
            strengths = values.tensor(clock.step() if values.has_schedules else None)
            # a sum that is infinite counts for nothing where the strength is zero
            terms.append(tf.math.multiply_no_nan(sums, tf.cast(strengths, dtype)))
        return tf.add_n(terms) if terms else tf.zeros(weights.shape[:1], dtype)
