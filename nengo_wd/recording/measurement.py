"""What is recorded of weights and rates: how weights are measured, and the columns of tables.

A new row of `COLUMNS` or `RATE_COLUMNS` appears in the tables, as ``history.column(name)`` and in
TensorBoard. A new row of `CHANNEL_SUMS` measures more of the weights themselves.
"""

from __future__ import annotations

import itertools
from typing import Any, Callable, Iterable, NamedTuple

import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd import _seam as seam
from nengo_wd._parameters import Parameter
from nengo_wd._parameters.parameter import sum_rows
from nengo_wd._penalties import penalty_of_layer, with_live_strengths
from nengo_wd._simulators import Carried, counting_penalties
from nengo_wd.optimizers import constrained

SILENT = 0.1  # Hz: a neuron with a lower rate, over all the data, is silent

# Functions of the elements of weights that are summed over each output channel, in float64.
CHANNEL_SUMS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "squares": tf.square,
    "nonzeros": lambda weights: tf.cast(tf.not_equal(weights, 0), weights.dtype),
}


class MeasuredWeights(NamedTuple):
    """What was measured of all parameters at one time, in arrays of shape (n_parameters,)."""

    channel_sums: dict[str, np.ndarray]  # by name, of all channels in order; may be left out
    starts: np.ndarray  # the place of each parameter's first channel
    sizes: np.ndarray  # the number of weights of each parameter
    penalties: np.ndarray  # zero for a parameter without one
    total_penalty: float  # the sum of all penalties on weights in the simulator, recorded or not
    multipliers: np.ndarray  # of target norms, NaN for a parameter without one
    target_norms: np.ndarray  # NaN for a parameter without one so far
    activities: dict[str, float] = {}  # the penalties on what probes record, by name

    @property
    def parts(self) -> Any:
        """L2 norms of the output channels, of shape (n_channels,); None if they are left out."""
        return np.sqrt(self.channel_sums["squares"]) if self.channel_sums else None

    def over_channels(self, name: str) -> np.ndarray:
        """Return the channels' sums, added up for each parameter; of shape (n_parameters,)."""
        return np.add.reduceat(self.channel_sums[name], self.starts)

    def mean_over_channels(self, values: np.ndarray) -> np.ndarray:
        """Return the mean over each parameter's channels; of shape (n_parameters,)."""
        return np.add.reduceat(values, self.starts) / np.diff([*self.starts, len(values)])


class MeasuredRates(NamedTuple):
    """What was measured of firing rates at one time, by probe."""

    rates: dict[str, np.ndarray]  # of neurons, in Hz
    gaps: dict[str, float]  # between rates with spikes and in training; NaN if not measured

    @property
    def parts(self) -> np.ndarray:
        """Rates of all neurons in Hz, probe after probe."""
        return np.concatenate(list(self.rates.values()))


class Record(NamedTuple):
    """What was recorded at one time."""

    step: int  # batches trained on before
    epoch: float  # epochs of ``sim.fit`` ended before
    loss: float  # the loss that training minimizes; NaN if it is not known
    measured: Any  # MeasuredWeights or MeasuredRates
    columns: dict[str, np.ndarray]  # of the table, by name

    def differs_from(self, step: int, measured: Any) -> bool:
        """Tell whether the step differs or, if they are known, the measured values."""
        if self.step != step or self.measured.parts is None:
            return self.step != step
        return not np.allclose(self.measured.parts, measured.parts, 0, 0, equal_nan=True)


class Column(NamedTuple):
    """One number for each parameter or probe in each record."""

    name: str  # in tables and in TensorBoard
    values: Callable[[Any, float], np.ndarray]  # from what was measured, and the loss
    in_event_file: bool = True  # whether TensorBoard shows it


def _share(weights: MeasuredWeights, loss: float) -> np.ndarray:
    """Return each penalty over the loss; NaN if the loss is not known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return weights.penalties / np.float64(loss)


def _over_neurons(function: Callable[[np.ndarray], Any]) -> Callable[[Any, float], np.ndarray]:
    """Return a column's function, which applies ``function`` to the rates of each probe."""
    return lambda measured, loss: np.array([function(r) for r in measured.rates.values()], float)


COLUMNS = (
    Column("norm", lambda w, loss: np.sqrt(w.over_channels("squares"))),
    Column("channel_mean", lambda w, loss: w.mean_over_channels(w.parts), False),
    Column("channel_max", lambda w, loss: np.maximum.reduceat(w.parts, w.starts), False),
    Column("penalty", lambda w, loss: w.penalties),
    Column("share", _share),
    Column("multiplier", lambda w, loss: w.multipliers),
    Column("target_norm", lambda w, loss: w.target_norms),
    Column("zeros", lambda w, loss: 1 - w.over_channels("nonzeros") / w.sizes),
    Column("zero_channels", lambda w, loss: w.mean_over_channels(w.channel_sums["nonzeros"] == 0)),
)
RATE_COLUMNS = (
    Column("rate", _over_neurons(np.mean)),
    Column("rate_min", _over_neurons(np.min), False),
    Column("rate_median", _over_neurons(np.median), False),
    Column("rate_max", _over_neurons(np.max), False),
    Column("gap", lambda measured, loss: np.array(list(measured.gaps.values()), float)),
    Column("silent", _over_neurons(lambda rates: np.mean(rates < SILENT))),
)


class Measurement:
    """Measures all parameters at once: one computation for each variable, and one fetch."""

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
        """Measure the current parameters."""
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
        """Build the function that measures, unless it was built for the same penalties."""
        before, counted = self._counted, counting_penalties(self.sim)
        self._counted, self.activities = counted, list(counted.activities)
        if before is None or counted.penalties is not before.penalties:
            found = [(penalty.parameter, penalty.regularizer) for penalty in counted.penalties]
            self.live_strengths = with_live_strengths(found)
        if before is None or counted.layout != before.layout:
            self._settings = counted.terms.expressions
            self._own = [own for own in map(penalty_of_layer, self._parameters) if own]
            # whether there are penalties on weights that count
            self.penalized = bool(self._settings or seam.training.penalties_of_layers(self.sim))
            owners = (p for penalty in [*self._settings, *self._own] for p in penalty.parameters)
            places = {parameter.key: i for i, parameter in enumerate(owners)}
            # -1, the final zero, for a parameter without a penalty
            self._penalty_order = [places.get(parameter.key, -1) for parameter in self._parameters]
            self._fetch = seam.values.compiled_fetch(self.sim, self.packed)

    def packed(self) -> tf.Tensor:
        """Return everything that is measured as one vector, which is computed at each fetch."""
        # in float32, the sums over a million rows would be off by 2e-4, and the squares of small
        # or large weights would be zero or infinite
        variables = [tf.cast(group[0].variable, tf.float64) for group in self._by_variable]
        segments = {}
        for name, function in CHANNEL_SUMS.items():
            sums = map(_sum_channels, map(function, variables), self._by_variable)
            segments[name] = _vector(sums)
        of_layers = seam.training.penalties_of_layers(self.sim)
        segments["settings"] = _vector(penalty.by_parameter() for penalty in self._settings)
        segments["own"] = _vector(penalty.by_parameter() for penalty in self._own)
        segments["of_layers"] = _vector(tf.reduce_sum(penalty.value) for penalty in of_layers)
        lengths = [segment.shape.num_elements() for segment in segments.values()]
        self._ends = dict(zip(segments, np.cumsum(lengths)))
        return tf.concat(list(segments.values()), axis=0)


def _vector(tensors: Iterable[Any]) -> tf.Tensor:
    """Return all elements of some tensors or numbers, in float64."""
    flat = [tf.reshape(tf.cast(one, tf.float64), (-1,)) for one in tensors]
    return tf.concat([tf.zeros(0, tf.float64), *flat], axis=0)


def _sum_channels(values: tf.Tensor, parameters: list[Parameter]) -> tf.Tensor:
    """Return sums of a variable's values over each output channel, parameter after parameter."""
    by_row = sum_rows(values, parameters[0].channels.axes)
    groups, n_groups = np.full(int(values.shape[0]), -1), 0  # rows of no parameter are left out
    for parameter in parameters:
        channels = parameter.channels
        groups[parameter.rows] = n_groups + channels.rows
        n_groups += channels.n_groups
    return tf.reshape(tf.math.unsorted_segment_sum(by_row, groups, n_groups), (-1,))
