"""Histories: records in the order of their steps, as arrays and as a table."""

from __future__ import annotations

import collections
import csv
import os
from typing import Any, Iterator, NamedTuple

import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd import _parameters as parameters
from nengo_wd._checks import frame
from nengo_wd._parameters import Parameter
from nengo_wd.recording.measurement import COLUMNS, Column, Record


class Records:
    """Records of things that have names and parts; others may share the list of ``records``."""

    columns: tuple[Column, ...] = ()

    def __init__(self, n_parts: dict[str, int], records: list[Record] | None = None) -> None:
        self._n_parts = n_parts  # by name, in the order of all that is recorded
        self._records = [] if records is None else records

    @property
    def names(self) -> list[str]:
        """Names of what is recorded, in the order of the columns of the arrays."""
        return list(self._n_parts)

    def add(self, step: int, epoch: float, loss: float, measured: Any) -> None:
        """Add a record to the end."""
        columns = {column.name: column.values(measured, loss) for column in self.columns}
        self._records.append(Record(step, epoch, loss, measured, columns))

    def rewind(self, step: int) -> None:
        """Forget the records of later steps."""
        self._records[:] = [record for record in self._records if record.step <= step]

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self._records)

    @property
    def last(self) -> Record:
        """The last record."""
        if not self._records:
            remedy = "call record(), or train with the callback in sim.fit"
            raise ValidationError(f"nothing was recorded yet; {remedy}", attr="history")
        return self._records[-1]

    @property
    def steps(self) -> np.ndarray:
        """Batches trained on before each record; int, of shape (n_records,)."""
        return np.array([record.step for record in self._records], int)

    @property
    def epochs(self) -> np.ndarray:
        """Finished epochs of ``sim.fit`` before each record; of shape (n_records,)."""
        return np.array([record.epoch for record in self._records], float)

    @property
    def losses(self) -> np.ndarray:
        """The loss that training minimizes; of shape (n_records,).

        In ``sim.fit`` that is the mean over the batches of the epoch so far, as Keras reports it.
        NaN if it is not known: before training, and if ``record`` got no loss.
        """
        return np.array([record.loss for record in self._records], float)

    def column(self, name: str) -> np.ndarray:
        """Return one column of the table as an array.

        Parameters
        ----------
        name : str
            The column, by its name in the table: one of those after ``"name"``.

        Returns
        -------
        values : np.ndarray
            Of shape (n_records, n_names).

        Raises
        ------
        nengo.exceptions.ValidationError
            If there is no such column.
        """
        known = [column.name for column in self.columns]
        if name not in known:
            raise ValidationError(f"{name!r} is not a column; there are {known}", attr="name")
        return np.reshape([r.columns[name] for r in self._records], (-1, len(self.names)))

    @property
    def _fields(self) -> list[str]:
        return ["step", "epoch", "loss", "name", *(column.name for column in self.columns)]

    def rows(self) -> Iterator[Any]:
        """Yield the rows of the table that `to_csv` writes, as named tuples."""
        row_type: Any = collections.namedtuple
        row = row_type("Row", self._fields)
        for record in self._records:
            columns = [map(float, record.columns[column.name]) for column in self.columns]
            for name, *values in zip(self.names, *columns):
                yield row(record.step, record.epoch, record.loss, name, *values)

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write a table, with a row for each record and name.

        Parameters
        ----------
        path : str or path-like
            Where to write, in UTF-8. Columns are step, epoch, loss, name, and those of `column`.
        """
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(self._fields)
            writer.writerows(self.rows())

    def to_frame(self) -> Any:
        """Return the table that `to_csv` writes as a ``pandas.DataFrame``.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return frame(self.rows(), columns=self._fields)

    def _by_name(self, values: Any) -> dict[str, np.ndarray]:
        """Split values of all parts along the last axis, by the name of their owner."""
        ends = np.cumsum(list(self._n_parts.values()))
        return dict(zip(self.names, np.split(values, ends[:-1], axis=-1)))

    def _parts(self) -> dict[str, np.ndarray]:
        """Return what was measured of parts, by name, in arrays of shape (n_records, n_parts)."""
        values = [record.measured.parts for record in self._records]
        return self._by_name(np.reshape(values, (len(self), sum(self._n_parts.values()))))

    def scalars(self) -> dict[str, float]:
        """Return the numbers of the last record that TensorBoard shows, by tag."""
        values = {"loss": self.last.loss}
        for column in self.columns:
            if column.in_event_file:
                tags = (f"{name}/{column.name}" for name in self.names)
                values.update(zip(tags, self.last.columns[column.name]))
        return values


def column_of(name: str, doc: str) -> Any:
    """Return a property that is a column of the table."""
    doc = f"{doc} Of shape (n_records, n_names), in the order of ``names``."
    return property(lambda records: records.column(name), doc=doc)


class Remembered(NamedTuple):
    """What a copied or loaded history knows of a parameter, without its simulator."""

    name: str
    shape: tuple[int, ...]
    n_channels: int
    obj: Any = None
    layer: Any = None


class History(Records):
    """What a `nengo_wd.WeightNorms` recorded, as arrays and as a table.

    You can copy and pickle it. A copy knows the names and shapes of the parameters, but not their
    objects or values, because these belong to the simulator.

    Attributes
    ----------
    parameters : dict of {str: Parameter}
        What is recorded, by name, in the order of the columns of the arrays.
    channels : bool
        Whether all records keep the norms of output channels, or only the last one.
    """

    columns = COLUMNS

    def __init__(
        self,
        parameters: dict[str, Parameter],
        channels: bool = True,
        records: list[Record] | None = None,
    ) -> None:
        super().__init__({name: p.n_channels for name, p in parameters.items()}, records)
        self.parameters, self.channels = parameters, channels

    def add(self, step: int, epoch: float, loss: float, measured: Any) -> None:
        """Add a record to the end; with ``channels=False``, drop the channels of the one before."""
        if not self.channels and self._records:
            less = self.last.measured._replace(channel_sums={})
            self._records[-1] = self.last._replace(measured=less)
        super().add(step, epoch, loss, measured)

    def __getstate__(self) -> dict[str, Any]:
        """Return the records, and what the parameters are without the simulator."""
        known = {n: Remembered(p.name, p.shape, p.n_channels) for n, p in self.parameters.items()}
        return {**vars(self), "parameters": known}

    norms: np.ndarray = column_of("norm", "L2 norms of the parameters.")
    penalties: np.ndarray = column_of("penalty", "Penalties, in the units of the loss, or zero.")
    shares: np.ndarray = column_of("share", "Penalties over losses, NaN where those are unknown.")

    @property
    def total_penalties(self) -> np.ndarray:
        """Sums of all penalties on weights in the simulator; of shape (n_records,)."""
        return np.array([record.measured.total_penalty for record in self._records], float)

    @property
    def activity_penalties(self) -> dict[str, np.ndarray]:
        """Penalties on what probes record: of each probe, by name, of shape (n_records,).

        Keras reports them next to the loss, as means over the batches of the epoch so far. NaN if
        they are not known: before training, and in ``record``.
        """
        recorded = [record.measured.activities for record in self._records]
        names = dict.fromkeys(name for activities in recorded for name in activities)
        return {name: np.array([found.get(name, np.nan) for found in recorded]) for name in names}

    @property
    def channel_norms(self) -> dict[str, np.ndarray]:
        """L2 norms by output channel: of each parameter, by name, (n_records, n_channels)."""
        self._check_channels(self.channels)
        return self._parts()

    @property
    def last_channel_norms(self) -> dict[str, np.ndarray]:
        """L2 norms by output channel in the last record, by name, of shape (n_channels,)."""
        self._check_channels(self.last.measured.parts is not None)
        return self._by_name(self.last.measured.parts)

    def _check_channels(self, are_kept: bool) -> None:
        """Raise if the norms of channels were left out."""
        if not are_kept:
            fault = "channels=False keeps the norms of channels only in the newest record"
            remedy = "make the WeightNorms with channels=True to have those of all records"
            raise ValidationError(f"{fault}; {remedy}", attr="channels")

    def scalars(self) -> dict[str, float]:
        """Return the numbers of the last record that TensorBoard shows, by tag."""
        measured = self.last.measured
        on_probes = {f"{name}/penalty": value for name, value in measured.activities.items()}
        return {"penalty": measured.total_penalty, **on_probes, **super().scalars()}

    def histograms(self) -> dict[str, np.ndarray]:
        """Return the current weights, and the norms of their output channels, by tag."""
        weights = parameters.parameter_values(self.parameters.values())
        found = {f"{name}/values": values for name, values in zip(self.names, weights)}
        channels = self.last_channel_norms.items()
        return {**found, **{f"{name}/channel_norms": norms for name, norms in channels}}
