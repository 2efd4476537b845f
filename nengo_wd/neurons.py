"""Probes of neurons, and the rates that what they record stands for."""

from __future__ import annotations

from typing import Any

import nengo

OUTPUTS = ("output", "spikes", "rates")  # what Nengo's versions call the output of neurons


def why_no_rates(probe: Any) -> str | None:
    """Say why what an object records are no firing rates, or return None if they are."""
    if not isinstance(probe, nengo.Probe):
        return "is no probe"
    if not isinstance(probe.obj, nengo.ensemble.Neurons):
        return "records no neurons; probe the neurons of an ensemble, ensemble.neurons"
    if probe.attr not in OUTPUTS:
        return f"records the {probe.attr} of neurons, not their output; leave out {probe.attr!r}"
    if probe.synapse is not None:
        return (
            f"records neurons through {probe.synapse}, which begins at zero and so lowers the "
            "mean; add a probe with synapse=None"
        )
    return None


def amplitude(probe: nengo.Probe) -> float:
    """Return what the output of a probe's neurons is multiplied by: 1 for plain rates in Hz."""
    return float(getattr(probe.obj.ensemble.neuron_type, "amplitude", 1.0))
