"""The strengths of regularizers that are variables or schedules, and what is wrong with them."""

from __future__ import annotations

from typing import Any, Iterator, Sequence, Tuple

import nengo_dl
import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd._checks import is_live
from nengo_wd._parameters import Parameter
from nengo_wd._strengths.now import now
from nengo_wd.regularizers import Scheduled
from nengo_wd.regularizers.lookup import STRENGTHS

Regularized = Sequence[Tuple[Parameter, Any]]  # parameters, each with its regularizer


def with_any(regularized: Regularized) -> list[tuple[Parameter, Any]]:
    """Return those parameters whose regularizers have a strength that is no number."""
    return [(parameter, one) for parameter, one in regularized if _strengths(one)]


def faults(sim: nengo_dl.Simulator, regularized: Regularized) -> Iterator[tuple[Parameter, str]]:
    """Yield parameters and what is wrong with strengths that are negative now, or not finite."""
    for parameter, regularizer in regularized:
        strengths = _strengths(regularizer)
        for (name, _), value in zip(strengths, now(sim, [strength for _, strength in strengths])):
            if value is not None and not (np.isfinite(value) and value >= 0):
                what = f"the strength {name}={value} of the regularizer of {parameter.name}"
                yield parameter, f"{what} must be a finite number, zero or above"


def check(sim: nengo_dl.Simulator, regularized: Regularized) -> None:
    """Raise if a strength that is a variable or schedule is negative now, or not finite."""
    for _, fault in faults(sim, with_any(regularized)):
        raise ValidationError(fault, attr="regularizer")


def _strengths(regularizer: Any) -> list[tuple[str, Any]]:
    """Return the strengths of a regularizer that are variables or schedules, with their names."""
    named = [(name, getattr(regularizer, name, None)) for name in STRENGTHS]
    found = [(name, strength) for name, strength in named if is_live(strength)]
    if not isinstance(regularizer, Scheduled):
        return found
    if callable(regularizer.strength):
        found.append(("strength", regularizer.strength))
    return found + _strengths(regularizer.regularizer)
