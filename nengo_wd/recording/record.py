"""One record: the step, the loss, and what was measured."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Measured(NamedTuple):
    """What was measured at one time.

    Attributes
    ----------
    channel_sums : dict of {str: np.ndarray}
        The `CHANNEL_SUMS`, by name: of shape (n_channels,), parameter after parameter.
    starts : np.ndarray of int
        The place of each parameter's first channel; of shape (n_parameters,).
    sizes : np.ndarray of int
        The number of weights of each parameter; of shape (n_parameters,).
    penalties : np.ndarray
        The penalty on each parameter, zero where there is none; of shape (n_parameters,).
    total_penalty : float
        The sum of all penalties in the simulator, whichever parameters are measured.
    multipliers : np.ndarray
        The multiplier of each parameter's target norm, NaN where there is none; of shape
        (n_parameters,).
    target_norms : np.ndarray
        The target norm of each parameter, NaN where there is none so far; of shape
        (n_parameters,).
    """

    channel_sums: dict[str, np.ndarray]
    starts: np.ndarray
    sizes: np.ndarray
    penalties: np.ndarray
    total_penalty: float
    multipliers: np.ndarray
    target_norms: np.ndarray

    @property
    def channel_norms(self) -> np.ndarray:
        """L2 norms of the output channels; of shape (n_channels,)."""
        return np.sqrt(self.channel_sums["squares"])

    def over_channels(self, name: str, combine: np.ufunc) -> np.ndarray:
        """Return the channels' sums, combined for each parameter; of shape (n_parameters,)."""
        return combine.reduceat(self.channel_sums[name], self.starts)

    def mean_over_channels(self, values: np.ndarray) -> np.ndarray:
        """Return the mean over each parameter's channels; of shape (n_parameters,)."""
        totals = np.add.reduceat(values, self.starts)
        return totals / np.diff([*self.starts, len(values)])

    @property
    def compared(self) -> np.ndarray:
        """What is equal where nothing has changed."""
        return self.channel_norms


class Summed(NamedTuple):
    """What is kept of something `Measured` without its channels: the columns of tables, by name."""

    columns: dict[str, np.ndarray]
    total_penalty: float


class MeasuredRates(NamedTuple):
    """What was measured of firing rates at one time: those of neurons in Hz, by probe."""

    rates: dict[str, np.ndarray]

    @property
    def compared(self) -> np.ndarray:
        """What is equal where nothing has changed."""
        return np.concatenate(list(self.rates.values()))


class Record(NamedTuple):
    """What was recorded at one time.

    Attributes
    ----------
    step : int
        Batches trained on before.
    epoch : float
        Epochs of ``sim.fit`` ended before.
    loss : float
        The loss that training minimizes, NaN where it is not known.
    measured : Measured or MeasuredRates
        What was measured.
    activities : dict of {str: float}
        The penalties on what probes record, by name, as Keras reports them beside the loss.
    """

    step: int
    epoch: float
    loss: float
    measured: Any
    activities: dict[str, float] = {}

    def differs_from(self, step: int, measured: Any) -> bool:
        """Tell whether this is about another step, or other weights as far as these are known."""
        if isinstance(self.measured, Summed):
            return self.step != step
        here, there = self.measured.compared, measured.compared
        return self.step != step or not np.allclose(here, there, 0, 0, equal_nan=True)
