"""Regularizers of Keras' weights for weights of Nengo, where these are kept in other ways."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

import tensorflow as tf

from nengo_wd._checks import is_number
from nengo_wd._groups import KERAS, use_sides
from nengo_wd.regularizers.forms import Scheduled, row_form
from nengo_wd.regularizers.grid import TowardsGrid
from nengo_wd.regularizers.weights import ELEMENTWISE, GroupLasso, TowardsInitial


class Moved(NamedTuple):
    """Where groups of weights of Keras are in weights of Nengo."""

    axes: dict[int, int]  # from an axis there to that here
    sides: tuple[str, ...]  # that are the same


BIAS = Moved({0: 0, -1: 0}, ("outputs",))  # of shape (units,) there, and (units, 1) here
DENSE = Moved({0: 1, 1: 0, -1: 0, -2: 1}, ("inputs", "outputs"))


def transformed(regularizer: Any, transform: Callable, moved: Moved | None = None) -> Any:
    """Return the regularizer that applies ``regularizer`` to the transformed weights.

    ``transform`` moves elements about, and so changes nothing for a sum over elements or their
    grid. A group lasso stays one, if ``moved`` says where its groups are.
    """
    if row_form(regularizer) is not None or type(regularizer) is TowardsGrid:
        return regularizer
    if type(regularizer) is Scheduled:
        return Scheduled(
            transformed(regularizer.regularizer, transform, moved), regularizer.strength
        )
    if type(regularizer) is GroupLasso and moved is not None:
        if regularizer.groups in moved.sides:
            return regularizer
        if is_number(regularizer.axis) and regularizer.axis in moved.axes:
            axis, costs = moved.axes[regularizer.axis], regularizer.costs
            return GroupLasso(regularizer.strength, axis, costs=costs)

    def of_transformed(weights: Any) -> Any:
        with use_sides(KERAS):
            return regularizer(transform(weights))

    return of_transformed


def rescaled(regularizer: Any, scale: float) -> Any:
    """Return the regularizer that applies ``regularizer`` to the weights over ``scale``."""
    if scale == 1:
        return regularizer
    if type(regularizer) is Scheduled:
        return Scheduled(rescaled(regularizer.regularizer, scale), regularizer.strength)
    if type(regularizer) in (GroupLasso, TowardsGrid) and is_number(regularizer.strength):
        config = regularizer.get_config()
        return type(regularizer)(**{**config, "strength": regularizer.strength / scale})
    form = row_form(regularizer)
    if form is None or form.moving:
        return lambda weights: regularizer(weights / scale)
    strengths = {"l1": 0.0, "l2": 0.0}  # Keras has other defaults
    for name, strength in form.strengths.items():
        strengths[name] = strength.number / scale ** ELEMENTWISE[name].degree
    return (TowardsInitial if form.towards_initial else tf.keras.regularizers.l1_l2)(**strengths)
