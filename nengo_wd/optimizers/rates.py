"""Settings such as a weight decay, as values by row of the variables that hold the weights."""

from __future__ import annotations

from typing import Any

import nengo_dl
import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd import _parameters as parameters
from nengo_wd._checks import check_called_now, check_trains, is_number
from nengo_wd._parameters import Parameter
from nengo_wd._strengths.rows import RowValues


class Rates:
    """One setting of all objects in a simulator, such as ``"weight_decay"``, by variable.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator, which trains its weights.
    name : str
        Name of the setting.
    unset : float
        The value of rows for which nothing is set.

    Attributes
    ----------
    by_variable : dict of {int: RowValues}
        The values, by the ids of the variables.
    found : dict of {int: list of (Parameter, value)}
        The settings that the values were taken from.

    Raises
    ------
    nengo.exceptions.ValidationError
        If the simulator is for inference only, or a setting has nothing to work on.
    """

    def __init__(self, sim: nengo_dl.Simulator, name: str, unset: float = 0.0) -> None:
        check_trains(sim)
        self.sim, self.name = sim, name
        self.found = self._read()
        self.by_variable = {
            key: RowValues(sim, settings[0][0].variable, _by_rows(settings), unset)
            for key, settings in self.found.items()
        }

    def changed(self) -> dict[int, list]:
        """Return the settings as they are now, all of them fit to be taken on."""
        check_called_now()
        found = self._read()
        new = [s[0][0].name for key, s in found.items() if key not in self.by_variable]
        if new or self._symbolic(found) != self._symbolic(self.found):
            raise ValidationError(
                f"{', '.join(new) or 'a schedule or variable'} was not among the settings for "
                f"{self.name} when the optimizer was made; make the optimizer anew",
                attr=self.name,
            )
        return found

    def take(self, found: dict[int, list]) -> None:
        """Take on settings that are `changed`, without building anything anew."""
        for key, rows in self.by_variable.items():
            rows.take(_by_rows(found.get(key, [])))
        self.found = found

    def _read(self) -> dict[int, list]:
        found: dict[int, list] = {}
        for parameter, value in parameters.with_setting(self.sim, self.name):
            found.setdefault(id(parameter.variable), []).append((parameter, value))
        return found

    @staticmethod
    def _symbolic(found: dict[int, list]) -> list:
        """Return the rows and ids of the values that are built into the training step."""
        return [
            (parameter.key, id(value))
            for settings in found.values()
            for parameter, value in settings
            if not is_number(value)
        ]


def each(found: dict[int, list]) -> list[tuple[Parameter, Any]]:
    """Return the settings of all variables."""
    return [setting for settings in found.values() for setting in settings]


def _by_rows(settings: list[tuple[Parameter, Any]]) -> list[tuple[np.ndarray, Any]]:
    """Return the values of settings with the rows that they are for."""
    return [(parameter.rows, value) for parameter, value in settings]
