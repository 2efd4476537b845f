"""The regularizer that leads weights to the few values that a device can hold."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd._checks import as_strength, is_whole

MOST_BITS = 16  # float32 tells many more levels apart no longer


class TowardsGrid(tf.keras.regularizers.Regularizer):
    r"""Pull weights towards the nearest of a few values, as weights of few bits have.

    .. math::

        R(w) = a \sum_i |w_i - \Delta k_i|, \qquad
        k_i = \mathrm{round}\left(\frac{n \, w_i}{\max_j |w_j|}\right), \qquad
        n = 2^{bits - 1} - 1

    The levels :math:`k_i` are whole numbers from :math:`-n` to :math:`n`, and the distance
    :math:`\Delta` of the values is the one for which :math:`\sum_i (w_i - \Delta k_i)^2` is least.
    Both are those of the weights of one object, as they are now.

    A penalty brings weights near these values. The proximal steps of
    ``regularized_optimizer(..., proximal=True)`` end there exactly, once they are longer than those
    of the optimizer for long enough: `Scheduled` has strengths rise to that.

    Parameters
    ----------
    strength : float or tf.Variable
        The strength :math:`a`.
    bits : int
        How many bits a weight is to have, its sign among them: from 2, which is -1, 0 and 1 times
        the largest weight, to 16.

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``strength`` is negative or not finite, or ``bits`` is not a whole number from 2 to 16.

    Notes
    -----
    The gradient takes the :math:`\Delta k_i` as fixed, and is zero where a weight is there. An
    object is what has the setting, or a weight of a layer.

    At the end, the largest weight is :math:`n \Delta`. Such is the grid of nengo-loihi, which
    rounds all weights that enter the same neurons to 8 bits, by the largest of them. On the way
    there, :math:`\Delta` is fitted to all weights: if the largest one set it alone, nothing would
    hold that weight, and it would carry all others along.

    References
    ----------
    Yu Bai, Yu-Xiang Wang and Edo Liberty, "ProxQuant: Quantized neural networks via proximal
    operators", ICLR 2019, which has such steps, and fits the values in turn with the levels.

    Examples
    --------
    >>> weights = tf.constant([0.9, -0.7, 0.1])  # near 0.8 times 1, -1 and 0
    >>> penalty = nengo_wd.regularizers.TowardsGrid(0.1, bits=2)(weights)
    >>> round(float(tf.keras.backend.get_value(penalty)), 4)  # 0.1 * (0.1 + 0.1 + 0.1)
    0.03
    """

    __module__ = "nengo_wd.regularizers"  # by which configurations and pickles name it

    def __init__(self, strength: Any = 0.01, bits: int = 8) -> None:
        self.strength = as_strength(strength, "strength", "TowardsGrid")
        if not is_whole(bits, 2) or bits > MOST_BITS:
            raise ValidationError(
                f"TowardsGrid: bits={bits!r} must be a whole number from 2 to {MOST_BITS}",
                attr="bits",
            )
        self.bits = int(bits)

    def __call__(self, weights: Any) -> tf.Tensor:
        """Return the penalty on ``weights``, a scalar."""
        weights = tf.convert_to_tensor(weights)
        distances = tf.abs(weights - tf.stop_gradient(self.nearest(weights)))
        return tf.cast(self.strength, weights.dtype) * tf.reduce_sum(distances)

    def nearest(self, weights: tf.Tensor) -> tf.Tensor:
        """Return the values of the grid for the weights of an object."""
        largest, n = tf.reduce_max(tf.abs(weights)), 2 ** (self.bits - 1) - 1
        levels = tf.round(tf.math.divide_no_nan(weights, largest) * n)
        whole = tf.cast(levels, tf.float64)
        product = tf.reduce_sum(tf.cast(weights, tf.float64) * whole)
        distance = tf.math.divide_no_nan(product, tf.reduce_sum(tf.square(whole)))
        return tf.cast(distance, weights.dtype) * levels

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
