"""What is recorded of the firing rates of each probe: the one place to add a column."""

from __future__ import annotations

import functools
from typing import Callable

import numpy as np

from nengo_wd.recording.columns import Column
from nengo_wd.recording.record import Record

SILENT = 0.1  # Hz: what fires less, over all the data, is silent


def silent(rates: np.ndarray) -> np.ndarray:
    """Return what share of neurons, along the last axis, fires less than `SILENT`."""
    return np.mean(rates < SILENT, axis=-1)


def over_neurons(function: Callable[[np.ndarray], np.ndarray], record: Record) -> np.ndarray:
    """Return a function of the rates of each probe's neurons."""
    return np.array([function(rates) for rates in record.measured.rates.values()], float)


def _column(name: str, function: Callable, **kwargs: bool) -> Column:
    return Column(name, functools.partial(over_neurons, function), **kwargs)


RATE_COLUMNS = (
    _column("rate", np.mean),
    _column("rate_min", np.min, in_event_file=False),
    _column("rate_median", np.median, in_event_file=False),
    _column("rate_max", np.max, in_event_file=False),
    _column("silent", silent),
)
