"""The table of all records: a row for each record and parameter."""

from __future__ import annotations

import collections
from typing import Any, Iterable, Iterator

from nengo_wd.recording.columns import COLUMNS
from nengo_wd.recording.record import Record

FIELDS = ["step", "epoch", "loss", "name", *(column.name for column in COLUMNS)]
Row = collections.namedtuple("Row", FIELDS)  # type: ignore[misc]


def rows(records: Iterable[Record], names: list[str]) -> Iterator[Any]:
    """Yield the rows, as named tuples."""
    for record in records:
        columns = (map(float, column.values(record)) for column in COLUMNS)
        for name, *values in zip(names, *columns):
            yield Row._make([record.step, record.epoch, record.loss, name, *values])
