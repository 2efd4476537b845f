"""Regularizers from users' arguments, their forms and strengths, and `Scheduled`."""

from __future__ import annotations

import copy
from typing import Any, Callable, NamedTuple, Sequence

import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd._checks import (
    Hyperparameter,
    Regularizer,
    Strength,
    check_hyperparameter,
    check_keras_2,
    check_strength,
    current_step,
    is_live,
    is_number,
    value_at,
)
from nengo_wd.regularizers.firing_rates import ELSEWHERE, FiringRates
from nengo_wd.regularizers.grid import TowardsGrid
from nengo_wd.regularizers.weights import ELEMENTWISE, GroupLasso, TowardsInitial

STRENGTHS = ("l1", "l2", "factor", "strength")  # the names in Keras' regularizers and ours


def as_regularizer(
    value: Regularizer | None, attr: str, owner: str, of_probe: bool = False
) -> Callable | None:
    """Return the regularizer that a user means by a name, a configuration or a callable.

    Raise if Keras does not know the name, if a strength is negative, infinite or NaN, and for
    `FiringRates` without ``of_probe``. Errors name the argument or setting ``attr`` of ``owner``.
    """
    check_keras_2(value, attr, owner)
    if isinstance(value, type):
        name = value.__name__
        message = f"{owner}: {name} is a class, not a regularizer; give an instance, {name}(...)"
        raise ValidationError(message, attr=attr)
    try:
        found = tf.keras.regularizers.get(value)
        if isinstance(found, str):  # Keras 2.13 and later return an unknown name
            raise ValueError(found)
    except (ValueError, TypeError) as error:
        raise ValidationError(
            f"{owner}: {value!r} is not a regularizer that Keras knows; give 'l1', 'l2', "
            "'l1_l2', one of tf.keras.regularizers, or a callable from a tensor to a scalar",
            attr=attr,
        ) from error
    if hasattr(found, "of_rates") and not of_probe:
        raise ValidationError(f"{owner}: {ELSEWHERE}", attr=attr)
    check_strengths(found, attr, owner)
    return found


def check_strengths(regularizer: Any, attr: str, owner: str) -> None:
    """Raise if a strength of a regularizer, or of one in it, is negative or not finite."""
    for name in STRENGTHS:
        check_strength(getattr(regularizer, name, None), name, attr, owner)
    inner = getattr(regularizer, "regularizer", None)
    if inner is not None:
        check_strengths(inner, attr, owner)


class Scheduled(tf.keras.regularizers.Regularizer):
    r"""Multiply a regularizer by a strength that moves during training.

    .. math:: R(w, t) = s(t) \, R(w)

    with the strength :math:`s` at the training step :math:`t`. You can use it wherever you can use
    a regularizer: as a setting, or as an argument of a layer. When the strength moves, nothing is
    traced or compiled again.

    Parameters
    ----------
    regularizer : str, dict, callable or tf.keras.regularizers.Regularizer
        The regularizer to multiply, with its own strengths: anything that Keras or a setting takes.
    strength : float, tf.keras.optimizers.schedules.LearningRateSchedule or tf.Variable
        The strength :math:`s`, zero or above. A schedule is evaluated at the training step, like a
        learning rate: the number of batches so far, 0 in the first update. A variable is read at
        each step.

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``regularizer`` is not one, or is scheduled itself; if ``strength`` is not a number,
        schedule or variable, or is negative or not finite: a number now, a schedule or variable
        when an objective is made. If it becomes so later, `nengo_wd.WeightNorms` warns.

    Notes
    -----
    The compiled optimizer counts the training steps. Your own training loop, without
    ``sim.compile``, has no such count, so a schedule raises an error there; use a variable, and
    assign it. In NengoDL 2, create a variable in the simulator's graph, within
    ``sim.tensor_graph.graph.as_default()``.

    Examples
    --------
    >>> warm_up = tf.keras.optimizers.schedules.PolynomialDecay(0.0, 1000, end_learning_rate=1.0)
    >>> l1 = tf.keras.regularizers.l1(1e-3)
    >>> with nengo.Network(seed=0) as net:
    ...     nengo_wd.configure_settings(regularizer=nengo_wd.regularizers.Scheduled(l1, warm_up))
    """

    __module__ = "nengo_wd.regularizers"  # by which configurations and pickles name it

    def __init__(self, regularizer: Regularizer, strength: Hyperparameter) -> None:
        owner = type(self).__name__
        self.regularizer: Any = as_regularizer(regularizer, "regularizer", owner, of_probe=True)
        if self.regularizer is None or isinstance(self.regularizer, Scheduled):
            fault = f"{owner}: {regularizer!r} can't be multiplied by a strength"
            hint = "give a regularizer that is not scheduled itself"
            raise ValidationError(f"{fault}; {hint}", attr="regularizer")
        check_hyperparameter(strength, "strength", owner)
        self.strength: Any = float(strength) if is_number(strength) else strength  # type: ignore

    def __call__(self, weights: Any) -> tf.Tensor:
        """Return the penalty on ``weights`` at this training step, a scalar."""
        return self._scaled(self.regularizer(weights))

    @property
    def of_rates(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """The penalty on rates in Hz, of shape (examples, neurons), where that is scheduled."""
        of_rates = self.regularizer.of_rates  # which only regularizers of rates have
        return lambda rates: self._scaled(of_rates(rates))

    def _scaled(self, penalty: Any) -> tf.Tensor:
        penalty = tf.convert_to_tensor(penalty)
        step = current_step() if callable(self.strength) else None
        return penalty * tf.cast(value_at(self.strength, step), penalty.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make the same regularizer again."""
        strength = self.strength
        if callable(strength):
            strength = tf.keras.optimizers.schedules.serialize(strength)
        regularizer = tf.keras.regularizers.serialize(self.regularizer)
        return {"regularizer": regularizer, "strength": strength}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Scheduled:
        """Return the regularizer that has a configuration."""
        strength = config["strength"]
        if isinstance(strength, dict):
            strength = tf.keras.optimizers.schedules.deserialize(strength)
        ours = {one.__name__: one for one in (FiringRates, *_OF_ALL, TowardsInitial)}
        with tf.keras.utils.custom_object_scope(ours):
            return cls(tf.keras.regularizers.deserialize(config["regularizer"]), strength)


def unscheduled(regularizer: Any) -> Any:
    """Return the regularizer inside `Scheduled`, or any other as it is."""
    return regularizer.regularizer if isinstance(regularizer, Scheduled) else regularizer


class RowForm(NamedTuple):
    """A regularizer that is a sum over the elements of the weights."""

    strengths: dict[str, Strength]  # that are or can be above zero, by their names in `ELEMENTWISE`
    towards_initial: bool = False  # whether it is of the distance from the initial weights

    @property
    def parts(self) -> dict[str, Strength]:
        """The strengths, and 1 for ``towards_initial`` where that holds."""
        pulled = {"towards_initial": Strength(1.0)} if self.towards_initial else {}
        return {**self.strengths, **pulled}

    @property
    def moving(self) -> tuple:
        """A key of the variables and schedules; empty where all strengths are numbers."""
        return tuple((name, one.ids) for name, one in self.strengths.items() if one.factors)


def row_form(regularizer: Any) -> RowForm | None:
    """Return the form of a regularizer that is a sum over elements; None for others.

    Keras' subclasses are left out: they may compute anything.
    """
    inner, factor = _factored(regularizer)
    if type(inner) is not TowardsInitial and type(inner) not in _KERAS_L1_L2:
        return None
    values = {name: getattr(inner, name, 0) for name in ELEMENTWISE}
    numbers = {name: one if is_live(one) else float(one) for name, one in values.items()}
    found = {name: Strength.from_value(one).times(factor) for name, one in numbers.items()}
    strengths = {name: strength for name, strength in found.items() if strength.number}
    return RowForm(strengths, towards_initial=type(inner) is TowardsInitial)


class WholeForm(NamedTuple):
    """A regularizer of all weights of an object together, and its strength."""

    regularizer: GroupLasso | TowardsGrid
    strength: Strength

    def fixed(self, shape: Sequence[int]) -> tuple:
        """Return a key of all but the strength; raise if weights have no such groups."""
        if isinstance(self.regularizer, TowardsGrid):
            return (self.regularizer.bits,)
        return self.regularizer.groups_in(shape).key, self.regularizer.costs


def whole_form(regularizer: Any) -> WholeForm | None:
    """Return a group lasso or a pull towards a grid, with its strength; None for others."""
    inner, factor = _factored(regularizer)
    if type(inner) not in _OF_ALL:
        return None
    return WholeForm(inner, Strength.from_value(inner.strength).times(factor))


def _factored(regularizer: Any) -> tuple[Any, Strength]:
    """Return the regularizer without its schedule, and the factor of the schedule."""
    if type(regularizer) is Scheduled:
        return regularizer.regularizer, Strength.from_value(regularizer.strength)
    return regularizer, Strength(1.0)


_OF_ALL = (GroupLasso, TowardsGrid)
_KERAS_L1_L2 = {
    type(make(1.0))
    for make in (tf.keras.regularizers.l1, tf.keras.regularizers.l2, tf.keras.regularizers.l1_l2)
}
# Regularizers that are computed from their attributes alone.
_KNOWN = {*_KERAS_L1_L2, *_OF_ALL, FiringRates, Scheduled, TowardsInitial}


class ByIdentity(NamedTuple):
    """An object that equals only itself, whatever its own ``==`` says."""

    obj: Any

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, ByIdentity) and self.obj is other.obj

    def __hash__(self) -> int:
        return id(self.obj)


def snapshot(regularizer: Any) -> Any:
    """Return a copy of a regularizer, which later changes of the original do not affect.

    Regularizers of other classes than Keras' and ours are returned themselves.
    """
    if type(regularizer) not in _KNOWN:
        return regularizer
    copied = copy.copy(regularizer)
    if type(copied) is Scheduled:
        copied.regularizer = snapshot(copied.regularizer)
    return copied


def comparison_key(regularizer: Any) -> tuple:
    """Return a key that is equal for regularizers that compute the same with the same variables."""
    form = row_form(regularizer)
    if form is not None:
        numbers = tuple((name, strength.number) for name, strength in form.strengths.items())
        return numbers, form.moving, form.towards_initial
    if type(regularizer) not in _KNOWN:
        return (ByIdentity(regularizer),)
    values = sorted(vars(regularizer).items())
    return (type(regularizer), *((name, _attribute_key(value)) for name, value in values))


def _attribute_key(value: Any) -> Any:
    if value is None or is_number(value) or isinstance(value, (str, tuple)):
        return value
    return comparison_key(value) if callable(value) else ByIdentity(value)
