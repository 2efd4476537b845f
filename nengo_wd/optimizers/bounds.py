"""The bounds of norms, and the multipliers that keep norms there."""

from __future__ import annotations

from typing import Any, List, NamedTuple, Tuple

import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd import _seam as seam
from nengo_wd._checks import is_number
from nengo_wd._parameters import Parameter
from nengo_wd._parameters.parameter import norms_of_groups
from nengo_wd._strengths import LiveArray, where
from nengo_wd.target_norms import AtStep, InflectionPoint, OfInitial

MEMORY = 0.99  # of the average of the norm
LEAST_GROWTH = 0.01  # of the average in an interval, at an inflection point
LEAST_FACTOR = float(np.finfo(np.float32).tiny)
Rules = List[Tuple[np.ndarray, Any]]  # target norms, each with the rows of its object


class Progress(NamedTuple):
    """The state of the constraint, which is saved: tensors of shape (n_objects,)."""

    steps: Any
    multiplier: Any
    found: Any  # the norm that a rule has found, NaN before that
    average: Any  # a moving average of the norm
    last_average: Any  # its value at the end of the last interval
    last_growth: Any  # its growth in that interval, relative to this value


class Bounds:
    """The bounds of all objects in a variable, as vectors in float64 with a value for each object.

    Objects without a target norm are among them, because what is saved must not depend on settings.
    ``values`` are the target norms of the others, each with its rows. ``progress`` is a variable
    with the fields of `Progress`, of shape (n_fields, n_objects).
    """

    def __init__(
        self, among: list[Parameter], sim: nengo_dl.Simulator, variable: tf.Variable, values: Rules
    ) -> None:
        self.variable = variable
        self.objects = objects = [one for one in among if one.variable is variable]
        rules = self._rules(values)
        self._numbers = LiveArray(sim, _as_numbers(rules))
        self._factors = _each(rules, OfInitial, "factor", 1.0)
        self._initial = np.array([isinstance(rule, OfInitial) for rule in rules])
        self._at_step = _each(rules, AtStep, "step", np.inf)
        self._every = _each(rules, InflectionPoint, "every", np.inf)
        self._sizes = np.array([np.prod(one.shape) for one in objects], float)
        self._object_of_row = np.full(int(self.variable.shape[0]), len(objects))  # of no object
        for i, one in enumerate(objects):
            self._object_of_row[one.rows] = i
        start = np.zeros((len(Progress._fields), len(objects)))
        start[Progress._fields.index("found")] = np.nan
        self.progress = seam.values.state_variable(sim, start)

    def update_values(self, values: Rules) -> None:
        """Replace target norms that are numbers by others."""
        self._numbers.assign(_as_numbers(self._rules(values)))

    def _rules(self, values: Rules) -> list[Any]:
        """Return the target norm of each object; None where it has none."""
        targets = {int(rows[0]): target for rows, target in values}
        return [targets.get(int(one.rows[0])) for one in self.objects]

    def begin(self) -> list[Any]:
        """Note the initial norms before the first step; return the operations to wait for."""
        if not self._initial.any():
            return []
        now = Progress(*tf.unstack(self.progress.read_value()))
        missing = self._initial & tf.math.is_nan(now.found)
        norms = tf.cond(tf.reduce_any(missing), self._norms, lambda: tf.zeros_like(now.found))
        now = now._replace(found=where(missing & (norms > 0), norms, now.found))
        return [self.progress.assign(tf.stack(now), read_value=False)]

    def constrain(self) -> list[Any]:
        """Take a step; return the operations to wait for."""
        now, norms = Progress(*tf.unstack(self.progress.read_value())), self._norms()
        now = now._replace(steps=now.steps + 1)
        multiplier, factors = self._constrained(now, norms)
        now = self._found(now._replace(multiplier=multiplier), norms)
        # for TensorFlow 1, in which a value that was read may change with its variable
        with tf.control_dependencies([factors]):
            kept = self.progress.assign(tf.stack(now), read_value=False)
        is_above = tf.reduce_any(tf.not_equal(factors, 1.0))
        # rows of no object get the last factor, 1
        by_row = tf.gather(tf.concat([factors, tf.ones(1, factors.dtype)], 0), self._object_of_row)
        by_row = tf.reshape(by_row, [-1] + [1] * (self.variable.shape.rank - 1))
        by_row = tf.cast(by_row, self.variable.dtype.base_dtype)
        return [kept, seam.values.multiply_if(is_above, self.variable, by_row)]

    def recorded(self, progress: np.ndarray) -> dict[tuple[int, int], list]:
        """Return multipliers and target norms by parameter, at some progress; NaN for none."""
        now, numbers = Progress(*progress), self._numbers.values
        target = np.where(np.isnan(numbers), self._factors * now.found, numbers)
        has_rule = self._initial | np.isfinite(self._at_step) | np.isfinite(self._every)
        multiplier = np.where(has_rule | np.isfinite(numbers), now.multiplier, np.nan)
        return {one.key: values for one, *values in zip(self.objects, multiplier, target)}

    def _constrained(self, now: Progress, norms: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the new multipliers, and the factors of the weights."""
        numbers = self._numbers.tensor()
        target = where(tf.math.is_nan(numbers), self._factors * now.found, numbers)
        excess = (tf.square(norms) - tf.square(target)) / self._sizes
        is_bound = tf.math.is_finite(target)
        multiplier = tf.maximum(where(is_bound, now.multiplier + excess, 0.0), 0.0)
        turns = 2 * multiplier > 1
        scaled = tf.maximum(target / norms, LEAST_FACTOR)
        factors = where(turns, scaled, 1 - 2 * multiplier)
        multiplier = where(turns, tf.zeros_like(multiplier), multiplier)
        return multiplier, where(is_bound & (norms > 0), factors, 1.0)

    def _found(self, now: Progress, norms: tf.Tensor) -> Progress:
        due = (now.steps >= self._at_step) & (norms > 0)  # a bound of zero would be no bound
        if np.isfinite(self._every).any():
            slower, now = self._looked_at_growth(now, norms)
            due |= slower & (norms > 0)
        return now._replace(found=where(tf.math.is_nan(now.found) & due, norms, now.found))

    def _looked_at_growth(self, now: Progress, norms: tf.Tensor) -> tuple[tf.Tensor, Progress]:
        """Return which norms are at an inflection point, and the progress of their averages."""
        averages = MEMORY * now.average + (1 - MEMORY) * norms
        averages = where(now.steps >= self._every, averages, norms)
        intervals = now.steps / self._every
        ends = tf.equal(tf.math.floormod(now.steps, self._every), 0.0) & (intervals > 1)
        growth = (averages - now.last_average) / averages
        slower = (now.last_growth > growth) & (growth > LEAST_GROWTH) & (intervals > 3)
        return ends & slower, now._replace(
            average=averages,
            last_average=where(ends, averages, now.last_average),
            last_growth=where(ends & (intervals > 2), growth, now.last_growth),
        )

    def _norms(self) -> tf.Tensor:
        weights = self.variable.read_value()
        return norms_of_groups(weights, self._object_of_row, len(self.objects))


def _as_numbers(rules: list) -> np.ndarray:
    """Return the target norms that are numbers, and NaN for others."""
    return np.array([rule if is_number(rule) else np.nan for rule in rules], float)


def _each(rules: list, kind: type, attr: str, otherwise: float) -> np.ndarray:
    return np.array([getattr(r, attr) if isinstance(r, kind) else otherwise for r in rules], float)
