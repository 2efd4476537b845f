"""Regularizers that are sums over the elements of the weights, and regularizers made of others."""

from __future__ import annotations

import copy
from typing import Any, Callable, NamedTuple

import numpy as np
import tensorflow as tf

from nengo_wd._checks import is_live, is_number
from nengo_wd._clock import ids, split, times
from nengo_wd.regularizers.firing_rates import FiringRates
from nengo_wd.regularizers.group_lasso import GroupLasso
from nengo_wd.regularizers.scheduled import Scheduled
from nengo_wd.regularizers.towards_initial import TowardsInitial


class Norm(NamedTuple):
    """A function of the elements of weights, which a strength is multiplied by."""

    of_tensor: Callable
    of_array: Callable


# The norms of a `RowForm`, by the names of their strengths.
NORMS = {"l1": Norm(tf.abs, np.abs), "l2": Norm(tf.square, np.square)}


class RowForm(NamedTuple):
    """A regularizer that is a sum over the elements of the weights, by its strengths.

    A strength is a number, or a variable or schedule, which counts with the value that it has at
    each step.
    """

    l1: Any
    l2: Any
    towards_initial: bool = False

    def has(self, part: str) -> bool:
        """Tell whether a strength is or can be above zero, or ``towards_initial`` holds."""
        value = getattr(self, part)
        return is_live(value) or bool(value)

    @property
    def live(self) -> list[Any]:
        """The strengths that are variables or schedules."""
        return [strength for strength in (self.l1, self.l2) if not is_number(strength)]

    @property
    def content(self) -> tuple:
        """What is equal for equal numbers, and the same schedules and variables."""
        strengths = ((split(s)[0], ids(s)) for s in (self.l1, self.l2))
        return (*strengths, self.towards_initial)

    def times(self, factor: Any) -> RowForm:
        """Return the form with its strengths multiplied by a number, schedule or variable."""
        return self._replace(l1=times(self.l1, factor), l2=times(self.l2, factor))


def row_form(regularizer: Any) -> RowForm | None:
    """Return the strengths of a regularizer that is a sum over elements; None for others.

    Keras' subclasses are left out: they may compute anything. A form stands for itself.
    """
    if isinstance(regularizer, RowForm):
        return regularizer
    if type(regularizer) is Scheduled:
        form = row_form(regularizer.regularizer)
        return form and form.times(regularizer.strength)
    if type(regularizer) is not TowardsInitial and type(regularizer) not in _KERAS_L1_L2:
        return None
    strengths = (getattr(regularizer, norm, 0) for norm in NORMS)
    l1, l2 = (s if is_live(s) else float(s) for s in strengths)  # Keras' are NumPy's
    return RowForm(l1, l2, towards_initial=type(regularizer) is TowardsInitial)


class GroupForm(NamedTuple):
    """A group lasso, and its strength, which may be a variable or a schedule."""

    lasso: GroupLasso
    strength: Any


def group_form(regularizer: Any) -> GroupForm | None:
    """Return the group lasso that a regularizer is, with its strength; None for others."""
    if type(regularizer) is Scheduled:
        form = group_form(regularizer.regularizer)
        return form and form._replace(strength=times(form.strength, regularizer.strength))
    return GroupForm(regularizer, regularizer.strength) if type(regularizer) is GroupLasso else None


_KERAS_L1_L2 = {
    type(make(1.0))
    for make in (tf.keras.regularizers.l1, tf.keras.regularizers.l2, tf.keras.regularizers.l1_l2)
}


# Those whose attributes say all that they compute.
_KNOWN = {*_KERAS_L1_L2, FiringRates, GroupLasso, Scheduled, TowardsInitial}


class Itself(NamedTuple):
    """An object that equals itself alone, whatever it says about that."""

    obj: Any

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Itself) and self.obj is other.obj

    def __hash__(self) -> int:
        return id(self.obj)


def frozen(regularizer: Any) -> Any:
    """Return a copy of a regularizer, for which later changes of it do not count.

    What computes anything else than Keras' regularizers and ours is returned as it is.
    """
    if type(regularizer) not in _KNOWN:
        return regularizer
    copied = copy.copy(regularizer)
    if type(copied) is Scheduled:
        copied.regularizer = frozen(copied.regularizer)
    return copied


def content(regularizer: Any) -> tuple:
    """Return what is equal for regularizers that compute the same, with the same variables."""
    form = row_form(regularizer)
    if form is not None:
        return form.content
    if type(regularizer) not in _KNOWN:
        return (Itself(regularizer),)
    values = sorted(vars(regularizer).items())
    return (type(regularizer), *((name, _content(value)) for name, value in values))


def _content(value: Any) -> Any:
    """Return what is equal for equal attributes of regularizers."""
    if value is None or is_number(value) or isinstance(value, (str, tuple)):
        return value
    return content(value) if callable(value) else Itself(value)


def of_transformed(regularizer: Any, transform: Callable) -> Any:
    """Return the regularizer that applies ``regularizer`` to the transformed weights.

    ``transform`` moves elements about, and so changes nothing for a sum over elements.
    """
    if row_form(regularizer) is not None:
        return regularizer
    if type(regularizer) is Scheduled:
        return Scheduled(of_transformed(regularizer.regularizer, transform), regularizer.strength)
    return lambda weights: regularizer(transform(weights))


def of_scaled(regularizer: Any, scale: float) -> Any:
    """Return the regularizer that applies ``regularizer`` to the weights over ``scale``."""
    if type(regularizer) is Scheduled:
        return Scheduled(of_scaled(regularizer.regularizer, scale), regularizer.strength)
    form = row_form(regularizer)
    if form is None or form.live:
        return lambda weights: regularizer(weights / scale)
    strengths = form.l1 / scale, form.l2 / scale**2
    return (TowardsInitial if form.towards_initial else tf.keras.regularizers.l1_l2)(*strengths)
