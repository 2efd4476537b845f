"""What a recorder warns of: weights that are not finite."""

from __future__ import annotations

import warnings

import numpy as np

from nengo_wd.parameters import Parameter
from nengo_wd.recording.record import Measured

MOST_NAMED = 10  # parameters in one warning


class FiniteAlarm:
    """Warns of parameters that are no longer finite, of each only once while it stays so.

    Parameters
    ----------
    parameters : dict of {str: Parameter}
        What is looked at, by name, in the order of what is measured.
    """

    def __init__(self, parameters: dict[str, Parameter]) -> None:
        self.parameters = parameters
        self._broken: set[str] = set()

    def check(self, measured: Measured, step: int) -> None:
        """Warn of the parameters that are not finite, and were so far."""
        finite = np.isfinite(measured.over_channels("squares", np.add))
        broken = {name for name, is_finite in zip(self.parameters, finite) if not is_finite}
        new = [name for name in self.parameters if name in broken - self._broken]
        self._broken = broken
        if new:
            found = [_how_many(name, self.parameters[name]) for name in new[:MOST_NAMED]]
            more = f", and {len(new) - MOST_NAMED} more" if len(new) > MOST_NAMED else ""
            warnings.warn(
                f"weights are not finite at step {step}: {', '.join(found)}{more}",
                RuntimeWarning,
                stacklevel=2,
            )


def _how_many(name: str, parameter: Parameter) -> str:
    return f"{np.sum(~np.isfinite(parameter.value))} of the {np.prod(parameter.shape)} in {name}"
