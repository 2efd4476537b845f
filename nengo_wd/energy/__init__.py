"""What a network costs on a device: its synaptic events, its neurons' updates, and joules."""

from nengo_wd.energy.network_energy import Energy

__all__ = ["Energy"]
