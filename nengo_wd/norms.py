"""Norms and penalties of many parameters, computed all at once."""

from __future__ import annotations

from typing import Any, Iterable, NamedTuple

import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd import penalties, seam
from nengo_wd.parameters import Parameter
from nengo_wd.penalties import sum_rows


class Measured(NamedTuple):
    """What was measured at one time."""

    channel_norms: np.ndarray  # (n_channels,), parameter after parameter
    norms: np.ndarray  # (n_parameters,)
    penalties: np.ndarray  # (n_parameters,), zero where there is none
    total_penalty: float  # of the simulator, whichever parameters are measured


class Measurement:
    """The norms and penalties of parameters: one computation for each variable, one fetch."""

    def __init__(self, sim: nengo_dl.Simulator, parameters: list[Parameter]) -> None:
        self.sim = sim
        self.starts = np.cumsum([0, *(parameter.n_channels for parameter in parameters)])
        self._by_variable = _by_variable(parameters)
        self._settings = penalties.expressions(penalties.of_settings(sim))
        self._own = [penalty for penalty in map(penalties.of_layer, parameters) if penalty]
        self._channel_order = self._order_of_channels(parameters)
        self._penalty_order = self._order_of_penalties(parameters)
        self.has_settings = bool(self._settings)
        self.penalized = bool(self._settings or seam.penalties(sim))
        self._fetch = seam.compiled(sim, self._compute)

    def __call__(self) -> Measured:
        """Measure the parameters as they are now."""
        fetched = self._fetch()
        squares, by_penalty = np.split(fetched, self.starts[-1:])
        squares = squares[self._channel_order]
        return Measured(
            channel_norms=np.sqrt(squares),
            norms=np.sqrt(np.add.reduceat(squares, self.starts[:-1])),
            penalties=by_penalty[self._penalty_order],
            total_penalty=float(by_penalty[-2]),
        )

    def _compute(self) -> tf.Tensor:
        """Return sums of squares by channel, penalties by parameter, their total, and a zero."""
        squares = [channel_squares(parameters) for parameters in self._by_variable]
        settings = [penalty.by_parameter() for penalty in self._settings]
        own = [penalty.by_parameter() for penalty in self._own]
        of_layers = [penalty.value for penalty in seam.penalties(self.sim)]
        total = sum(tf.cast(tf.reduce_sum(part), tf.float64) for part in [*settings, *of_layers])
        parts = [*squares, *settings, *own, total, 0.0]
        return tf.concat([tf.reshape(tf.cast(part, tf.float64), (-1,)) for part in parts], axis=0)

    def _order_of_channels(self, parameters: list[Parameter]) -> np.ndarray:
        """Return where the channels of each parameter are among those that are computed."""
        start, places = 0, {}
        for parameter in (p for group in self._by_variable for p in group):
            places[parameter.key] = np.arange(start, start + parameter.n_channels)
            start += parameter.n_channels
        return np.concatenate([places[parameter.key] for parameter in parameters])

    def _order_of_penalties(self, parameters: list[Parameter]) -> list[int]:
        """Return where the penalty on each parameter is: at the zero in the end if it has none."""
        computed = (p.key for penalty in [*self._settings, *self._own] for p in penalty.parameters)
        places = {key: i for i, key in enumerate(computed)}
        return [places.get(parameter.key, -1) for parameter in parameters]


def channel_squares(parameters: list[Parameter]) -> tf.Tensor:
    """Return the sum of squares of each output channel of parameters in one variable.

    The channels follow one another, parameter after parameter.
    """
    variable = parameters[0].variable
    # in float32, the sums over a million rows would be off by 2e-4, and the squares of small
    # or large weights would be zero or infinite
    by_row = sum_rows(tf.square(tf.cast(variable, tf.float64)), parameters[0].channels.axes)
    groups, n_groups = np.full(int(variable.shape[0]), -1), 0  # rows of nobody are left out
    for parameter in parameters:
        groups[parameter.rows] = n_groups + parameter.channels.rows
        n_groups += parameter.channels.n_groups
    return tf.reshape(tf.math.unsorted_segment_sum(by_row, groups, n_groups), (-1,))


def _by_variable(parameters: Iterable[Parameter]) -> list[list[Parameter]]:
    found: dict[Any, list[Parameter]] = {}
    for parameter in parameters:
        found.setdefault(id(parameter.variable), []).append(parameter)
    return list(found.values())
