"""Penalties on parameters: those that settings ask for, and those of layers."""

from __future__ import annotations

from typing import Any, Iterator, NamedTuple, Sequence, Tuple, Union

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd import settings
from nengo_wd._checks import is_live
from nengo_wd._groups import use_sides
from nengo_wd._parameters import Parameter
from nengo_wd._seam import state
from nengo_wd._seam.keras2 import check_penalty
from nengo_wd._strengths import RowForms, RowRegularizer, numbers_now
from nengo_wd.regularizers import Scheduled
from nengo_wd.regularizers.forms import STRENGTHS, comparison_key, row_form, snapshot
from nengo_wd.regularizers.weights import ELEMENTWISE

Regularized = Sequence[Tuple[Parameter, Any]]  # parameters, each with its regularizer


class Penalty(NamedTuple):
    """A regularizer on one parameter."""

    parameter: Parameter
    regularizer: Any

    @property
    def key(self) -> tuple:
        """A key that identifies the penalty in its simulator."""
        return (*self.parameter.key, *comparison_key(self.regularizer))

    @property
    def parameters(self) -> list[Parameter]:
        """The parameter, in a list like the one of a `RowRegularizer`."""
        return [self.parameter]

    def __call__(self) -> tf.Tensor:
        """Return the penalty as a scalar tensor."""
        with use_sides(self.parameter.sides):
            return check_penalty(self.parameter.name, self.regularizer(self.parameter.gather()))

    def by_parameter(self) -> tf.Tensor:
        """Return the penalty as a tensor of shape (1,)."""
        return tf.reshape(self(), (1,))


Expression = Union[Penalty, RowRegularizer]


def penalties_of_settings(sim: nengo_dl.Simulator) -> list[Penalty]:
    """Return the penalties that the setting ``regularizer`` asks for, object by object.

    The list is empty if an optimizer takes the regularizers as steps. It is the same object while
    the settings are the same. Later changes to a regularizer have no effect. Raise if a layer was
    given a regularizer, and its TensorNode has one of its own as well.
    """
    if state.is_to_be_proximal(sim):
        return []
    parameters.check_layers(sim)
    kept, asked = state.simulator_state(sim), _asked(sim)
    if kept.asked is None or kept.asked[0] != asked:  # slow for many objects
        found = parameters.with_setting(sim, "regularizer")
        kept.asked = asked, [Penalty(parameter, snapshot(one)) for parameter, one in found]
    return kept.asked[1]


def _asked(sim: nengo_dl.Simulator) -> tuple:
    """Return a key that is equal while settings ask for the same penalties on parameters."""
    network = sim.model.toplevel
    if not settings.is_configured(network):
        return ()
    found = list(settings.look_up(network, "regularizer"))
    contents = parameters.value_keys(found)
    # an object comes after its type, since objects of two types may not be comparable
    asked = [(type(one.obj), one.obj, one.own, contents[id(one.value)]) for one in found]
    nodes = [one.obj for one in found if isinstance(one.obj, nengo_dl.TensorNode)]
    layers = [parameters.layers(node, sim) for node in nodes]
    trained = [[getattr(layer, "trainable", None) for layer in parts] for parts in layers]
    members = [(type(obj), obj) for obj in settings.members(network)]
    return members, asked, trained, parameters.replaced_defaults(sim)


def penalty_of_layer(parameter: Parameter) -> Penalty | None:
    """Return the penalty that a parameter's own layer has on it, if any."""
    function = None if state.is_proximal(parameter.sim) else parameter.layer_penalty
    return None if function is None else Penalty(parameter, lambda weights: function())


def by_variable(regularized: Regularized) -> tuple[dict[int, RowForms], list[Any]]:
    """Return the parameters whose regularizers are sums over elements, by variable, and others."""
    rows: dict[int, RowForms] = {}
    others = []
    for one in regularized:
        form = row_form(one[1])
        if form is None:
            others.append(one)
        else:
            rows.setdefault(id(one[0].variable), []).append((one[0], form))
    return rows, others


class Terms:
    """Terms of the loss: penalties on parameters, one expression for each variable if possible.

    The expressions are those of the first terms in ``built`` that fit, or else new ones. If they
    are live, `install` can change their strengths.
    """

    def __init__(
        self,
        sim: nengo_dl.Simulator,
        penalties: list[Penalty],
        built: Sequence[Terms] = (),
        live: bool = True,
    ) -> None:
        self.sim, self.penalties, self.live = sim, penalties, live
        self._rows, self._others = by_variable(penalties)
        fitting = (terms.expressions for terms in built if self._fit(terms.expressions))
        self._expressions: list[Expression] | None = next(fitting, None)

    @property
    def expressions(self) -> list[Expression]:
        """The expressions to add to the loss."""
        if self._expressions is None:
            rows = self._rows.values()
            sums = [RowRegularizer(self.sim, row_forms, self.live) for row_forms in rows]
            self._expressions = [*sums, *self._others]
        return self._expressions

    def _fit(self, built: list[Expression]) -> bool:
        """Tell whether these expressions can have the strengths, with nothing new to build."""
        of_rows = {id(e.variable): e for e in built if isinstance(e, RowRegularizer)}
        others = [e.key for e in built if isinstance(e, Penalty)]
        return others == [one.key for one in self._others] and all(
            key in of_rows and of_rows[key].can_update_to(row_forms)
            for key, row_forms in self._rows.items()
        )

    def changes_strengths_of(self, other: Terms) -> bool:
        """Tell whether only numbers differ: no weight, kind of strength or variable is new."""
        fixed, parts = self._structure()
        other_fixed, other_parts = other._structure()
        return fixed == other_fixed and parts <= other_parts

    def _structure(self) -> tuple[set, set]:
        """Return the penalties and strengths that are not numbers, and the parts of forms."""
        row_forms = [(p.key, form) for rows in self._rows.values() for p, form in rows]
        fixed = {penalty.key for penalty in self._others}
        fixed.update((key, form.moving) for key, form in row_forms if form.moving)
        return fixed, {(key, part) for key, form in row_forms for part in form.parts}

    @property
    def layout(self) -> list[tuple]:
        """A key that is equal for terms that differ in live strengths only."""
        if not self.live:
            return [penalty.key for penalty in self.penalties]
        owners = {key: [p.key for p, _ in row_forms] for key, row_forms in self._rows.items()}
        return [
            (id(e), owners.get(id(e.variable)) if isinstance(e, RowRegularizer) else None)
            for e in self.expressions
        ]

    def install(self) -> None:
        """Give the expressions the strengths that these penalties have."""
        for expression in self.expressions:
            if isinstance(expression, RowRegularizer):
                expression.update_values(self._rows.get(id(expression.variable), []))


def penalty_values(sim: nengo_dl.Simulator, penalties: list[Penalty]) -> list[float]:
    """Return the current value of each penalty, in float64 where it is a sum over elements."""
    rows, others = by_variable(penalties)
    tensors = [seam.values.build(sim, penalty) for penalty in others]
    fetched = seam.values.fetch(sim, tensors)
    found = {one.parameter.key: float(value) for one, value in zip(others, fetched)}
    row_forms = [one for of_variable in rows.values() for one in of_variable]
    strengths = [strength for _, form in row_forms for strength in form.strengths.values()]
    factors = [factor for strength in strengths for factor in strength.factors]
    known: dict[int, Any] = dict(zip(map(id, factors), numbers_now(sim, factors)))
    for (parameter, form), distance in zip(row_forms, _distances(row_forms)):
        sums = (
            strength.number
            * np.prod([known[key] for key in strength.ids])
            * ELEMENTWISE[name].of_array(distance).sum()
            for name, strength in form.strengths.items()
        )
        found[parameter.key] = float(sum(sums))
    return [found[penalty.parameter.key] for penalty in penalties]


def _distances(row_forms: RowForms) -> list[np.ndarray]:
    """Return the weights of each parameter, less the initial ones that they are pulled towards."""
    among = [parameter for parameter, _ in row_forms]
    weights = [weight.astype(np.float64) for weight in parameters.parameter_values(among)]
    pulled = [i for i, (_, form) in enumerate(row_forms) if form.towards_initial]
    centres = parameters.parameter_values((among[i] for i in pulled), "initial_variable")
    for i, centre in zip(pulled, centres):
        weights[i] -= centre
    return weights


def with_live_strengths(regularized: Regularized) -> list[tuple[Parameter, Any]]:
    """Return the parameters whose regularizers have strengths that are not numbers."""
    return [(parameter, one) for parameter, one in regularized if _live_strengths(one)]


def strength_faults(
    sim: nengo_dl.Simulator, regularized: Regularized
) -> Iterator[tuple[Parameter, str]]:
    """Yield parameters, each with the fault of a strength that is negative now, or not finite."""
    for parameter, regularizer in regularized:
        live = _live_strengths(regularizer)
        for (name, _), value in zip(live, numbers_now(sim, [strength for _, strength in live])):
            if value is not None and not (np.isfinite(value) and value >= 0):
                what = f"the strength {name}={value} of the regularizer of {parameter.name}"
                yield parameter, f"{what} must be a finite number, zero or above"


def check_live_strengths(sim: nengo_dl.Simulator, regularized: Regularized) -> None:
    """Raise if a strength that is a variable or schedule is negative now, or not finite."""
    for _, fault in strength_faults(sim, with_live_strengths(regularized)):
        raise ValidationError(fault, attr="regularizer")


def _live_strengths(regularizer: Any) -> list[tuple[str, Any]]:
    """Return the strengths of a regularizer that are variables or schedules, with their names."""
    is_scheduled = isinstance(regularizer, Scheduled)
    named = [(name, getattr(regularizer, name, None)) for name in STRENGTHS]
    found = [(n, one) for n, one in named if is_live(one) or (is_scheduled and callable(one))]
    return found + _live_strengths(regularizer.regularizer) if is_scheduled else found
