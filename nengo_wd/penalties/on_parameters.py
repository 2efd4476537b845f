"""Penalties on parameters: those that settings ask for, and those of layers."""

from __future__ import annotations

from typing import Any, NamedTuple

import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd import parameters, seam
from nengo_wd.checks import check_penalty
from nengo_wd.parameters import Parameter
from nengo_wd.penalties.rows import RowPenalty
from nengo_wd.regularizers.forms import NORMS, RowForm, row_form


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


def of_settings(sim: nengo_dl.Simulator) -> list[Penalty]:
    """Return the penalties that the setting ``regularizer`` asks for, object by object.

    A layer's own regularizer wins over the setting of its TensorNode.
    """
    return [
        Penalty(parameter, regularizer)
        for parameter, regularizer in parameters.with_setting(sim, "regularizer")
        if parameter.layer_penalty is None
    ]


def of_layer(parameter: Parameter) -> Penalty | None:
    """Return the penalty that a parameter's own layer has on it, if any."""
    function = parameter.layer_penalty
    return None if function is None else Penalty(parameter, lambda weights: function())


def expressions(
    sim: nengo_dl.Simulator, penalties: list[Penalty], rows: dict[int, RowPenalty] | None = None
) -> list[Penalty | RowPenalty]:
    """Return what to add to the loss: one expression for each variable, where that is possible.

    Expressions in ``rows``, by the ids of their variables, are used again: they take on the
    strengths of ``penalties``. New ones are put there.
    """
    rows = {} if rows is None else rows
    by_variable: dict[int, list[tuple[Parameter, RowForm]]] = {key: [] for key in rows}
    others: list[Penalty | RowPenalty] = []
    for penalty in penalties:
        form, variable = row_form(penalty.regularizer), penalty.parameter.variable
        if form is None:
            others.append(penalty)
        else:
            by_variable.setdefault(id(variable), []).append((penalty.parameter, form))
    for other in others:
        seam.values.build(sim, other)  # which raises, before anything is taken on
    for key, penalized in by_variable.items():
        if key not in rows:
            rows[key] = RowPenalty(sim, penalized[0][0].variable)
        rows[key].take(penalized)
    return [*(rows[key] for key, penalized in by_variable.items() if penalized), *others]


def values(sim: nengo_dl.Simulator, penalties: list[Penalty]) -> list[float]:
    """Return the current value of each penalty."""
    weights = parameters.values(penalty.parameter for penalty in penalties)
    forms = [row_form(penalty.regularizer) for penalty in penalties]
    others = [penalty for penalty, form in zip(penalties, forms) if form is None]
    tensors = [seam.values.build(sim, penalty) for penalty in others]
    fetched = iter(seam.values.fetch(sim, tensors))
    return [
        float(next(fetched)) if form is None else _value(penalty.parameter, form, weight)
        for penalty, form, weight in zip(penalties, forms, weights)
    ]


def _value(parameter: Parameter, form: RowForm, weights: np.ndarray) -> float:
    """Return in float64 what one object adds to the sum of a `RowPenalty`."""
    distance = weights.astype(np.float64)
    if form.towards_initial:
        distance -= parameter.initial
    sums = (getattr(form, norm) * of.of_array(distance).sum() for norm, of in NORMS.items())
    return float(sum(sums))
