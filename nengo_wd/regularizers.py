"""Regularizers, and what makes one fit to be used."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

STRENGTHS = ("l1", "l2", "factor")  # what Keras' own regularizers call theirs


def get(regularizer: Any, attr: str, owner: str) -> Any:
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

    Returns
    -------
    regularizer : callable or None
        The regularizer, or None where None was given.

    Raises
    ------
    nengo.exceptions.ValidationError
        If no regularizer has that name, or a strength is negative, infinite or NaN.
    """
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
    for strength in STRENGTHS:
        check_strength(getattr(found, strength, None), strength, attr, owner)
    return found


def check_strength(value: Any, name: str, attr: str, owner: str) -> None:
    """Raise a ValidationError unless ``value`` is a strength: finite and not negative."""
    is_number = isinstance(value, (numbers.Real, np.ndarray))  # Keras makes them 0-d arrays
    if is_number and not np.all(np.isfinite(value) & (np.asarray(value) >= 0)):
        raise ValidationError(
            f"{owner}: the strength {name}={value} must be a finite number, zero or above",
            attr=attr,
        )
