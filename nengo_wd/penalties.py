"""Penalties on parameters: those that settings ask for, and those of layers."""

from __future__ import annotations

from typing import Any, Iterator, NamedTuple

import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd import parameters, seam
from nengo_wd.layer_penalties import variable_penalties
from nengo_wd.parameters import Parameter
from nengo_wd.regularizers import RowForm, check_penalty, row_form


class Penalty(NamedTuple):
    """A regularizer on one parameter."""

    parameter: Parameter
    regularizer: Any

    @property
    def key(self) -> tuple:
        """What tells the penalty from every other one in its simulator."""
        return (*self.parameter.key, self.regularizer)

    @property
    def parameters(self) -> list[Parameter]:
        """The parameter, as that of a `RowPenalty`."""
        return [self.parameter]

    def __call__(self) -> tf.Tensor:
        """Return the penalty as a scalar tensor."""
        return check_penalty(self.parameter.name, self.regularizer(self.parameter.gather()))

    def by_parameter(self) -> tf.Tensor:
        """Return the penalty as a tensor of shape (1,)."""
        return tf.reshape(self(), (1,))


class RowPenalty:
    r"""The L1 and L2 penalties on all rows of one variable, as one expression.

    .. math:: \sum_i a_i \|w_i - c_i\|_1 + b_i \|w_i - c_i\|_2^2

    with the rows :math:`w_i` of the variable, and strengths and centre by row. So the
    number of operations does not depend on the number of objects.
    """

    def __init__(self, variable: tf.Variable) -> None:
        self.variable = variable
        shape = variable.shape.as_list()
        self.dtype = variable.dtype.base_dtype.as_numpy_dtype
        self.strengths = {norm: np.zeros(shape[0], self.dtype) for norm in ("l1", "l2")}
        self.centre: np.ndarray | None = None
        self.parameters: list[Parameter] = []

    def add(self, parameter: Parameter, form: RowForm) -> None:
        """Penalize the rows of ``parameter``."""
        self.parameters.append(parameter)
        self.strengths["l1"][parameter.rows] = form.l1
        self.strengths["l2"][parameter.rows] = form.l2
        if form.towards_initial:
            shape = self.variable.shape.as_list()
            if self.centre is None:
                self.centre = np.zeros(shape, self.dtype)
            self.centre[parameter.rows] = np.reshape(parameter.initial, (-1, *shape[1:]))

    @property
    def key(self) -> tuple:
        """What tells the penalty from every other one in its simulator."""
        centre = b"" if self.centre is None else self.centre.tobytes()
        strengths = (strength.tobytes() for strength in self.strengths.values())
        return (id(self.variable), *strengths, centre)

    def __call__(self) -> tf.Tensor:
        """Return the penalty as a scalar tensor."""
        terms = [_weighted_sum(*term) for term in self._terms(self.dtype)]
        return tf.add_n(terms) if terms else tf.zeros((), self.dtype)

    def by_parameter(self) -> tf.Tensor:
        """Return in float64 what each of ``parameters`` adds, of shape (n_parameters,)."""
        owners = np.full(len(self.strengths["l2"]), -1)  # rows of nobody are left out
        for i, parameter in enumerate(self.parameters):
            owners[parameter.rows] = i
        terms = [s * sum_rows(values) for s, values in self._terms(np.float64)]
        by_row = tf.add_n(terms) if terms else tf.zeros(owners.shape, np.float64)
        return tf.math.unsorted_segment_sum(by_row, owners, len(self.parameters))

    def _terms(self, dtype: Any) -> Iterator[tuple[np.ndarray, tf.Tensor]]:
        """Yield strengths by row, and the values that they are of, in a precision."""
        weights = tf.cast(tf.convert_to_tensor(self.variable), dtype)
        if self.centre is not None:
            weights -= self.centre.astype(dtype)
        functions = {"l1": tf.abs, "l2": tf.square}
        for norm, strengths in self.strengths.items():
            if strengths.any():
                yield strengths.astype(dtype), functions[norm](weights)


def _weighted_sum(strengths: np.ndarray, values: tf.Tensor) -> tf.Tensor:
    """Return the sum of ``values``, each row times its strength."""
    if (strengths == strengths[0]).all():
        return strengths[0] * tf.reduce_sum(values)
    return tf.reduce_sum(strengths * sum_rows(values))


def sum_rows(values: tf.Tensor, keep: tuple[int, ...] = ()) -> tf.Tensor:
    """Return the sum over all axes of ``values`` but the first and those in ``keep``."""
    axes = [axis for axis in range(1, len(values.shape)) if axis not in keep]
    return tf.reduce_sum(values, axis=axes)


def of_settings(sim: nengo_dl.Simulator) -> list[Penalty]:
    """Return the penalties that the setting ``regularizer`` asks for, object by object.

    A layer's own regularizer wins over the setting of its TensorNode.
    """
    return [
        Penalty(parameter, regularizer)
        for parameter, regularizer in parameters.with_setting(sim, "regularizer")
        if of_layer(parameter) is None
    ]


def of_layer(parameter: Parameter) -> Penalty | None:
    """Return the penalty that a parameter's own layer has on it, if any."""
    function = variable_penalties(parameter.layer).get(id(parameter.variable))
    return None if function is None else Penalty(parameter, lambda weights: function())


def expressions(penalties: list[Penalty]) -> list[Penalty | RowPenalty]:
    """Return what to add to the loss: one expression for each variable, where that is possible."""
    by_variable: dict[int, RowPenalty] = {}
    others = []
    for penalty in penalties:
        form = row_form(penalty.regularizer)
        if form is None:
            others.append(penalty)
        else:
            variable = penalty.parameter.variable
            rows = by_variable.setdefault(id(variable), RowPenalty(variable))
            rows.add(penalty.parameter, form)
    return [*by_variable.values(), *others]


def values(sim: nengo_dl.Simulator, penalties: list[Penalty]) -> list[float]:
    """Return the current value of each penalty."""
    weights = parameters.values(penalty.parameter for penalty in penalties)
    forms = [row_form(penalty.regularizer) for penalty in penalties]
    others = [penalty for penalty, form in zip(penalties, forms) if form is None]
    tensors = [seam.build_once(sim, penalty.key, penalty) for penalty in others]
    fetched = iter(seam.fetch(sim, tensors))
    return [
        float(next(fetched)) if form is None else _value(penalty.parameter, form, weight)
        for penalty, form, weight in zip(penalties, forms, weights)
    ]


def _value(parameter: Parameter, form: RowForm, weights: np.ndarray) -> float:
    """Return in float64 what one object adds to the sum of a `RowPenalty`."""
    distance = weights.astype(np.float64)
    if form.towards_initial:
        distance -= parameter.initial
    return float(form.l1 * np.abs(distance).sum() + form.l2 * np.square(distance).sum())
