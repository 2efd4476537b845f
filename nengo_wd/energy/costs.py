"""Counts as joules on devices."""

from __future__ import annotations

from typing import Any

from nengo_wd._frames import frame
from nengo_wd.energy import devices
from nengo_wd.energy.table import Row, Table


class Costs:
    """What one example costs, of what was counted."""

    def __init__(self, table: Table) -> None:
        self._table = table

    @staticmethod
    def register_device(
        name: str, energy_per_synop: float, energy_per_neuron: float, spiking: bool
    ) -> None:
        """Add a device, or give one other figures, for all that is asked from now on.

        Parameters
        ----------
        name : str
            What the device is called.
        energy_per_synop, energy_per_neuron : float
            What a synaptic event and the update of a neuron take, in joules.
        spiking : bool
            Whether a synapse works for spikes only, and not at each update.

        Raises
        ------
        nengo.exceptions.ValidationError
            If a figure is no number of joules, zero or above.
        """
        devices.register(name, energy_per_synop, energy_per_neuron, spiking)

    def total(self, device: str, inputs: bool = True) -> float:
        """Return the joules that one example takes on a device.

        Parameters
        ----------
        device : str
            The device, one of those above or of those registered.
        inputs : bool
            Whether synapses from Nodes count.

        Raises
        ------
        nengo.exceptions.ValidationError
            If there is no such device, with those that there are.
        """
        return sum(row.joules[device] for row in self._rows(inputs, device) if row.is_counted)

    def _rows(self, inputs: bool, *names: str) -> list[Row]:
        return self._table.rows({name: devices.get(name) for name in names}, inputs)

    def by_object(self, device: str, inputs: bool = True) -> dict[str, float]:
        """Return the joules that one example takes on a device, by the name of the object."""
        return {row.name: row.joules[device] for row in self._rows(inputs, device)}

    def to_frame(self, inputs: bool = True) -> Any:
        """Return a table with a row for each object, for one example, as a ``pandas.DataFrame``.

        The columns are name, neurons, updates, synapses, events, the joules on each device, such as
        joules_loihi, and note: what is special about the object. What is not counted is NaN.

        Parameters
        ----------
        inputs : bool
            Whether synapses from Nodes count.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return frame([row.flat() for row in self._rows(inputs, *devices.devices)])
