"""The records of weights, as arrays and as tables."""

from __future__ import annotations

import csv
import operator
import os
from typing import Any, Iterator, NamedTuple

import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd.parameters import Parameter
from nengo_wd.recording import table
from nengo_wd.recording.columns import COLUMNS
from nengo_wd.recording.record import Record


class Remembered(NamedTuple):
    """What a history that was copied or loaded knows of a parameter, without a simulator."""

    name: str
    shape: tuple[int, ...]
    n_channels: int
    obj: Any = None
    layer: Any = None


class Records:
    """Records in the order of their steps, of which a copy does without the simulator."""

    def __init__(self, parameters: dict[str, Parameter]) -> None:
        self.parameters = parameters
        self._records: list[Record] = []

    def add(self, record: Record) -> None:
        """Add a record to the end."""
        self._records.append(record)

    def rewind(self, step: int) -> None:
        """Forget the records of later steps, which are taken anew."""
        self._records = [record for record in self._records if record.step <= step]

    def __getstate__(self) -> dict[str, Any]:
        """Return the records, and what is known of the parameters without the simulator."""
        known = self.parameters.items()
        remembered = {name: Remembered(p.name, p.shape, p.n_channels) for name, p in known}
        return {**vars(self), "parameters": remembered}

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self._records)

    @property
    def last(self) -> Record:
        """The last record."""
        return self._records[-1]


class History(Records):
    """What a `nengo_wd.WeightNorms` recorded, as arrays and as a table.

    A history can be copied and pickled. A copy knows names and shapes of the parameters, and
    neither their objects nor their values: these belong to the simulator.

    Attributes
    ----------
    parameters : dict of {str: Parameter}
        What is recorded, by name; the order is that of the columns of the arrays.
    """

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
        it. NaN where it is not known: before training, and where ``record`` was not told.
        """
        return np.array([record.loss for record in self._records], float)

    @property
    def norms(self) -> np.ndarray:
        """L2 norms of the parameters; of shape (n_records, n_parameters)."""
        return self.column("norm")

    @property
    def penalties(self) -> np.ndarray:
        """Penalties on the parameters, in the units of the loss, zero where there is none.

        Of shape (n_records, n_parameters).
        """
        return self.column("penalty")

    @property
    def shares(self) -> np.ndarray:
        """Penalties over losses, NaN where those are not known.

        Of shape (n_records, n_parameters).
        """
        return self.column("share")

    @property
    def total_penalties(self) -> np.ndarray:
        """Sums of all penalties in the simulator; of shape (n_records,)."""
        return np.array([record.measured.total_penalty for record in self._records], float)

    @property
    def channel_norms(self) -> dict[str, np.ndarray]:
        """L2 norms by output channel: of each parameter, by name, (n_records, n_channels)."""
        n_channels = sum(parameter.n_channels for parameter in self.parameters.values())
        channels = [record.measured.channel_norms for record in self._records]
        return self.split_channels(np.reshape(channels, (-1, n_channels)))

    @property
    def last_channel_norms(self) -> dict[str, np.ndarray]:
        """L2 norms by output channel in the last record, by name, of shape (n_channels,)."""
        return self.split_channels(self.last.measured.channel_norms)

    def column(self, name: str) -> np.ndarray:
        """Return one column of the table as an array.

        Parameters
        ----------
        name : str
            The column: "norm", "channel_mean", "channel_max", "penalty" or "share".

        Returns
        -------
        values : np.ndarray
            Of shape (n_records, n_parameters).

        Raises
        ------
        nengo.exceptions.ValidationError
            If there is no such column.
        """
        columns = {column.name: column.values for column in COLUMNS}
        if name not in columns:
            raise ValidationError(f"{name!r} is no column; there are {list(columns)}", attr="name")
        values = columns[name]
        return np.reshape([values(r) for r in self._records], (-1, len(self.parameters)))

    def split_channels(self, norms: np.ndarray) -> dict[str, np.ndarray]:
        """Split norms by channel, along the last axis, into those of each parameter."""
        sizes = [parameter.n_channels for parameter in self.parameters.values()]
        return dict(zip(self.names, np.split(norms, np.cumsum(sizes[:-1]), axis=-1)))

    def rows(self) -> Iterator[Any]:
        """Yield the rows of the table that `to_csv` writes, as named tuples."""
        return table.rows(self._records, self.names)

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
            writer.writerow(table.FIELDS)
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

        return pandas.DataFrame(self.rows(), columns=table.FIELDS)


def _of_history(name: str) -> Any:
    """Return a property that shows an attribute of the history."""
    shown = property(operator.attrgetter(f"history.{name}"))
    shown.__doc__ = getattr(History, name, shown).__doc__
    return shown


class ShowsHistory:
    """A mixin that shows the attributes and methods of its history as its own."""

    history: History

    parameters: dict[str, Parameter] = _of_history("parameters")
    names: list[str] = _of_history("names")
    steps: np.ndarray = _of_history("steps")
    epochs: np.ndarray = _of_history("epochs")
    losses: np.ndarray = _of_history("losses")
    norms: np.ndarray = _of_history("norms")
    penalties: np.ndarray = _of_history("penalties")
    shares: np.ndarray = _of_history("shares")
    total_penalties: np.ndarray = _of_history("total_penalties")
    channel_norms: dict[str, np.ndarray] = _of_history("channel_norms")
    last_channel_norms: dict[str, np.ndarray] = _of_history("last_channel_norms")

    def column(self, name: str) -> np.ndarray:
        """Return a column of the table as an array, as `nengo_wd.recording.History.column` does."""
        return self.history.column(name)

    def rows(self) -> Iterator[Any]:
        """Yield the rows of the table that `to_csv` writes, as named tuples."""
        return self.history.rows()

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write the table to a file, as `nengo_wd.recording.History.to_csv` does."""
        self.history.to_csv(path)

    def to_frame(self) -> Any:
        """Return the table that `to_csv` writes as a ``pandas.DataFrame``."""
        return self.history.to_frame()
