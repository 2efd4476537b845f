"""Penalties on parameters: those that settings ask for, and those of layers."""

from __future__ import annotations

from itertools import starmap
from typing import Any, NamedTuple

import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd import parameters, seam
from nengo_wd.checks import check_penalty
from nengo_wd.parameters import Parameter
from nengo_wd.penalties.rows import RowPenalty
from nengo_wd.regularizers.forms import NORMS, RowForm, row_form
from nengo_wd.seam import state
from nengo_wd.strengths.norms import by_variable
from nengo_wd.strengths.now import now


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
        """The parameter, in a list like the one of a `RowPenalty`."""
        return [self.parameter]

    def __call__(self) -> tf.Tensor:
        """Return the penalty as a scalar tensor."""
        return check_penalty(self.parameter.name, self.regularizer(self.parameter.gather()))

    def by_parameter(self) -> tf.Tensor:
        """Return the penalty as a tensor of shape (1,)."""
        return tf.reshape(self(), (1,))


def of_settings(sim: nengo_dl.Simulator) -> list[Penalty]:
    """Return the penalties that the setting ``regularizer`` asks for, object by object.

    There are none where regularizers are steps of an optimizer.

    Raises
    ------
    nengo.exceptions.ValidationError
        If a layer was given a regularizer, and its TensorNode has one of its own as well.
    """
    if state.is_proximal(sim):
        return []
    return [Penalty(*found) for found in parameters.with_setting(sim, "regularizer")]


def of_layer(parameter: Parameter) -> Penalty | None:
    """Return the penalty that a parameter's own layer has on it, if any."""
    function = None if state.is_proximal(parameter.sim) else parameter.layer_penalty
    return None if function is None else Penalty(parameter, lambda weights: function())


def expressions(
    sim: nengo_dl.Simulator, penalties: list[Penalty], live: bool = False
) -> list[Penalty | RowPenalty]:
    """Return what to add to the loss: one expression for each variable, where that is possible.

    With ``live``, strengths can be changed later, by `change`.
    """
    rows, others = by_variable(penalties)
    return [*(RowPenalty(sim, formed, live) for formed in rows.values()), *starmap(Penalty, others)]


def change(expressions: list[Penalty | RowPenalty], penalties: list[Penalty]) -> bool:
    """Have expressions take on the strengths of ``penalties``, and return whether they could.

    They can if nothing has to be built for it. Otherwise they stay as they are, all of them.
    """
    rows, others = by_variable(penalties)
    built = {id(e.variable): e for e in expressions if isinstance(e, RowPenalty)}
    same = [e.key for e in expressions if isinstance(e, Penalty)] == [
        Penalty(*o).key for o in others
    ]
    if not same or not all(k in built and built[k].can_take(p) for k, p in rows.items()):
        return False
    for key, expression in built.items():
        expression.take(rows.get(key, []))
    return True


def values(sim: nengo_dl.Simulator, penalties: list[Penalty]) -> list[float]:
    """Return the current value of each penalty."""
    forms = _forms_now(sim, penalties)
    others = [penalty for penalty, form in zip(penalties, forms) if form is None]
    tensors = [seam.values.build(sim, penalty) for penalty in others]
    fetched = iter(seam.values.fetch(sim, tensors))
    distances = _distances([penalty.parameter for penalty in penalties], forms)
    return [
        float(next(fetched)) if form is None else _value(form, distance)
        for form, distance in zip(forms, distances)
    ]


def _forms_now(sim: nengo_dl.Simulator, penalties: list[Penalty]) -> list[RowForm | None]:
    """Return the forms of penalties, with the values that their strengths have now."""
    forms = [row_form(penalty.regularizer) for penalty in penalties]
    live = {id(strength): strength for form in forms if form for strength in form.live}
    known = dict(zip(live, now(sim, list(live.values()))))
    return [
        form
        and form._replace(l1=known.get(id(form.l1), form.l1), l2=known.get(id(form.l2), form.l2))
        for form in forms
    ]


def _distances(among: list[Parameter], forms: list[RowForm | None]) -> list[np.ndarray]:
    """Return the weights of each parameter, less the initial ones that they are pulled towards."""
    weights = [weight.astype(np.float64) for weight in parameters.values(among)]
    pulled = [i for i, form in enumerate(forms) if form is not None and form.towards_initial]
    centres = parameters.values((among[i] for i in pulled), "initial_variable")
    for i, centre in zip(pulled, centres):
        weights[i] -= centre
    return weights


def _value(form: RowForm, distance: np.ndarray) -> float:
    """Return in float64 what one object adds to the sum of a `RowPenalty`."""
    sums = (getattr(form, norm) * of.of_array(distance).sum() for norm, of in NORMS.items())
    return float(sum(sums))
