"""The least and the greatest values that elements can have, and what steps make of them."""

from __future__ import annotations

from typing import Any, Iterator, NamedTuple

import nengo
import numpy as np
import tensorflow as tf
from scipy.special import expit

RISING = {  # activations of Keras that rise, in NumPy
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": expit,
}
POSITIVE_SYNAPSES = (nengo.Lowpass, nengo.Alpha, nengo.synapses.Triangle)
# Relative, of sums: thousands of terms in float32, or products of GPUs, which keep 10 bits.
ROUNDING = 1e-3


class Range(NamedTuple):
    """The least and the greatest value that each element can have."""

    least: np.ndarray
    greatest: np.ndarray

    @classmethod
    def of_anything(cls, size: int) -> Range:
        """Return the range of values that nothing is known of."""
        return cls(np.full(size, -np.inf), np.full(size, np.inf))

    @classmethod
    def of_values(cls, values: Any, size: int) -> Range:
        """Return the range of values that never change."""
        constant = np.broadcast_to(np.asarray(values, float), size)
        return cls(constant, constant)

    @property
    def is_zero(self) -> np.ndarray:
        """Which elements are always zero."""
        return (self.least == 0) & (self.greatest == 0)

    def plus(self, other: Range) -> Range:
        """Return the range of a sum, wider by what is rounded where it grows."""
        least = _sum_rounded_up(-self.least, -other.least)
        return Range(0 - least, _sum_rounded_up(self.greatest, other.greatest))

    def times(self, factors: np.ndarray) -> Range:
        """Return the range of a product with numbers."""
        both = np.stack([_product(factors, self.least), _product(factors, self.greatest)])
        return Range(both.min(axis=0), both.max(axis=0))

    def weighted(self, weights: Any) -> Range:
        """Return the range of the product with a sparse matrix, wider by what is rounded."""
        rises, falls = _parts(weights)
        greatest = _rounded_up(rises, self.greatest) + _rounded_up(-falls, -self.least)
        least = _rounded_up(rises, -self.least) + _rounded_up(-falls, self.greatest)
        return Range(0 - least, greatest)  # no negative zeros

    def filtered(self, synapse: Any) -> Range:
        """Return the range of values behind a synapse, which begins at zero."""
        if synapse is None or self.is_zero.all():
            return self
        if not isinstance(synapse, POSITIVE_SYNAPSES):
            anything = Range.of_anything(len(self.least))
            return Range(*(np.where(self.is_zero, 0, one) for one in anything))
        return Range(np.minimum(self.least, 0), np.maximum(self.greatest, 0))

    def widened(self, before: Range) -> Range:
        """Return a range without bounds where it grew."""
        return Range(
            np.where(self.least < before.least, -np.inf, self.least),
            np.where(self.greatest > before.greatest, np.inf, self.greatest),
        )


def _parts(weights: Any) -> Iterator[Any]:
    """Yield the positive and the negative weights of a sparse matrix, without zeros.

    ``weights.maximum(0)`` of SciPy 1.15 has the same indices as ``weights``, so that eliminating
    its zeros would change both.
    """
    at = weights.tocoo()
    for chosen in (at.data > 0, at.data < 0):
        places = at.row[chosen], at.col[chosen]
        yield type(weights)((at.data[chosen], places), shape=at.shape)


def _sum_rounded_up(values: np.ndarray, added: np.ndarray) -> np.ndarray:
    """Return the greatest sum; what is not above zero never makes a rounded sum greater."""
    return values + added + np.where(added > 0, ROUNDING * np.abs(values), 0)


def _rounded_up(weights: Any, values: np.ndarray) -> np.ndarray:
    """Return the greatest product with positive weights, whatever is rounded.

    What is rounded grows with the sizes of the terms, which may cancel.
    """
    sizes = np.where(np.isfinite(values), np.abs(values), 0)
    return weights @ values + ROUNDING * (weights @ sizes)


def _product(factors: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return a product in which zero times infinity is zero."""
    with np.errstate(invalid="ignore"):
        return np.where((factors == 0) | (values == 0), 0, factors * values)


def activated(activation: Any, inputs: Range) -> Range:
    """Return the range behind an activation of Keras."""
    name = getattr(activation, "__name__", "")
    if name not in RISING or not is_of_keras(activation):
        return Range.of_anything(len(inputs.least))
    return Range(*map(RISING[name], inputs))


def is_of_keras(activation: Any) -> bool:
    """Tell whether an activation is one of Keras' or TensorFlow's, by its own name."""
    name = getattr(activation, "__name__", "")
    return any(activation is getattr(m, name, None) for m in (tf.keras.activations, tf.nn))
