"""The regularizer that a user means by a name, a configuration or a callable."""

from __future__ import annotations

from typing import Any, Callable

import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd._checks import check_keras_2, check_strength
from nengo_wd._types import Regularizer
from nengo_wd.regularizers.firing_rates import ELSEWHERE

STRENGTHS = ("l1", "l2", "factor", "strength")  # what Keras' regularizers and ours call theirs


def get(
    regularizer: Regularizer | None, attr: str, owner: str, of_probe: bool = False
) -> Callable | None:
    """Return the regularizer that ``regularizer`` stands for.

    Parameters
    ----------
    regularizer : str, dict, callable or None
        What Keras takes: a name, a configuration, a regularizer or any callable from
        a tensor to a scalar tensor.
    attr : str
        The argument or setting that holds it, for errors.
    owner : str
        The object that it was given to, for errors.
    of_probe : bool
        Whether that is a probe, which alone records rates.

    Returns
    -------
    regularizer : callable or None
        The regularizer, or None where None was given.

    Raises
    ------
    nengo.exceptions.ValidationError
        If no regularizer has that name, a strength is negative, infinite or NaN, or it is one of
        firing rates where there are none.
    """
    check_keras_2(regularizer, attr, owner)
    if isinstance(regularizer, type):
        name = regularizer.__name__
        raise ValidationError(
            f"{owner}: {name} is a class, not a regularizer; give an instance, {name}(...)",
            attr=attr,
        )
    try:
        found = tf.keras.regularizers.get(regularizer)
        if isinstance(found, str):  # Keras 2.13 and later give an unknown name back
            raise ValueError(found)
    except (ValueError, TypeError) as error:
        raise ValidationError(
            f"{owner}: {regularizer!r} is no regularizer that Keras knows; give 'l1', 'l2', "
            "'l1_l2', one of tf.keras.regularizers, or a callable from a tensor to a scalar",
            attr=attr,
        ) from error
    if hasattr(found, "of_rates") and not of_probe:
        raise ValidationError(f"{owner}: {ELSEWHERE}", attr=attr)
    check_strengths(found, attr, owner)
    return found


def check_strengths(regularizer: Any, attr: str, owner: str) -> None:
    """Raise if a strength of a regularizer, or of one in it, is negative or not finite."""
    for strength in STRENGTHS:
        check_strength(getattr(regularizer, strength, None), strength, attr, owner)
    inner = getattr(regularizer, "regularizer", None)
    if inner is not None:
        check_strengths(inner, attr, owner)
