"""Norms and penalties of many parameters, computed all at once."""

from __future__ import annotations

import itertools
from typing import Any, Iterable

import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd import _seam as seam
from nengo_wd._parameters import Parameter
from nengo_wd._parameters.parameter import sum_rows
from nengo_wd._penalties import penalty_of_layer, with_live_strengths
from nengo_wd._simulators import Carried, counting_penalties
from nengo_wd.optimizers import constrained
from nengo_wd.recording.columns import CHANNEL_SUMS, MeasuredWeights


class Measurement:
    """Measures norms and penalties: one computation for each variable, one fetch for all."""

    def __init__(self, sim: nengo_dl.Simulator, parameters: list[Parameter]) -> None:
        self.sim, self._parameters = sim, parameters
        self._starts = np.cumsum([0, *(p.n_channels for p in parameters[:-1])])
        self._sizes = np.array([np.prod(p.shape) for p in parameters])
        computed = sorted(parameters, key=lambda parameter: parameter.key)
        groups = itertools.groupby(computed, lambda parameter: id(parameter.variable))
        self._by_variable = [list(group) for _, group in groups]
        places = {parameter.key: i for i, parameter in enumerate(parameters)}
        owners = np.repeat([places[p.key] for p in computed], [p.n_channels for p in computed])
        self._channel_order = np.argsort(owners, kind="stable")
        self._counted: Carried | None = None
        self.activities: list[str] = []  # names of the penalties that count on what probes record
        # parameters whose regularizers have strengths that are schedules or variables
        self.live_strengths: list[tuple[Parameter, Any]] = []

    def __call__(self) -> MeasuredWeights:
        """Measure the parameters as they are now."""
        self._build()
        found = dict(zip(self._ends, np.split(self._fetch(), list(self._ends.values())[:-1])))
        multipliers, target_norms = constrained.recorded(self.sim, self._parameters)
        penalties = np.concatenate([found["settings"], found["own"], [0.0]])
        return MeasuredWeights(
            channel_sums={name: found[name][self._channel_order] for name in CHANNEL_SUMS},
            starts=self._starts,
            sizes=self._sizes,
            penalties=penalties[self._penalty_order],
            total_penalty=float(found["settings"].sum() + found["of_layers"].sum()),
            multipliers=multipliers,
            target_norms=target_norms,
        )

    def _build(self) -> None:
        """Build the function that measures, unless it is built for the same penalties."""
        before, counted = self._counted, counting_penalties(self.sim)
        self._counted, self.activities = counted, list(counted.activities)
        if before is None or counted.penalties is not before.penalties:
            found = [(penalty.parameter, penalty.regularizer) for penalty in counted.penalties]
            self.live_strengths = with_live_strengths(found)
        if before is not None and counted.layout == before.layout:
            return
        self._settings = counted.terms.expressions
        self._own = [own for own in map(penalty_of_layer, self._parameters) if own]
        # whether there are penalties on weights that count
        self.penalized = bool(self._settings or seam.training.penalties_of_layers(self.sim))
        computed = (p.key for penalty in [*self._settings, *self._own] for p in penalty.parameters)
        places = {key: i for i, key in enumerate(computed)}
        # -1, a final zero, for a parameter without one
        self._penalty_order = [places.get(parameter.key, -1) for parameter in self._parameters]
        self._fetch = seam.values.compiled_fetch(self.sim, self.packed)

    def packed(self) -> tf.Tensor:
        """Return all that is measured as one vector, which is computed anew at each fetch."""
        of_layers = seam.training.penalties_of_layers(self.sim)
        segments = {
            **self._channel_sums(),
            "settings": _vector(penalty.by_parameter() for penalty in self._settings),
            "own": _vector(penalty.by_parameter() for penalty in self._own),
            "of_layers": _vector(tf.reduce_sum(penalty.value) for penalty in of_layers),
        }
        lengths = [segment.shape.num_elements() for segment in segments.values()]
        self._ends = dict(zip(segments, np.cumsum(lengths)))
        return tf.concat(list(segments.values()), axis=0)

    def _channel_sums(self) -> dict[str, tf.Tensor]:
        """Return the sums over output channels by name, variable after variable."""
        # in float32, the sums over a million rows would be off by 2e-4, and the squares of small
        # or large weights would be zero or infinite
        variables = [tf.cast(group[0].variable, tf.float64) for group in self._by_variable]
        found = {}
        for name, function in CHANNEL_SUMS.items():
            values = map(function, variables)
            found[name] = _vector(map(sum_channels, values, self._by_variable))
        return found


def _vector(tensors: Iterable[Any]) -> tf.Tensor:
    """Return all elements of some tensors or numbers, in float64."""
    flat = [tf.reshape(tf.cast(one, tf.float64), (-1,)) for one in tensors]
    return tf.concat([tf.zeros(0, tf.float64), *flat], axis=0)


def sum_channels(values: tf.Tensor, parameters: list[Parameter]) -> tf.Tensor:
    """Return the sum of ``values`` over each output channel of parameters in one variable.

    The values are those of the variable's elements, in its shape. The channels follow one
    another, parameter after parameter.
    """
    by_row = sum_rows(values, parameters[0].channels.axes)
    groups, n_groups = np.full(int(values.shape[0]), -1), 0  # rows of no parameter are left out
    for parameter in parameters:
        channels = parameter.channels
        groups[parameter.rows] = n_groups + channels.rows
        n_groups += channels.n_groups
    return tf.reshape(tf.math.unsorted_segment_sum(by_row, groups, n_groups), (-1,))
