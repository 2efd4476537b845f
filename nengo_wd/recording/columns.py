"""What is recorded of each parameter: the one place to add a column.

A column in `COLUMNS` is in the tables of a `History` and, unless it says otherwise, among the
scalars for TensorBoard. ``history.column(name)`` has it as an array. What a column needs to know
of the weights themselves is in `CHANNEL_SUMS`.
"""

from __future__ import annotations

from typing import Callable, NamedTuple

import numpy as np
import tensorflow as tf

from nengo_wd.recording.record import Record, Summed

# Functions of the elements of weights that are summed over each output channel, in float64.
CHANNEL_SUMS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "squares": tf.square,
    "nonzeros": lambda weights: tf.cast(tf.not_equal(weights, 0), weights.dtype),
}


class Column(NamedTuple):
    """One number for each parameter in each record.

    Attributes
    ----------
    name : str
        The column's name in tables and for TensorBoard.
    values : callable
        What returns the numbers of a `Record`, of shape (n_parameters,).
    in_event_file : bool
        Whether TensorBoard shows it.
    """

    name: str
    values: Callable[[Record], np.ndarray]
    in_event_file: bool = True

    def of(self, record: Record) -> np.ndarray:
        """Return the numbers of a record, also of one whose channels were left out."""
        measured = record.measured
        return measured.columns[self.name] if isinstance(measured, Summed) else self.values(record)


def norm(record: Record) -> np.ndarray:
    """Return the L2 norm of each parameter."""
    return np.sqrt(record.measured.over_channels("squares", np.add))


def channel_mean(record: Record) -> np.ndarray:
    """Return the mean of the L2 norms of a parameter's output channels."""
    return record.measured.mean_over_channels(record.measured.channel_norms)


def channel_max(record: Record) -> np.ndarray:
    """Return the largest L2 norm of a parameter's output channels."""
    return np.maximum.reduceat(record.measured.channel_norms, record.measured.starts)


def penalty(record: Record) -> np.ndarray:
    """Return the penalty on each parameter, zero where there is none."""
    return record.measured.penalties


def share(record: Record) -> np.ndarray:
    """Return what part of the loss each penalty is; NaN where the loss is not known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return record.measured.penalties / np.float64(record.loss)


def multiplier(record: Record) -> np.ndarray:
    """Return the multiplier of each parameter's target norm, NaN where there is none."""
    return record.measured.multipliers


def target_norm(record: Record) -> np.ndarray:
    """Return the target norm of each parameter, NaN where there is none so far."""
    return record.measured.target_norms


def zeros(record: Record) -> np.ndarray:
    """Return what part of each parameter's weights is exactly zero."""
    return 1 - record.measured.over_channels("nonzeros", np.add) / record.measured.sizes


def zero_channels(record: Record) -> np.ndarray:
    """Return what part of a parameter's output channels has no weight that is not zero."""
    return record.measured.mean_over_channels(record.measured.channel_sums["nonzeros"] == 0)


COLUMNS = (
    Column("norm", norm),
    Column("channel_mean", channel_mean, in_event_file=False),
    Column("channel_max", channel_max, in_event_file=False),
    Column("penalty", penalty),
    Column("share", share),
    Column("multiplier", multiplier),
    Column("target_norm", target_norm),
    Column("zeros", zeros),
    Column("zero_channels", zero_channels),
)
