"""One record: the step, the loss, and the measured norms and penalties."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Measured(NamedTuple):
    """What was measured at one time.

    Attributes
    ----------
    channel_sums : dict of {str: np.ndarray}
        The `CHANNEL_SUMS`, by name: of shape (n_channels,), parameter after parameter.
    starts : np.ndarray of int
        The place of each parameter's first channel; of shape (n_parameters,).
    penalties : np.ndarray
        The penalty on each parameter, zero where there is none; of shape (n_parameters,).
    total_penalty : float
        The sum of all penalties in the simulator, whichever parameters are measured.
    """

    channel_sums: dict[str, np.ndarray]
    starts: np.ndarray
    penalties: np.ndarray
    total_penalty: float

    @property
    def channel_norms(self) -> np.ndarray:
        """L2 norms of the output channels; of shape (n_channels,)."""
        return np.sqrt(self.channel_sums["squares"])

    def over_channels(self, name: str, combine: np.ufunc) -> np.ndarray:
        """Return the channels' sums, combined for each parameter; of shape (n_parameters,)."""
        return combine.reduceat(self.channel_sums[name], self.starts)


class Record(NamedTuple):
    """What was recorded at one time."""

    step: int
    epoch: float
    loss: float
    measured: Measured

    def differs_from(self, step: int, measured: Measured) -> bool:
        """Tell whether this is about another step, or other weights."""
        here, there = self.measured.channel_norms, measured.channel_norms
        return self.step != step or not np.allclose(here, there, 0, 0, equal_nan=True)
