"""Regularizers that are sums over the elements of the weights, and regularizers made of others."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

import numpy as np
import tensorflow as tf

from nengo_wd.regularizers.towards_initial import TowardsInitial


class Norm(NamedTuple):
    """A function of the elements of weights, which a strength is multiplied by."""

    of_tensor: Callable
    of_array: Callable


# The norms of a `RowForm`, by the names of their strengths.
NORMS = {"l1": Norm(tf.abs, np.abs), "l2": Norm(tf.square, np.square)}


class RowForm(NamedTuple):
    """A regularizer that is a sum over the elements of the weights, by its strengths."""

    l1: float
    l2: float
    towards_initial: bool = False


def row_form(regularizer: Any) -> RowForm | None:
    """Return the strengths of a regularizer that is a sum over elements; None for others.

    Keras' subclasses are left out: they may compute anything.
    """
    if type(regularizer) is TowardsInitial:
        return RowForm(regularizer.l1, regularizer.l2, towards_initial=True)
    if type(regularizer) in _KERAS_L1_L2:
        l1, l2 = (float(getattr(regularizer, norm, 0)) for norm in ("l1", "l2"))
        return RowForm(l1, l2)
    return None


_KERAS_L1_L2 = {
    type(make(1.0))
    for make in (tf.keras.regularizers.l1, tf.keras.regularizers.l2, tf.keras.regularizers.l1_l2)
}


def of_transformed(regularizer: Any, transform: Callable) -> Any:
    """Return the regularizer that applies ``regularizer`` to the transformed weights.

    ``transform`` moves elements about, and so changes nothing for a sum over elements.
    """
    if row_form(regularizer) is not None:
        return regularizer
    return lambda weights: regularizer(transform(weights))


def of_scaled(regularizer: Any, scale: float) -> Any:
    """Return the regularizer that applies ``regularizer`` to the weights over ``scale``."""
    form = row_form(regularizer)
    if form is None:
        return lambda weights: regularizer(weights / scale)
    strengths = form.l1 / scale, form.l2 / scale**2
    return (TowardsInitial if form.towards_initial else tf.keras.regularizers.l1_l2)(*strengths)
