"""What a recorder warns of: weights, decays and strengths that are not what they should be."""

from __future__ import annotations

import warnings
from typing import Any, Iterator

import nengo_dl
import numpy as np

from nengo_wd import _seam as seam
from nengo_wd._parameters import Parameter
from nengo_wd._penalties.on_parameters import Penalty
from nengo_wd._strengths import live
from nengo_wd.optimizers.steps import Fault, faults_of
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


class SettingsAlarm:
    """Warns of decays and strengths that became bad, of each only once while it stays so.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator.
    """

    def __init__(self, sim: nengo_dl.Simulator) -> None:
        self.sim = sim
        self._looked_at: list[Penalty] = []
        self._penalties: list[tuple[Parameter, Any]] = []
        self._bad: set[str] = set()

    def check(self, step: int, penalties: list[Penalty]) -> None:
        """Warn of what is bad, of an optimizer or of penalties, and was good so far."""
        found = {fault.parameter.name: fault.reason for fault in self._faults()}
        bad = live.faults(self.sim, self._with_live_strengths(penalties))
        found.update({f"the regularizer of {one.name}": reason for one, reason in bad})
        new = [reason for name, reason in found.items() if name not in self._bad]
        self._bad = set(found)
        if new:
            more = f"; and {len(new) - MOST_NAMED} more" if len(new) > MOST_NAMED else ""
            warnings.warn(
                f"at step {step}, {'; '.join(new[:MOST_NAMED])}{more}",
                RuntimeWarning,
                stacklevel=2,
            )

    def _with_live_strengths(self, penalties: list[Penalty]) -> list[tuple[Parameter, Any]]:
        """Return the parameters that are penalized by schedules and variables."""
        if penalties is not self._looked_at:
            found = [(penalty.parameter, penalty.regularizer) for penalty in penalties]
            self._looked_at, self._penalties = penalties, live.with_any(found)
        return self._penalties

    def _faults(self) -> Iterator[Fault]:
        for optimizer in seam.optimizers.in_use(self.sim):
            yield from faults_of(optimizer)
