"""The regularizer that pulls weights to the few values that a device can store."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd._checks import as_strength, is_whole

MOST_BITS = 16  # float32 tells many more levels apart no longer
FITS = 5  # enough for two bits; for more, the steps of training go on with it


class TowardsGrid(tf.keras.regularizers.Regularizer):
    r"""Pull weights towards the nearest of a few values, for weights of few bits.

    .. math::

        R(w) = a \sum_i |w_i - \Delta k_i|, \qquad
        k_i = \min(\max(\mathrm{round}(w_i / \Delta), -n), n), \qquad
        n = 2^{bits - 1} - 1

    The distance :math:`\Delta` between the values makes :math:`\sum_i (w_i - \Delta k_i)^2` small.
    It starts from its upper bound :math:`\max_i |w_i| / n`. Then distance and levels :math:`k_i`
    are fitted to each other, five times in turn. Each object has its own distance, for its current
    weights.

    A penalty brings weights near these values. The proximal steps of ``regularized_optimizer(...,
    proximal=True)`` end there exactly, once they are longer than the optimizer's steps for long
    enough. Use `Scheduled` to raise the strength that far.

    Parameters
    ----------
    strength : float or tf.Variable
        The strength :math:`a`.
    bits : int
        The number of bits of a weight, including its sign: from 2 (which means -1, 0 and 1 times a
        number) to 16.

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``strength`` is negative or not finite, or ``bits`` is not a whole number from 2 to 16.

    Notes
    -----
    The gradient treats the :math:`\Delta k_i` as fixed, and is zero for a weight on the grid. An
    object is the object with the setting, or a weight of a layer.

    At the end, the largest weight is :math:`n \Delta`. nengo-loihi has the same grid: it rounds all
    weights that enter the same neurons to 8 bits, scaled by the largest. During training,
    :math:`\Delta` is fitted to all weights. If only the largest weight set it, nothing would hold
    that weight, and it would carry all others along. And with few bits, most weights would be zero.

    Begin with a network that was trained with decay. Start with a strength far below 1, which holds
    hardly any weight. Raise it by the same factor at each step to far above 1, while the learning
    rate falls from a high value.

    References
    ----------
    Yu Bai, Yu-Xiang Wang and Edo Liberty, "ProxQuant: Quantized neural networks via proximal
    operators", ICLR 2019, which has such steps, and fits values and levels in turn.

    Examples
    --------
    >>> weights = tf.constant([0.9, -0.7, 0.1])  # which are near 0.8 times 1, -1 and 0
    >>> penalty = nengo_wd.regularizers.TowardsGrid(0.1, bits=2)(weights)
    >>> round(float(tf.keras.backend.get_value(penalty)), 4)  # 0.1 * (0.1 + 0.1 + 0.1)
    0.03
    """

    __module__ = "nengo_wd.regularizers"  # by which configurations and pickles name it

    def __init__(self, strength: Any = 0.01, bits: int = 8) -> None:
        self.strength = as_strength(strength, "strength", "TowardsGrid")
        if not is_whole(bits, 2) or bits > MOST_BITS:
            message = f"TowardsGrid: bits={bits!r} must be a whole number from 2 to {MOST_BITS}"
            raise ValidationError(message, attr="bits")
        self.bits = int(bits)

    def __call__(self, weights: Any) -> tf.Tensor:
        """Return the penalty on ``weights``, a scalar."""
        weights = tf.convert_to_tensor(weights)
        distances = tf.abs(weights - tf.stop_gradient(self.nearest(weights)))
        return tf.cast(self.strength, weights.dtype) * tf.reduce_sum(distances)

    def nearest(self, weights: tf.Tensor) -> tf.Tensor:
        """Return the values of the grid for the weights of an object."""
        n, exact = 2 ** (self.bits - 1) - 1, tf.cast(weights, tf.float64)
        distance = widest = tf.reduce_max(tf.abs(exact)) / n
        levels = nearest_levels(exact, distance, n)
        for _ in range(FITS):
            squares = tf.reduce_sum(tf.square(levels))
            fitted = tf.math.divide_no_nan(tf.reduce_sum(exact * levels), squares)
            distance = tf.minimum(fitted, widest)
            levels = nearest_levels(exact, distance, n)
        return tf.cast(distance, weights.dtype) * tf.cast(levels, weights.dtype)

    def shrunk(self, weights: tf.Tensor, by: Any) -> tf.Tensor:
        r"""Return weights that are nearer to their values by a length, and no farther than there.

        .. math:: q_i + \mathrm{sign}(w_i - q_i) \max(|w_i - q_i| - b, 0), \qquad q_i = \Delta k_i

        That is the proximal step of the regularizer with strength one. The strength does not
        matter.
        """
        nearest = self.nearest(weights)
        distances = weights - nearest
        moved = weights - tf.sign(distances) * by
        return tf.where(tf.abs(distances) <= by, nearest, moved)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make the same regularizer again."""
        return {"strength": self.strength, "bits": self.bits}


def nearest_levels(weights: tf.Tensor, distance: tf.Tensor, n: int) -> tf.Tensor:
    """Return the whole numbers, from -n to n, that are nearest to weights over a distance."""
    found = tf.round(tf.math.divide_no_nan(weights, distance))
    return tf.clip_by_value(found, -n, n)
