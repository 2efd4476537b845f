"""What figures show: the parameters and records that are asked for."""

from __future__ import annotations

from typing import Any, Sequence, Union

import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd.parameters import selection
from nengo_wd.recording.history import History, ShowsHistory

Recorded = Union[History, ShowsHistory]  # what figures are made of
MOST_ROWS = 5  # of records, unless more are asked for


def parameters_to_plot(history: Recorded, which: Any, where: str = "") -> list[str]:
    """Return the names of the parameters that are meant."""
    if not isinstance(history, (History, ShowsHistory)):
        raise ValidationError(f"expected a WeightNorms, got {history!r}{where}", attr="history")
    if not len(history.steps):
        raise ValidationError(
            f"nothing was recorded{where}; call record(), or give the WeightNorms to sim.fit as a "
            "callback",
            attr="history",
        )
    asked = which if isinstance(which, (list, tuple)) else [which]
    found = [name for one in asked for name in _names_of(history, one, where)]
    if not found:
        raise ValidationError(f"which={which!r} holds nothing to plot", attr="which")
    return list(dict.fromkeys(found))


def _names_of(history: Recorded, one: Any, where: str) -> list[str]:
    if one is None:
        return history.names
    if isinstance(one, str):
        found = [name for name in history.names if name == one]
    else:
        meant = selection.matching(list(history.parameters.values()), one)
        found = [name for name, p in history.parameters.items() if p in meant]
    if not found:
        raise ValidationError(
            f"nothing was recorded of {one!r}{where}, but only of {', '.join(history.names)}",
            attr="which",
        )
    return found


def records_to_plot(history: Recorded, records: int | Sequence[int] | None) -> list[int]:
    """Return the places of the records to plot."""
    n_records = len(history.steps)
    if records is None:
        return np.unique(np.linspace(0, n_records - 1, MOST_ROWS).round().astype(int)).tolist()
    rows = np.atleast_1d(records).tolist()
    known = range(-n_records, n_records)
    if not rows or any(row not in known for row in rows):
        raise ValidationError(
            f"records={records} must be places among the {n_records} records", attr="records"
        )
    return [int(row) for row in rows]
