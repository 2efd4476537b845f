"""The table of what one example takes: a row for each object."""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping, NamedTuple

import nengo_dl
import numpy as np

from nengo_wd import _names as names
from nengo_wd import _parameters as parameters
from nengo_wd.energy.devices import Device

NAN = float("nan")


class Row(NamedTuple):
    """What an object takes, of one example."""

    name: str
    neurons: float
    updates: float
    synapses: float
    events: float
    joules: dict[str, float]
    note: str

    @property
    def is_counted(self) -> bool:
        """Whether the object could be counted."""
        return self.neurons >= 0  # which NaN is not

    def flat(self) -> dict[str, Any]:
        """Return the row with a column for each device."""
        joules = {f"joules_{device}": value for device, value in self.joules.items()}
        columns = self._asdict()
        note = columns.pop("note")
        del columns["joules"]
        return {**columns, **joules, "note": note}


@dataclasses.dataclass
class Count:
    """What is counted of an object; of synapses without and with those from Nodes.

    Those that are kept are without zeros, where these are left out; ``all`` are with them.
    """

    neurons: int = 0
    all_neurons: int = 0
    synapses: int = 0
    all_synapses: int = 0
    events: float = 0.0
    input_synapses: int = 0
    all_input_synapses: int = 0
    input_events: float = 0.0
    notes: list = dataclasses.field(default_factory=list)
    counted: bool = True


class Table:
    """What is counted by object, in the order in which values flow."""

    def __init__(self, passes: int, n_steps: int) -> None:
        self.passes, self.n_steps = passes, n_steps
        self._counts: dict[str, Count] = {}
        self._names: dict[Any, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return the numbers, without the objects."""
        return {**vars(self), "_names": {}}

    def _of(self, obj: Any) -> Count:
        if obj not in self._names:
            self._names[obj] = _unlike(_name(obj), self._counts)
            self._counts[self._names[obj]] = Count()
        return self._counts[self._names[obj]]

    def add_neurons(self, obj: Any, kept: np.ndarray, spiking: bool) -> None:
        """Add the neurons of an object, of which some are kept."""
        self._of(obj).all_neurons += len(kept)
        self._of(obj).neurons += int(kept.sum())
        if not spiking:
            self.note(obj, "without spikes: an event for each value that is not zero")

    def add_synapses(self, obj: Any, number: int, kept: int, events: float, inputs: bool) -> None:
        """Add synapses of an object that neurons, or Nodes, come to."""
        count = self._of(obj)
        if inputs:
            count.all_input_synapses += int(number)
            count.input_synapses += int(kept)
            count.input_events += float(events)
        else:
            count.all_synapses += int(number)
            count.synapses += int(kept)
            count.events += float(events)

    def note(self, obj: Any, note: str, counted: bool = True) -> None:
        """Say something of an object."""
        self._of(obj).notes.append(note)
        self._of(obj).counted &= counted

    def rows(self, devices: Mapping[str, Device], inputs: bool) -> list[Row]:
        """Return the rows, with the joules on some devices."""
        return [self._row(name, count, devices, inputs) for name, count in self._counts.items()]

    def _row(self, name: str, count: Count, devices: Mapping[str, Device], inputs: bool) -> Row:
        note = "; ".join(count.notes)
        if not count.counted:
            return Row(name, NAN, NAN, NAN, NAN, {device: NAN for device in devices}, note)
        synapses = count.synapses + (count.input_synapses if inputs else 0)
        events = count.events + (count.input_events if inputs else 0)
        updates = count.neurons * self.n_steps
        computed = count.all_synapses + (count.all_input_synapses if inputs else 0)
        joules = {
            name: device.energy_per_synop * (events if device.spiking else computed * self.passes)
            + device.energy_per_neuron
            * (updates if device.spiking else count.all_neurons * self.passes)
            for name, device in devices.items()
        }
        return Row(name, count.neurons, updates, synapses, events, joules, note)


def _name(obj: Any) -> str:
    """Return the name of an object, or of the layer of a TensorNode."""
    if isinstance(obj, nengo_dl.TensorNode):
        return getattr(parameters.layers(obj)[0], "name", None) or names.of_object(obj)
    return names.of_object(obj)


def _unlike(name: str, taken: Mapping[str, Any]) -> str:
    """Return a name, told apart from those that are taken."""
    if name not in taken:
        return name
    return list(names.unique([*((one, None) for one in taken), (name, None)]))[-1]
