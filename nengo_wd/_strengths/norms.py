"""The strengths of L1 and L2 by row of a variable, and what they are the distance from."""

from __future__ import annotations

from typing import Any, List, Sequence, Tuple

import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd._clock import ids
from nengo_wd._parameters import Parameter
from nengo_wd._strengths.rows import LiveArray, RowValues
from nengo_wd.regularizers.forms import NORMS, RowForm, row_form

Formed = List[Tuple[Parameter, RowForm]]  # parameters of one variable, and how each is regularized


def by_variable(
    regularized: Sequence[tuple[Parameter, Any]],
) -> tuple[dict[int, Formed], list[tuple[Parameter, Any]]]:
    """Return the parameters whose regularizers are sums over elements, by variable, and others."""
    rows: dict[int, Formed] = {}
    others = []
    for parameter, regularizer in regularized:
        form = row_form(regularizer)
        if form is None:
            others.append((parameter, regularizer))
        else:
            rows.setdefault(id(parameter.variable), []).append((parameter, form))
    return rows, others


class RowStrengths:
    """The strengths of L1 and L2 of all rows of one variable, which can be changed.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator.
    formed : list of (Parameter, RowForm)
        The parameters that are regularized, all of them in one variable, and how.
    live : bool
        Whether the strengths can be changed.

    Attributes
    ----------
    variable : tf.Variable
        The variable.
    strengths : dict of {str: RowValues}
        The strengths of each of the `NORMS` that is asked for.
    initial : tf.Variable or None
        The initial values of the variable, if something is pulled towards them.
    pulled : LiveArray or None
        One for each row that is pulled towards its initial values, zero elsewhere.
    """

    def __init__(self, sim: nengo_dl.Simulator, formed: Formed, live: bool) -> None:
        self.variable = formed[0][0].variable
        self.strengths = {
            norm: RowValues(sim, self.variable, _strengths(formed, norm), live=live)
            for norm in NORMS
            if _has(formed, norm)
        }
        self._live = _live(formed)
        self.initial = self.pulled = None
        if _has(formed, "towards_initial"):
            self.initial = formed[0][0].initial_variable
            self.pulled = LiveArray(sim, self._pulled(formed), live)

    def can_take(self, formed: Formed) -> bool:
        """Tell whether there are the norms, variables and initial values that are asked for."""
        norms = {norm for norm in NORMS if _has(formed, norm)}
        has_initial = self.pulled is not None or not _has(formed, "towards_initial")
        return norms <= set(self.strengths) and has_initial and _live(formed) == self._live

    def take(self, formed: Formed) -> None:
        """Take on what is regularized, and how, in the place of what was."""
        for norm, values in self.strengths.items():
            values.take(_strengths(formed, norm))
        if self.pulled is not None:
            self.pulled.assign(self._pulled(formed))

    @property
    def centre(self) -> tuple[tf.Tensor, tf.Tensor] | None:
        """The initial values, and ones for the rows that are pulled there; None for zero alone."""
        if self.pulled is None:
            return None
        by_row = tf.reshape(self.pulled.tensor(), [-1] + [1] * (self.variable.shape.rank - 1))
        return tf.convert_to_tensor(self.initial), by_row

    def _pulled(self, formed: Formed) -> np.ndarray:
        pulled = np.zeros(self.variable.shape[0], self.variable.dtype.base_dtype.as_numpy_dtype)
        for parameter, form in formed:
            pulled[parameter.rows] = form.towards_initial
        return pulled


def _has(formed: Formed, part: str) -> bool:
    """Tell whether a norm has a strength, or something is pulled towards its initial value."""
    return any(form.has(part) for _, form in formed)


def _live(formed: Formed) -> list[tuple]:
    """Return what is built in: strengths that are variables or schedules, by parameter."""
    return [
        (parameter.key, *(ids(strength) for strength in (form.l1, form.l2)))
        for parameter, form in formed
        if form.live
    ]


def _strengths(formed: Formed, norm: str) -> list[tuple[np.ndarray, Any]]:
    """Return the strengths of a norm with the rows that they are for."""
    return [(parameter.rows, getattr(form, norm)) for parameter, form in formed]
