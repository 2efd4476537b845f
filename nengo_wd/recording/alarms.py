"""What a recorder warns of: weights, decays and strengths that are not what they should be."""

from __future__ import annotations

import warnings
from typing import Iterator

import nengo_dl
import numpy as np

from nengo_wd import seam
from nengo_wd.optimizers.fractions import Fault
from nengo_wd.optimizers.steps import faults_of
from nengo_wd.parameters import Parameter
from nengo_wd.penalties import on_parameters
from nengo_wd.recording.record import Measured
from nengo_wd.seam import state
from nengo_wd.strengths import live

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
        self._penalties = live.with_any(on_parameters.of_settings(sim))
        self._bad: set[str] = set()

    def check(self, step: int) -> None:
        """Warn of what is bad, and was good so far."""
        found = {fault.parameter.name: fault.reason for fault in self._faults()}
        penalties = [] if state.is_proximal(self.sim) else self._penalties
        bad = live.faults(self.sim, penalties)
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

    def _faults(self) -> Iterator[Fault]:
        for optimizer in seam.optimizers.in_use(self.sim):
            yield from faults_of(optimizer)
