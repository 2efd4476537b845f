"""Figures of devices, and those that users register."""

import pytest

import nengo_wd
from nengo_wd.energy import devices

FIGURES = {  # joules, from the publications
    "cpu": (8.6e-9, 8.6e-9, False),
    "gpu": (0.3e-9, 0.3e-9, False),
    "arm": (0.9e-9, 0.9e-9, False),
    "loihi": (27.1e-12, 81e-12, True),
    "spinnaker": (13.3e-9, 26e-9, True),
    "spinnaker2": (0.45e-9, 2.19e-9, True),
}


def test_known_devices():
    for name, (per_synop, per_neuron, spiking) in FIGURES.items():
        device = devices.get_device(name)
        assert device[:2] == pytest.approx((per_synop, per_neuron), rel=1e-12)
        assert device.spiking is spiking


def test_devices_of_users(monkeypatch):
    monkeypatch.setattr(devices, "devices", dict(devices.devices))
    nengo_wd.Energy.register_device("mine", 1, 2.5, True)
    assert devices.get_device("mine") == (1.0, 2.5, True)
    nengo_wd.Energy.register_device("mine", 0.0, 0.0, spiking=False)
    assert devices.get_device("mine") == (0.0, 0.0, False)
