"""The regularizer that keeps firing rates within a range."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd._checks import as_strength, is_live, is_number

ELSEWHERE = (
    "FiringRates is a setting of a probe of neurons, as in net.config[probe].regularizer; nothing "
    "else has rates in Hz"
)


class FiringRates(tf.keras.regularizers.Regularizer):
    r"""Keep the firing rates of neurons within a range, in Hz.

    .. math::

        R = a \, \langle d \rangle + b \, \langle d^2 \rangle, \qquad
        d = \max(r_{min} - r, 0) + \max(r - r_{max}, 0)

    The rate :math:`r` of a neuron in an example is the mean over time of the magnitude of what a
    probe recorded, divided by the amplitude of the neuron type. The mean :math:`\langle \cdot
    \rangle` is over examples and neurons. With ``percentile``, :math:`r` is that percentile of a
    neuron's rates over the minibatch, and the mean is over neurons.

    It is a setting for a `nengo.Probe` of neurons: of ``ensemble.neurons`` or some of them, also in
    ``nengo_dl.Layer(nengo.LIF())`` and in converted models.

    Parameters
    ----------
    minimum : float
        The lower bound :math:`r_{min}`, in Hz.
    maximum : float or None
        The upper bound :math:`r_{max}`, in Hz. None means no such bound.
    l1 : float or tf.Variable
        Strength :math:`a` of the distance from the range, per Hz.
    l2 : float or tf.Variable
        Strength :math:`b` of the squared distance, per Hz squared.
    percentile : float or None
        The percentile, from 0 to 100, over the examples of the minibatch, linearly
        interpolated as by ``np.percentile``. None means that each example counts.

    Raises
    ------
    nengo.exceptions.ValidationError
        If a bound or strength is negative or not finite, the bounds cross, the percentile is not
        from 0 to 100, or nothing would be penalized: without ``l1`` and ``l2``, and without
        ``minimum`` and ``maximum``.

    Notes
    -----
    Training uses NengoDL's training rates. They have no gradient when neurons are silent. With a
    ``minimum``, the penalty gets a gradient there: as if rates rose with the neuron's input, with a
    slope of 1 over the membrane's time constant, or of 1 if there is none. The value of the penalty
    and all other gradients don't change. In NengoDL 2, make the setting before you create the
    simulator.

    References
    ----------
    KerasSpiking's ``L1L2(target=(minimum, maximum))`` and ``Percentile`` (Applied Brain Research,
    2020) have the same range and percentile, but they sum instead of taking the mean.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     nengo_wd.configure_settings()
    ...     ensemble = nengo.Ensemble(10, 1)
    ...     rates = nengo.Probe(ensemble.neurons)
    ...     net.config[rates].regularizer = nengo_wd.regularizers.FiringRates(10, 30, l2=1e-3)
    """

    __module__ = "nengo_wd.regularizers"  # by which configurations and pickles name it

    def __init__(
        self,
        minimum: float = 0.0,
        maximum: float | None = None,
        l1: Any = 0.0,
        l2: Any = 0.0,
        percentile: float | None = None,
    ) -> None:
        self.minimum = _number(minimum, "minimum")
        self.maximum = None if maximum is None else _number(maximum, "maximum")
        self.l1 = as_strength(l1, "l1", "FiringRates")
        self.l2 = as_strength(l2, "l2", "FiringRates")
        self.percentile = None if percentile is None else _number(percentile, "percentile", 100)
        self._check()

    def _check(self) -> None:
        if self.maximum is not None and self.minimum > self.maximum:
            raise ValidationError(
                f"FiringRates: no rate is above minimum={self.minimum} and below "
                f"maximum={self.maximum}; exchange them",
                attr="minimum",
            )
        if not any(is_live(strength) or strength for strength in (self.l1, self.l2)):
            raise ValidationError(
                "FiringRates has nothing to do with l1=0 and l2=0; give a strength", attr="l2"
            )
        if self.maximum is None and self.minimum == 0:
            fault = "FiringRates has nothing to do, as all rates are above minimum=0"
            hint = "give a minimum or a maximum, in Hz"
            raise ValidationError(f"{fault}; {hint}", attr="minimum")

    def __call__(self, weights: Any) -> Any:
        """Raise a ValidationError: only a setting knows whose rates they are."""
        raise ValidationError(ELSEWHERE, attr="regularizer", obj=self)

    def of_rates(self, rates: tf.Tensor) -> tf.Tensor:
        """Return the penalty, a scalar, on rates in Hz, of shape (examples, neurons)."""
        if self.percentile is not None:
            rates = percentile_over_examples(rates, self.percentile)
        distance = tf.nn.relu(self.minimum - rates)
        if self.maximum is not None:
            distance += tf.nn.relu(rates - self.maximum)
        l1, l2 = (tf.cast(strength, rates.dtype) for strength in (self.l1, self.l2))
        return l1 * tf.reduce_mean(distance) + l2 * tf.reduce_mean(tf.square(distance))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make the same regularizer again."""
        names = ("minimum", "maximum", "l1", "l2", "percentile")
        return {name: getattr(self, name) for name in names}


def percentile_over_examples(rates: tf.Tensor, percentile: float) -> tf.Tensor:
    """Return a percentile along the first axis, interpolated between the nearest two."""
    ordered = tf.sort(rates, axis=0)
    # how many examples there are is known only when a graph is run
    place = percentile / 100 * tf.cast(tf.shape(rates)[0] - 1, tf.float64)
    below = tf.floor(place)
    low, high = (tf.gather(ordered, tf.cast(row, tf.int32)) for row in (below, tf.math.ceil(place)))
    return low + tf.cast(place - below, rates.dtype) * (high - low)


def _number(value: Any, name: str, largest: float = np.inf) -> float:
    """Return a bound or percentile as a number, or raise if it is not one in its range."""
    if is_number(value) and np.isfinite(value) and 0 <= value <= largest:
        return float(value)
    most = "finite and zero or above" if largest == np.inf else f"from 0 to {largest:g}"
    raise ValidationError(f"FiringRates: {name}={value!r} must be a number, {most}", attr=name)
