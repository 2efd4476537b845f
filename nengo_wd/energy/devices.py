"""Devices, and the joules that they spend on one example."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple

import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd import _checks as checks
from nengo_wd._checks import frame

PICO, NANO = 1e-12, 1e-9


class Device(NamedTuple):
    """Joules of a synaptic event and of an update; with spikes, a device can skip zeros."""

    energy_per_synop: float
    energy_per_neuron: float
    spiking: bool


# The docstring of `Energy` has the same figures.
devices: dict[str, Device] = {
    # Degnan, Marr, Hasler (2016): a multiply-accumulate for each event and for each update
    "cpu": Device(8.6 * NANO, 8.6 * NANO, spiking=False),
    "gpu": Device(0.3 * NANO, 0.3 * NANO, spiking=False),
    "arm": Device(0.9 * NANO, 0.9 * NANO, spiking=False),
    # Davies et al. (2018): 23.6 pJ for a synaptic operation and 3.5 pJ for its way within a tile
    "loihi": Device((23.6 + 3.5) * PICO, 81 * PICO, spiking=True),
    # Hoeppner et al. (2019)
    "spinnaker": Device(13.3 * NANO, 26 * NANO, spiking=True),
    "spinnaker2": Device(450 * PICO, 2.19 * NANO, spiking=True),
}


def get_device(name: Any) -> Device:
    """Return a device by its name, or raise an error that lists all names."""
    if not isinstance(name, str) or name not in devices:
        fault = f"{name!r} is not a device"
        hint = f"there are {', '.join(devices)}, and Energy.register_device adds others"
        raise ValidationError(f"{fault}; {hint}", attr="device")
    return devices[name]


def _joules(value: Any, attr: str, name: str) -> float:
    """Return a figure as a number, or raise if it is not finite, zero or above."""
    if not checks.is_number(value) or not 0 <= value < np.inf:
        message = f"device {name!r}: {attr}={value!r} must be a number of joules, zero or above"
        raise ValidationError(message, attr=attr)
    return float(value)


class Count:
    """Counts for one object: all neurons and synapses, and those kept if zeros are skipped."""

    def __init__(self) -> None:
        self.neurons = np.zeros(2, int)  # all of them, and those that are kept
        # for each neuron, 1 and the synapses that leave it; and, if it is kept, 1 and their events
        self.by_neuron: np.ndarray | None = None  # of shape (2, 2, neurons)
        self.from_neurons = np.zeros(3)  # all synapses, those that are kept, and events of these
        self.from_nodes = np.zeros(3)  # the same for synapses that leave Nodes
        self.notes: list[str] = []
        self.is_known = True

    def synapses(self, inputs: bool) -> np.ndarray:
        """Return all synapses, those that are kept, and events, with inputs or without."""
        return self.from_neurons + (self.from_nodes if inputs else 0)


class Costs:
    """The costs of one example, from a count for each object, by name."""

    def __init__(self, counts: Mapping[str, Count], n_steps: int, passes: int) -> None:
        self._counts, self.n_steps, self._passes = counts, n_steps, passes

    @staticmethod
    def register_device(
        name: str, energy_per_synop: float, energy_per_neuron: float, spiking: bool
    ) -> None:
        """Add a device, or change its figures, for all later results.

        Parameters
        ----------
        name : str
            The name of the device.
        energy_per_synop, energy_per_neuron : float
            Joules for a synaptic event, and for an update of a neuron.
        spiking : bool
            Whether a synapse takes energy only for spikes, and not at each update.

        Raises
        ------
        nengo.exceptions.ValidationError
            If an argument has a wrong type, or a figure is negative or not finite.
        """
        if not isinstance(name, str) or not name:
            raise ValidationError(
                f"the name of a device must be a string, not {name!r}", attr="name"
            )
        if not isinstance(spiking, (bool, np.bool_)):
            raise ValidationError(
                f"device {name!r}: spiking={spiking!r} must be True, if synapses work for spikes "
                "only, or False",
                attr="spiking",
            )
        per_synop = _joules(energy_per_synop, "energy_per_synop", name)
        per_neuron = _joules(energy_per_neuron, "energy_per_neuron", name)
        devices[name] = Device(per_synop, per_neuron, bool(spiking))

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
            If there is no such device.
        """
        return float(np.nansum([*self.by_object(device, inputs).values()]))

    def by_object(self, device: str, inputs: bool = True) -> dict[str, float]:
        """Return the joules that one example takes on a device, by the name of the object."""
        found = get_device(device)
        return {name: self._joules(count, found, inputs) for name, count in self._counts.items()}

    def by_neuron(self, device: str) -> dict[str, np.ndarray]:
        """Return the joules that each neuron takes in one example, by the name of its object.

        This includes its updates, and the events of its spikes at the synapses that leave it,
        whichever object these belong to. The sum over all neurons is the total without inputs. An
        event counts for the neuron that sends it. For neurons behind a convolution,
        ``joules.reshape(-1, n_channels).sum(axis=0)`` returns the joules of each channel.

        Parameters
        ----------
        device : str
            The device, one of those above or of those registered.

        Returns
        -------
        joules : dict of {str: np.ndarray}
            Arrays of shape (n_neurons,), for all objects that have neurons.

        Raises
        ------
        nengo.exceptions.ValidationError
            If there is no such device.
        """
        found, counts = get_device(device), self._counts.items()
        with_neurons = ((n, one.by_neuron) for n, one in counts if one.by_neuron is not None)
        if found.spiking:
            prices = found.energy_per_neuron * self.n_steps, found.energy_per_synop
            return {name: np.dot(prices, kept) for name, (_, kept) in with_neurons}
        prices = found.energy_per_neuron * self._passes, found.energy_per_synop * self._passes
        return {name: np.dot(prices, every) for name, (every, _) in with_neurons}

    def to_frame(self, inputs: bool = True) -> Any:
        """Return a table with a row for each object, for one example, as a ``pandas.DataFrame``.

        The columns are name, neurons, updates, synapses, events, the joules on each device, such as
        joules_loihi, and note: what is special about the object. Values that are not counted are
        NaN.

        Parameters
        ----------
        inputs : bool
            Whether synapses from Nodes count.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return frame([self._row(name, count, inputs) for name, count in self._counts.items()])

    def _row(self, name: str, count: Count, inputs: bool) -> dict[str, Any]:
        neurons, (_, synapses, events) = int(count.neurons[1]), count.synapses(inputs)
        numbers = [neurons, neurons * self.n_steps, int(synapses), float(events)]
        columns = ("neurons", "updates", "synapses", "events")
        row = dict(zip(columns, numbers if count.is_known else [np.nan] * 4))
        joules = {f"joules_{k}": self._joules(count, d, inputs) for k, d in devices.items()}
        return {"name": name, **row, **joules, "note": "; ".join(count.notes)}

    def _joules(self, count: Count, device: Device, inputs: bool) -> float:
        """Return the joules of an object; NaN, if it could not be counted."""
        if not count.is_known:
            return np.nan
        (neurons, kept), (synapses, _, events) = count.neurons, count.synapses(inputs)
        if device.spiking:
            synops, updates = events, kept * self.n_steps
        else:
            synops, updates = synapses * self._passes, neurons * self._passes
        return float(device.energy_per_synop * synops + device.energy_per_neuron * updates)
