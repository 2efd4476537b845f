"""Records of any kind, in the order of their steps: as arrays and as a table."""

from __future__ import annotations

import csv
import operator
import os
from typing import Any, Iterator

import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd._frames import frame
from nengo_wd.recording import table
from nengo_wd.recording.columns import Column
from nengo_wd.recording.record import Record


class Records:
    """Records of things that have names; what they are is up to those who extend this.

    Attributes
    ----------
    columns : tuple of Column
        One number each of everything that has a name, in each record.
    """

    columns: tuple[Column, ...] = ()

    def __init__(self) -> None:
        self._records: list[Record] = []

    @property
    def names(self) -> list[str]:
        """Names of what is recorded, in the order of the columns of the arrays."""
        raise NotImplementedError

    def add(self, record: Record) -> None:
        """Add a record to the end."""
        self._records.append(record)

    def rewind(self, step: int) -> None:
        """Forget the records of later steps, which are taken anew."""
        self._records = [record for record in self._records if record.step <= step]

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self._records)

    @property
    def last(self) -> Record:
        """The last record."""
        if not self._records:
            raise ValidationError(
                "nothing was recorded yet; call record(), or train with the callback in sim.fit",
                attr="history",
            )
        return self._records[-1]

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
        columns = {column.name: column.of for column in self.columns}
        if name not in columns:
            raise ValidationError(f"{name!r} is no column; there are {list(columns)}", attr="name")
        values = columns[name]
        return np.reshape([values(r) for r in self._records], (-1, len(self.names)))

    def rows(self) -> Iterator[Any]:
        """Yield the rows of the table that `to_csv` writes, as named tuples."""
        return table.rows(self._records, self.names, self.columns)

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write a table, with a row for each record and name.

        Parameters
        ----------
        path : str or path-like
            Where to write, in UTF-8. The columns are step, epoch, loss, name, and those that
            `column` knows.
        """
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(table.fields(self.columns))
            writer.writerows(self.rows())

    def to_frame(self) -> Any:
        """Return the table that `to_csv` writes as a ``pandas.DataFrame``.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return frame(self.rows(), columns=table.fields(self.columns))

    def scalars(self, record: Record) -> dict[str, float]:
        """Return what TensorBoard shows of a record as numbers, by tag."""
        values = {"loss": record.loss}
        for column in self.columns:
            if column.in_event_file:
                of_names = zip(self.names, column.of(record))
                values.update({f"{name}/{column.name}": value for name, value in of_names})
        return values

    def histograms(self, record: Record) -> dict[str, np.ndarray]:
        """Return what TensorBoard shows of the last record as histograms, by tag."""
        raise NotImplementedError


def of_history(kind: type, name: str) -> Any:
    """Return a property that shows an attribute of a history of a kind."""
    shown = property(operator.attrgetter(f"history.{name}"))
    shown.__doc__ = getattr(kind, name, shown).__doc__
    return shown


class ShowsRecords:
    """A mixin that shows the attributes and methods of its history as its own."""

    history: Any

    names: list[str] = of_history(Records, "names")
    steps: np.ndarray = of_history(Records, "steps")
    epochs: np.ndarray = of_history(Records, "epochs")
    losses: np.ndarray = of_history(Records, "losses")

    def column(self, name: str) -> np.ndarray:
        """Return a column of the table as an array, as ``history.column`` does."""
        return self.history.column(name)

    def rows(self) -> Iterator[Any]:
        """Yield the rows of the table that `to_csv` writes, as named tuples."""
        return self.history.rows()

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write the table to a file, as ``history.to_csv`` does."""
        self.history.to_csv(path)

    def to_frame(self) -> Any:
        """Return the table that `to_csv` writes as a ``pandas.DataFrame``."""
        return self.history.to_frame()
