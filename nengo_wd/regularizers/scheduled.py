"""The regularizer whose strength moves while a network is trained."""

from __future__ import annotations

from typing import Any, Callable

import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _clock as clock
from nengo_wd._checks import check_rate, is_number
from nengo_wd._types import Rate, Regularizer
from nengo_wd.regularizers import lookup
from nengo_wd.regularizers.firing_rates import FiringRates
from nengo_wd.regularizers.group_lasso import GroupLasso
from nengo_wd.regularizers.towards_initial import TowardsInitial

OURS = {one.__name__: one for one in (FiringRates, GroupLasso, TowardsInitial)}


class Scheduled(tf.keras.regularizers.Regularizer):
    r"""Multiply a regularizer by a strength that moves while a network is trained.

    .. math:: R(w, t) = s(t) \, R(w)

    with the strength :math:`s` at the training step :math:`t`. It can be a setting of anything
    that takes a regularizer, probes among them, and an argument of a layer. Nothing is traced or
    compiled again when the strength moves.

    Parameters
    ----------
    regularizer : str, dict, callable or tf.keras.regularizers.Regularizer
        What is multiplied: what Keras or a setting takes, with strengths of its own.
    strength : float, tf.keras.optimizers.schedules.LearningRateSchedule or tf.Variable
        The strength :math:`s`, zero or above. A schedule is looked up at the training step, as a
        learning rate is: that is 0 in the first update, and a number of batches. A variable
        counts with the value that it has at each step.

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``regularizer`` is none, or is scheduled itself; if ``strength`` is no number, schedule
        or variable, or a number that is negative or not finite. A schedule or variable that is
        negative or not finite raises when an objective is made; later on, `nengo_wd.WeightNorms`
        warns.

    Notes
    -----
    The training step is that of the optimizer with which the simulator was compiled. A training
    loop of your own, without ``sim.compile``, has none, and a schedule raises an error; give it a
    variable, and assign that. In NengoDL 2, make a variable in the simulator's graph, within
    ``sim.tensor_graph.graph.as_default()``.

    Examples
    --------
    >>> warm_up = tf.keras.optimizers.schedules.PolynomialDecay(0.0, 1000, end_learning_rate=1.0)
    >>> l1 = tf.keras.regularizers.l1(1e-3)
    >>> with nengo.Network(seed=0) as net:
    ...     nengo_wd.configure_settings(regularizer=nengo_wd.regularizers.Scheduled(l1, warm_up))
    """

    def __init__(self, regularizer: Regularizer, strength: Rate) -> None:
        owner = type(self).__name__
        self.regularizer: Any = lookup.get(regularizer, "regularizer", owner, of_probe=True)
        if self.regularizer is None or isinstance(self.regularizer, Scheduled):
            raise ValidationError(
                f"{owner}: {regularizer!r} can't be multiplied by a strength; give a regularizer "
                "that is not scheduled itself",
                attr="regularizer",
            )
        check_rate(strength, "strength", owner)
        self.strength: Any = float(strength) if is_number(strength) else strength  # type: ignore

    def __call__(self, weights: Any) -> tf.Tensor:
        """Return the penalty on ``weights`` at this training step, a scalar."""
        return self._scaled(self.regularizer(weights))

    @property
    def of_rates(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """The penalty on rates in Hz, of shape (examples, neurons), where that is scheduled."""
        of_rates = self.regularizer.of_rates  # which only regularizers of rates have
        return lambda rates: self._scaled(of_rates(rates))

    def _scaled(self, penalty: Any) -> tf.Tensor:
        penalty = tf.convert_to_tensor(penalty)
        step = clock.step() if callable(self.strength) else None
        return penalty * tf.cast(clock.value_at(self.strength, step), penalty.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make the same regularizer again."""
        strength = self.strength
        if callable(strength):
            strength = tf.keras.optimizers.schedules.serialize(strength)
        regularizer = tf.keras.regularizers.serialize(self.regularizer)
        return {"regularizer": regularizer, "strength": strength}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Scheduled:
        """Return the regularizer that has a configuration."""
        strength = config["strength"]
        if isinstance(strength, dict):
            strength = tf.keras.optimizers.schedules.deserialize(strength)
        with tf.keras.utils.custom_object_scope(OURS):
            return cls(tf.keras.regularizers.deserialize(config["regularizer"]), strength)


def unscheduled(regularizer: Any) -> Any:
    """Return what a regularizer multiplies by a strength, or itself where it does not."""
    return regularizer.regularizer if isinstance(regularizer, Scheduled) else regularizer
