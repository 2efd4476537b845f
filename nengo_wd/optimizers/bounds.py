"""Bounds of norms by object, and the multipliers that keep the norms there."""

from __future__ import annotations

from typing import Any, NamedTuple

import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd import _seam as seam
from nengo_wd._checks import is_number
from nengo_wd._parameters import Parameter
from nengo_wd._parameters.sums import norms_of_groups
from nengo_wd._seam import state
from nengo_wd.target_norms import AtStep, InflectionPoint, OfInitial

MEMORY = 0.99  # of the average of the norm
LEAST_GROWTH = 0.01  # of the average in an interval, at an inflection point
LEAST_FACTOR = float(np.finfo(np.float32).tiny)


class Progress(NamedTuple):
    """What is remembered from step to step, of shape (n_objects,) each, and saved.

    Attributes
    ----------
    steps : tf.Tensor
        How many steps were taken.
    multiplier : tf.Tensor
        The multipliers.
    found : tf.Tensor
        The norm that the bound is made of, where it is not a number; NaN until it is found.
    average : tf.Tensor
        The moving average of the norm.
    last_average : tf.Tensor
        The average at the end of the last interval.
    last_growth : tf.Tensor
        How much the average grew in that interval, relative to what it is then.
    """

    steps: Any
    multiplier: Any
    found: Any
    average: Any
    last_average: Any
    last_growth: Any


class Bounds:
    r"""The bounds of all objects in a variable, as vectors with a value for each object.

    .. math::

        \lambda \leftarrow \max(0, \lambda + (\|w\|^2 - \kappa) / n), \qquad
        w \leftarrow (1 - 2 \lambda) w

    with :math:`\kappa` the square of the target norm and :math:`n` the number of elements. Where
    :math:`2 \lambda > 1`, weights are scaled to the target, and :math:`\lambda` becomes zero.

    All is in float64. Objects without a target norm are among them, because what is saved must
    not depend on settings.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator.
    parameters : list of Parameter
        All that is in one variable.
    targets : dict of {tuple: target norm}
        The target norms, by the keys of the parameters.

    Attributes
    ----------
    variable : tf.Variable
        The variable.
    progress : tf.Variable
        What `Progress` has, of shape (n_fields, n_objects).
    """

    def __init__(
        self, sim: nengo_dl.Simulator, parameters: list[Parameter], targets: dict[tuple, Any]
    ) -> None:
        self.parameters, self.variable = parameters, parameters[0].variable
        wanted = [targets.get(parameter.key) for parameter in parameters]
        self._wanted = [target is not None for target in wanted]
        self._numbers = np.array([t if is_number(t) else np.nan for t in wanted], float)
        self._factors = _each(wanted, OfInitial, "factor", 1.0)
        self._initial = np.array([isinstance(target, OfInitial) for target in wanted])
        self._at_step = _each(wanted, AtStep, "step", np.inf)
        self._every = _each(wanted, InflectionPoint, "every", np.inf)
        self._sizes = np.array([np.prod(p.shape) for p in parameters], float)
        self._object_of_row = np.full(int(self.variable.shape[0]), len(parameters))  # of nobody
        for number, parameter in enumerate(parameters):
            self._object_of_row[parameter.rows] = number
        start = np.zeros((len(Progress._fields), len(parameters)))
        start[Progress._fields.index("found")] = np.nan
        self.progress = seam.values.state_variable(sim, start)

    def begin(self) -> list[Any]:
        """Take the initial norms before the first step; return what is to be waited for."""
        if not self._initial.any():
            return []
        now = self._now()
        missing = self._initial & tf.math.is_nan(now.found)
        norms = tf.cond(tf.reduce_any(missing), self._norms, lambda: tf.zeros_like(now.found))
        missing &= norms > 0
        return [self._take(now._replace(found=_where(missing, norms, now.found)))]

    def constrain(self) -> list[Any]:
        """Take a step; return what is to be waited for."""
        before, norms = self._now(), self._norms()
        now = before._replace(steps=before.steps + 1)
        multiplier, factors = self._constrained(now, norms)
        now = self._found(now._replace(multiplier=multiplier), norms)
        # for TensorFlow 1, in which a value that was read may change with its variable
        with tf.control_dependencies([factors]):
            taken = self._take(now)
        is_above = tf.reduce_any(tf.not_equal(factors, 1.0))
        return [taken, seam.values.multiply_if(is_above, self.variable, self._over_rows(factors))]

    def _over_rows(self, factors: tf.Tensor) -> tf.Tensor:
        """Return the factors of objects in a shape that fits the variable's."""
        # a row of nobody has the factor after the last one
        by_row = tf.gather(tf.concat([factors, tf.ones(1, factors.dtype)], 0), self._object_of_row)
        by_row = tf.reshape(by_row, [-1] + [1] * (self.variable.shape.rank - 1))
        return tf.cast(by_row, self.variable.dtype.base_dtype)

    def recorded(self, progress: np.ndarray) -> dict[tuple[int, int], list]:
        """Return multipliers and target norms at some progress, by parameter; NaN for none."""
        now = Progress(*progress)
        target = self._target(now.found, np.where)
        multiplier = np.where(self._wanted, now.multiplier, np.nan)
        return {p.key: values for p, *values in zip(self.parameters, multiplier, target)}

    def _target(self, found: Any, where: Any) -> Any:
        """Return the target norms; NaN where there are none, or none were found so far."""
        return where(np.isnan(self._numbers), self._factors * found, self._numbers)

    def _constrained(self, now: Progress, norms: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the new multipliers, and what weights are multiplied by."""
        target = self._target(now.found, _where)
        excess = (tf.square(norms) - tf.square(target)) / self._sizes
        is_bound = tf.math.is_finite(target)
        multiplier = tf.maximum(_where(is_bound, now.multiplier + excess, 0.0), 0.0)
        turns = 2 * multiplier > 1
        scaled = tf.maximum(target / norms, LEAST_FACTOR)
        factors = _where(turns, scaled, 1 - 2 * multiplier)
        multiplier = _where(turns, tf.zeros_like(multiplier), multiplier)
        return multiplier, _where(is_bound & (norms > 0), factors, 1.0)

    def _found(self, now: Progress, norms: tf.Tensor) -> Progress:
        """Return the progress with the bounds that are found at this step."""
        due = (now.steps >= self._at_step) & (norms > 0)  # a bound of zero would be no bound
        if np.isfinite(self._every).any():
            slower, now = self._looked_at_growth(now, norms)
            due |= slower & (norms > 0)
        return now._replace(found=_where(tf.math.is_nan(now.found) & due, norms, now.found))

    def _looked_at_growth(self, now: Progress, norms: tf.Tensor) -> tuple[tf.Tensor, Progress]:
        """Return which norms are at an inflection point, and the progress of their averages."""
        averages = MEMORY * now.average + (1 - MEMORY) * norms
        averages = _where(now.steps >= self._every, averages, norms)
        intervals = now.steps / self._every
        ends = tf.equal(tf.math.floormod(now.steps, self._every), 0.0) & (intervals > 1)
        growth = (averages - now.last_average) / averages
        slower = (now.last_growth > growth) & (growth > LEAST_GROWTH) & (intervals > 3)
        return ends & slower, now._replace(
            average=averages,
            last_average=_where(ends, averages, now.last_average),
            last_growth=_where(ends & (intervals > 2), growth, now.last_growth),
        )

    def _norms(self) -> tf.Tensor:
        """Return the norm of each object."""
        weights = self.variable.read_value()
        return norms_of_groups(weights, self._object_of_row, len(self.parameters))

    def _now(self) -> Progress:
        return Progress(*tf.unstack(self.progress.read_value()))

    def _take(self, progress: Progress) -> Any:
        return self.progress.assign(tf.stack(progress), read_value=False)


def recorded(sim: nengo_dl.Simulator, parameters: list[Parameter]) -> np.ndarray:
    """Return the multiplier and the target norm of each parameter now, of shape (2, n_parameters).

    They are NaN where there are none, or none yet.
    """
    kept = list(state.of(sim).bounds.values())
    found: dict[tuple[int, int], Any] = {}
    for bounds, progress in zip(kept, seam.values.fetch(sim, [one.progress for one in kept])):
        found.update(bounds.recorded(progress))
    return np.array([found.get(p.key, (np.nan, np.nan)) for p in parameters], float).T


def _each(wanted: list, way: type, attr: str, otherwise: float) -> np.ndarray:
    """Return an attribute of those target norms that are of a way."""
    return np.array([getattr(w, attr) if isinstance(w, way) else otherwise for w in wanted], float)


_where = tf.compat.v2.where  # which broadcasts, also in TensorFlow 1.15
