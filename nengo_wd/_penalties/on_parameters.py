"""Penalties on parameters: those that settings ask for, and those of layers."""

from __future__ import annotations

from itertools import starmap
from typing import Any, NamedTuple, Sequence

import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd import settings
from nengo_wd._checks import check_penalty
from nengo_wd._clock import ids
from nengo_wd._parameters import Parameter, defaults
from nengo_wd._penalties.rows import RowPenalty
from nengo_wd._seam import state
from nengo_wd._strengths.norms import Formed, by_variable
from nengo_wd._strengths.now import now
from nengo_wd.regularizers.forms import NORMS, RowForm, content, frozen, row_form


class Penalty(NamedTuple):
    """A regularizer on one parameter, and its form if it is a sum over elements."""

    parameter: Parameter
    regularizer: Any
    form: RowForm | None = None

    @property
    def key(self) -> tuple:
        """What tells the penalty from every other one in its simulator."""
        return (*self.parameter.key, *content(self.regularizer))

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

    There are none where regularizers are steps of an optimizer. It is the same list while the
    settings are the same. What is done to a regularizer later does not count.

    Raises
    ------
    nengo.exceptions.ValidationError
        If a layer was given a regularizer, and its TensorNode has one of its own as well.
    """
    if state.is_to_be_proximal(sim):
        return []
    defaults.check_layers(sim)
    kept, asked = state.of(sim), _asked(sim)
    if kept.asked is None or kept.asked[0] != asked:  # of many objects it takes long
        found = [(p, frozen(one)) for p, one in parameters.with_setting(sim, "regularizer")]
        kept.asked = asked, [Penalty(parameter, one, row_form(one)) for parameter, one in found]
    return kept.asked[1]


def _asked(sim: nengo_dl.Simulator) -> tuple:
    """Return what is equal while settings ask for the same penalties on parameters."""
    network = sim.model.toplevel
    if not settings.is_configured(network):
        return ()
    found = list(settings.look_up(network, "regularizer"))
    different = {id(setting.value): setting.value for setting in found}  # few, of classes
    contents = {key: content(value) for key, value in different.items()}
    asked = [(*_told(setting.obj), setting.own, contents[id(setting.value)]) for setting in found]
    nodes = [one.obj for one in found if isinstance(one.obj, nengo_dl.TensorNode)]
    trained = [_trained(node, sim) for node in nodes]
    return list(map(_told, settings.members(network))), asked, trained, defaults.replaced(sim)


def _told(obj: Any) -> tuple:
    """Return an object with its type: of another one, it may not be fit to be compared."""
    return type(obj), obj


def _trained(node: nengo_dl.TensorNode, sim: nengo_dl.Simulator) -> list:
    return [getattr(part, "trainable", None) for part in parameters.layers(node, sim)]


def of_layer(parameter: Parameter) -> Penalty | None:
    """Return the penalty that a parameter's own layer has on it, if any."""
    function = None if state.is_proximal(parameter.sim) else parameter.layer_penalty
    return None if function is None else Penalty(parameter, lambda weights: function())


def expressions(
    sim: nengo_dl.Simulator, penalties: list[Penalty], live: bool = False
) -> list[Penalty | RowPenalty]:
    """Return what to add to the loss: one expression for each variable, where that is possible.

    With ``live``, strengths can be changed later, by `Terms.install`.
    """
    rows, others = _split(penalties)
    return [*(RowPenalty(sim, formed, live) for formed in rows.values()), *others]


def _split(penalties: list[Penalty]) -> tuple[dict[int, Formed], list[Penalty]]:
    """Return the penalties that are sums over elements, by variable, and the others."""
    rows, others = by_variable([(p.parameter, p.form or p.regularizer) for p in penalties])
    return rows, list(starmap(Penalty, others))


class Terms:
    """The penalties on parameters that an objective carries, and what computes them.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator.
    penalties : list of Penalty
        The penalties.
    built : sequence of Terms
        Others, whose expressions are used again if nothing has to be built for it.

    Attributes
    ----------
    expressions : list of callable
        What to add to the loss. Objectives whose penalties differ in their strengths alone share
        them: `install` gives them the strengths.
    """

    def __init__(
        self, sim: nengo_dl.Simulator, penalties: list[Penalty], built: Sequence[Terms] = ()
    ) -> None:
        self.penalties = penalties
        self._rows, self._others = _split(penalties)
        like = next((terms for terms in built if self._fit(terms.expressions)), None)
        self.expressions: list[Penalty | RowPenalty] = (
            expressions(sim, penalties, live=True) if like is None else like.expressions
        )

    def _fit(self, built: list[Penalty | RowPenalty]) -> bool:
        """Tell whether expressions can take on all strengths, with nothing to be built."""
        of_rows = {id(e.variable): e for e in built if isinstance(e, RowPenalty)}
        others = [e.key for e in built if isinstance(e, Penalty)]
        return others == [one.key for one in self._others] and all(
            key in of_rows and of_rows[key].can_take(formed) for key, formed in self._rows.items()
        )

    def changes_strengths_of(self, other: Terms) -> bool:
        """Tell whether these are others with other numbers: no weight, norm or variable is new."""
        fixed, norms = self._parts()
        other_fixed, other_norms = other._parts()
        return fixed == other_fixed and norms <= other_norms

    def _parts(self) -> tuple[set, set]:
        """Return what numbers can't change, and the norms that there are, by parameter."""
        fixed = {p.key for p in self.penalties if p.form is None}
        formed = [(p.parameter.key, p.form) for p in self.penalties if p.form is not None]
        fixed.update((key, *map(ids, form.live)) for key, form in formed if form.live)
        parts = (*NORMS, "towards_initial")
        return fixed, {(key, part) for key, form in formed for part in parts if form.has(part)}

    @property
    def layout(self) -> list[tuple]:
        """What is equal for terms that differ in their strengths alone."""
        owners = {key: [p.key for p, _ in formed] for key, formed in self._rows.items()}
        return [
            (id(e), owners.get(id(e.variable)) if isinstance(e, RowPenalty) else None)
            for e in self.expressions
        ]

    def install(self) -> None:
        """Give the expressions the strengths that these penalties have."""
        for expression in self.expressions:
            if isinstance(expression, RowPenalty):
                expression.take(self._rows.get(id(expression.variable), []))


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
    forms = [penalty.form for penalty in penalties]
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
