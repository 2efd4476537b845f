"""The regularizer that drives whole groups of weights to zero."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd._checks import as_strength


class GroupLasso(tf.keras.regularizers.Regularizer):
    r"""Drive whole groups of weights to zero: whole neurons, or whole connections.

    .. math:: R(w) = a \sum_g \sqrt{n_g} \, \|w_g\|_2

    with the weights :math:`w_g` of each of the groups, :math:`n_g` in number.

    Parameters
    ----------
    strength : float or tf.Variable
        The strength :math:`a`.
    axis : int, tuple of int or None
        The axis along which the groups lie: each index along it is a group, made
        of the weights along all other axes. Of decoders or full weights, of shape
        ``(size_out, size_in)``, ``axis=1`` silences whole presynaptic neurons and
        ``axis=0`` whole outputs; of encoders, of shape ``(n_neurons, dimensions)``,
        ``axis=0`` makes a group of each neuron. With None, all weights are one group.

    Notes
    -----
    At zero, where the norm has no gradient, the gradient is taken to be zero.

    References
    ----------
    Ming Yuan and Yi Lin, "Model selection and estimation in regression with grouped
    variables", Journal of the Royal Statistical Society B 68, 2006.

    Examples
    --------
    >>> weights = tf.constant([[3.0, 0.0], [4.0, 0.0]])
    >>> penalty = nengo_wd.regularizers.GroupLasso(0.1, axis=1)(weights)
    >>> round(float(tf.keras.backend.get_value(penalty)), 4)  # 0.1 * sqrt(2) * 5
    0.7071
    """

    def __init__(self, strength: Any = 0.01, axis: Any = 0) -> None:
        self.strength = as_strength(strength, "strength", "GroupLasso")
        self.axis = axis
        if not all(map(_is_axis, self._along())):
            raise ValidationError(
                f"GroupLasso: axis={axis!r} is no axis; give an integer, a tuple of integers or "
                "None",
                attr="axis",
            )

    def __call__(self, weights: Any) -> tf.Tensor:
        """Return the penalty on ``weights``, a scalar."""
        weights = tf.convert_to_tensor(weights)
        within = self.within(len(weights.shape))
        size = _size(weights, within)
        # the square root has no finite gradient at zero
        squares = tf.maximum(_sum_of_squares(weights, within), np.finfo(np.float64).tiny)
        norms = tf.cast(tf.sqrt(squares), weights.dtype)
        strength = tf.cast(self.strength, norms.dtype)
        return strength * tf.sqrt(size) * tf.reduce_sum(norms)

    def shrunk(self, weights: tf.Tensor, by: Any) -> tf.Tensor:
        r"""Return weights whose groups are shorter by a length times :math:`\sqrt{n_g}`.

        .. math:: w_g \max(0, 1 - b \sqrt{n_g} / \|w_g\|_2)

        That is the proximal step of the regularizer with strength one, and exactly zero for each
        group that is no longer than that. The strength is not looked at.
        """
        within = self.within(len(weights.shape))
        squares = _sum_of_squares(weights, within, keepdims=True)
        norms = tf.cast(tf.sqrt(squares), weights.dtype)
        length = by * tf.sqrt(_size(weights, within))
        nothing = tf.cast(length <= 0, weights.dtype)  # to be taken, also of a norm of zero
        factors = tf.where(norms > length, 1 - length / norms, nothing * tf.ones_like(norms))
        return weights * factors

    def within(self, rank: int) -> list[int]:
        """Return the axes over which a group extends, in weights of ``rank``."""
        along = self._along()
        if any(not -rank <= axis < rank for axis in along):
            raise ValidationError(
                f"GroupLasso along axis {self.axis} does not fit weights of rank {rank}",
                attr="axis",
                obj=self,
            )
        return [axis for axis in range(rank) if axis not in {a % rank for a in along}]

    def _along(self) -> list[Any]:
        """Return the axes along which the groups lie."""
        if self.axis is None:
            return []
        return list(self.axis) if isinstance(self.axis, (list, tuple, np.ndarray)) else [self.axis]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make the same regularizer again."""
        return {"strength": self.strength, "axis": self.axis}


def _is_axis(axis: Any) -> bool:
    return isinstance(axis, numbers.Integral) and not isinstance(axis, bool)


def _sum_of_squares(weights: tf.Tensor, axes: list[int], **kwargs: Any) -> tf.Tensor:
    """Return sums of squares in float64: in float32, those of 1e20 and of 1e-25 are lost."""
    return tf.reduce_sum(tf.square(tf.cast(weights, tf.float64)), axis=axes, **kwargs)


def _size(weights: tf.Tensor, axes: list[int]) -> tf.Tensor:
    """Return how many elements ``weights`` have along ``axes``, in their dtype."""
    shape = weights.shape.as_list()
    if all(shape[axis] is not None for axis in axes):
        return tf.cast(np.prod([shape[axis] for axis in axes]), weights.dtype)
    # the examples and time steps of what a probe records are known only when it is run
    return tf.cast(tf.reduce_prod(tf.gather(tf.shape(weights), axes)), weights.dtype)
