"""The table of all records: a row for each record and name."""

from __future__ import annotations

import collections
import functools
from typing import Any, Iterable, Iterator

from nengo_wd.recording.columns import Column
from nengo_wd.recording.record import Record


def fields(columns: tuple[Column, ...]) -> list[str]:
    """Return the names of the table's columns."""
    return ["step", "epoch", "loss", "name", *(column.name for column in columns)]


@functools.lru_cache(maxsize=None)
def _row(columns: tuple[Column, ...]) -> Any:
    return collections.namedtuple("Row", fields(columns))


def rows(records: Iterable[Record], names: list[str], columns: tuple[Column, ...]) -> Iterator[Any]:
    """Yield the rows, as named tuples."""
    make = _row(columns)._make
    for record in records:
        values_of_names = (map(float, column.of(record)) for column in columns)
        for name, *values in zip(names, *values_of_names):
            yield make([record.step, record.epoch, record.loss, name, *values])
