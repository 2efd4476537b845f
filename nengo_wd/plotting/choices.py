"""What figures show: the parameters, probes and records that are asked for."""

from __future__ import annotations

from typing import Any, Callable, Sequence, Union

import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd._parameters import selection
from nengo_wd.recording.history import History, ShowsHistory
from nengo_wd.recording.rate_history import RateHistory, ShowsRates

Recorded = Union[History, ShowsHistory]  # what figures are made of
RecordedRates = Union[RateHistory, ShowsRates]
MOST_ROWS = 5  # of records, unless more are asked for


def parameters_to_plot(history: Recorded, which: Any, where: str = "") -> list[str]:
    """Return the names of the parameters that are meant."""
    _check_recorded(history, isinstance(history, (History, ShowsHistory)), "WeightNorms", where)
    return _meant(which, lambda one: _names_of(history, one, where))


def probes_to_plot(history: RecordedRates, which: Any) -> list[str]:
    """Return the names of the probes that are meant."""
    _check_recorded(history, isinstance(history, (RateHistory, ShowsRates)), "NeuronRates")
    return _meant(which, lambda one: _names_of_probes(history, one))


def _check_recorded(history: Any, is_one: bool, name: str, where: str = "") -> None:
    """Raise unless there are records, of the kind that has a name."""
    if not is_one:
        raise ValidationError(f"expected a {name}, got {history!r}{where}", attr="history")
    if not len(history.steps):
        raise ValidationError(
            f"nothing was recorded{where}; call record(), or give the {name} to sim.fit as a "
            "callback",
            attr="history",
        )


def _meant(which: Any, names_of: Callable[[Any], list[str]]) -> list[str]:
    """Return the names of all that is asked for, each of them once."""
    asked = which if isinstance(which, (list, tuple)) else [which]
    found = [name for one in asked for name in names_of(one)]
    if not found:
        raise ValidationError(f"which={which!r} holds nothing to plot", attr="which")
    return list(dict.fromkeys(found))


def _names_of_probes(history: RecordedRates, one: Any) -> list[str]:
    if one is None:
        return history.names
    found = [name for name, p in history.probes.items() if one is p or one == name]
    return found or _nothing(history, one)


def _names_of(history: Recorded, one: Any, where: str) -> list[str]:
    if one is None:
        return history.names
    if isinstance(one, str):
        found = [name for name in history.names if name == one]
    else:
        meant = selection.matching(list(history.parameters.values()), one)
        found = [name for name, p in history.parameters.items() if p in meant]
    return found or _nothing(history, one, where)


def _nothing(history: Any, one: Any, where: str = "") -> list[str]:
    """Raise: nothing was recorded of what is asked for."""
    raise ValidationError(
        f"nothing was recorded of {one!r}{where}, but only of {', '.join(history.names)}",
        attr="which",
    )


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
