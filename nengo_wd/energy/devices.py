"""What devices spend on a synaptic event and on the update of a neuron."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd import _checks as checks

PICO, NANO = 1e-12, 1e-9


class Device(NamedTuple):
    """What a device spends, in joules, and whether it waits for spikes.

    One that does can leave out synapses whose weights are zero; one that does not computes them.
    """

    energy_per_synop: float
    energy_per_neuron: float
    spiking: bool


# Degnan, Marr, Hasler (2016): a multiply-accumulate for each event and for each update
# Davies et al. (2018): 23.6 pJ for a synaptic operation and 3.5 pJ for its way within a tile
# Hoeppner et al. (2019)
devices: dict[str, Device] = {
    "cpu": Device(8.6 * NANO, 8.6 * NANO, spiking=False),
    "gpu": Device(0.3 * NANO, 0.3 * NANO, spiking=False),
    "arm": Device(0.9 * NANO, 0.9 * NANO, spiking=False),
    "loihi": Device((23.6 + 3.5) * PICO, 81 * PICO, spiking=True),
    "spinnaker": Device(13.3 * NANO, 26 * NANO, spiking=True),
    "spinnaker2": Device(450 * PICO, 2.19 * NANO, spiking=True),
}


def get(name: Any) -> Device:
    """Return a device by its name, or raise with the names that there are."""
    if not isinstance(name, str) or name not in devices:
        raise ValidationError(
            f"{name!r} is no device; there are {', '.join(devices)}, and Energy.register_device "
            "adds others",
            attr="device",
        )
    return devices[name]


def register(name: Any, energy_per_synop: Any, energy_per_neuron: Any, spiking: Any) -> None:
    """Add a device, or change one."""
    if not isinstance(name, str) or not name:
        raise ValidationError(f"a device has a text for a name, not {name!r}", attr="name")
    if not isinstance(spiking, (bool, np.bool_)):
        raise ValidationError(
            f"device {name!r}: spiking={spiking!r} must be True, if synapses work for spikes "
            "only, or False",
            attr="spiking",
        )
    per_synop = _joules(energy_per_synop, "energy_per_synop", name)
    per_neuron = _joules(energy_per_neuron, "energy_per_neuron", name)
    devices[name] = Device(per_synop, per_neuron, bool(spiking))


def _joules(value: Any, attr: str, name: str) -> float:
    """Return a figure as a number, or raise if it is no finite number, zero or above."""
    if not checks.is_number(value) or not 0 <= value < np.inf:
        raise ValidationError(
            f"device {name!r}: {attr}={value!r} must be a number of joules, zero or above",
            attr=attr,
        )
    return float(value)
