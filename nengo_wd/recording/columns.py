"""The columns that are recorded of each parameter and of each probe.

A new row of `COLUMNS` or `RATE_COLUMNS` appears in the tables, as ``history.column(name)`` and in
TensorBoard. A new row of `CHANNEL_SUMS` measures more of the weights themselves.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

import numpy as np
import tensorflow as tf

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
