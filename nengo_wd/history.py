"""What was recorded of weights while they were trained."""

from __future__ import annotations

import csv
import os
from typing import Any, Iterator, NamedTuple

import numpy as np

from nengo_wd.norms import Measured
from nengo_wd.parameters import Parameter


class Record(NamedTuple):
    """What was recorded at one time."""

    step: int
    epoch: float
    loss: float
    measured: Measured

    @property
    def shares(self) -> np.ndarray:
        """What part of the loss the penalties are; of shape (n_parameters,)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.measured.penalties / np.float64(self.loss)

    def differs_from(self, step: int, measured: Measured) -> bool:
        """Tell whether this is about another step, or other weights."""
        here, there = self.measured.channel_norms, measured.channel_norms
        return self.step != step or not np.allclose(here, there, 0, 0, equal_nan=True)


class Row(NamedTuple):
    """A row of the table: one parameter at one time."""

    step: int
    epoch: float
    loss: float
    name: str
    norm: float
    channel_mean: float
    channel_max: float
    penalty: float
    share: float


class History:
    """The records of a `WeightNorms`, as arrays and as a table.

    Attributes
    ----------
    parameters : dict of {str: Parameter}
        What is recorded, by name; the order is that of the columns of the arrays.
    """

    def __init__(self, parameters: dict[str, Parameter]) -> None:
        self.parameters = parameters
        self._records: list[Record] = []

    @property
    def names(self) -> list[str]:
        """Names of the parameters, such as ``"readout.weights"``."""
        return list(self.parameters)

    @property
    def steps(self) -> np.ndarray:
        """Batches trained on before each record; int, of shape (n_records,)."""
        return np.array([record.step for record in self._records], int)

    @property
    def epochs(self) -> np.ndarray:
        """Epochs of ``sim.fit`` ended before each record; of shape (n_records,)."""
        return np.array([record.epoch for record in self._records], float)

    @property
    def losses(self) -> np.ndarray:
        """The loss that training minimizes; of shape (n_records,).

        In ``sim.fit`` that is the mean over the batches of the epoch so far, as Keras reports
        it. NaN where it is not known: before training, and where `record` was not told.
        """
        return np.array([record.loss for record in self._records], float)

    @property
    def norms(self) -> np.ndarray:
        """L2 norms of the parameters; of shape (n_records, n_parameters)."""
        return self._stack([record.measured.norms for record in self._records])

    @property
    def penalties(self) -> np.ndarray:
        """Penalties on the parameters, in the units of the loss, zero where there is none.

        Of shape (n_records, n_parameters).
        """
        return self._stack([record.measured.penalties for record in self._records])

    @property
    def shares(self) -> np.ndarray:
        """Penalties over losses, NaN where those are not known.

        Of shape (n_records, n_parameters).
        """
        return self._stack([record.shares for record in self._records])

    @property
    def total_penalties(self) -> np.ndarray:
        """Sums of all penalties in the simulator; of shape (n_records,)."""
        return np.array([record.measured.total_penalty for record in self._records], float)

    @property
    def channel_norms(self) -> dict[str, np.ndarray]:
        """L2 norms by output channel: of each parameter, by name, (n_records, n_channels)."""
        n_channels = sum(parameter.n_channels for parameter in self.parameters.values())
        channels = [record.measured.channel_norms for record in self._records]
        return self._split_channels(np.reshape(channels, (-1, n_channels)))

    @property
    def last_channel_norms(self) -> dict[str, np.ndarray]:
        """L2 norms by output channel in the last record, by name, of shape (n_channels,)."""
        return self._split_channels(self._records[-1].measured.channel_norms)

    def _stack(self, rows: list[np.ndarray]) -> np.ndarray:
        return np.reshape(rows, (-1, len(self.parameters)))

    def _split_channels(self, norms: np.ndarray) -> dict[str, np.ndarray]:
        """Split norms by channel, along the last axis, into those of each parameter."""
        sizes = [parameter.n_channels for parameter in self.parameters.values()]
        return dict(zip(self.names, np.split(norms, np.cumsum(sizes[:-1]), axis=-1)))

    def rows(self) -> Iterator[Row]:
        """Yield the rows of the table that `to_csv` writes, as named tuples."""
        norms, penalties, shares = self.norms, self.penalties, self.shares
        channels = self.channel_norms
        for i, (step, epoch, loss, _) in enumerate(self._records):
            for j, name in enumerate(self.names):
                by_channel = channels[name][i].mean(), channels[name][i].max()
                values = (norms[i, j], *by_channel, penalties[i, j], shares[i, j])
                yield Row(step, epoch, loss, name, *map(float, values))

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write a table, with a row for each record and parameter.

        Parameters
        ----------
        path : str or path-like
            Where to write. The columns are step, epoch, loss, name, norm, channel_mean and
            channel_max (of the norms by output channel), penalty and share (of the loss).
        """
        with open(path, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(Row._fields)
            writer.writerows(self.rows())

    def to_frame(self) -> Any:
        """Return the table that `to_csv` writes as a ``pandas.DataFrame``.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_frame needs pandas: pip install pandas") from error

        return pandas.DataFrame(self.rows(), columns=Row._fields)
