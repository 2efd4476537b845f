"""Checks of neurons, of their probes, and of the data that a network is shown."""

from __future__ import annotations

import warnings
from typing import Any

import nengo
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError
from nengo_dl import config

OUTPUTS = ("output", "spikes", "rates")  # what Nengo's versions call the output of neurons


def why_no_rates(probe: Any) -> str | None:
    """Say why an object does not record firing rates, or return None if it does."""
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


def check_history(model: Any, probe: nengo.Probe) -> None:
    """Raise if a probe keeps only its last time step, so that there is no mean over time."""
    if not config.get_setting(model, "keep_history", default=True, obj=probe):
        raise ValidationError(
            f"{probe} keeps the last time step alone, and firing rates are means over all of "
            "them; set net.config[probe].keep_history = True",
            attr="keep_history",
            obj=probe,
        )


def amplitude(probe: nengo.Probe) -> float:
    """Return the amplitude of a probe's neurons: their output over their rate in Hz."""
    return float(getattr(probe.obj.ensemble.neuron_type, "amplitude", 1.0))


def slope(probe: nengo.Probe) -> float:
    """Return the slope of the output of a probe's neurons at large inputs.

    For leaky integrate-and-fire neurons, that is the amplitude over the membrane's time constant.
    """
    return amplitude(probe) / getattr(probe.obj.ensemble.neuron_type, "tau_rc", 1.0)


def magnitudes(activities: tf.Tensor) -> tf.Tensor:
    """Return absolute values, with a gradient of 1 at zero, which silent neurons need."""
    return tf.where(activities < 0, -activities, activities)


def has_spikes(neuron_type: Any) -> bool:
    """Tell whether neurons of a type spike."""
    return getattr(neuron_type, "spiking", "spikes" in getattr(neuron_type, "probeable", ()))


def warn_of_one_step(network: Any, n_steps: int, stacklevel: int) -> None:
    """Warn if spikes are counted over a single time step."""
    if n_steps == 1:
        warnings.warn(
            f"{network} is shown one time step of data, in which few neurons spike at all; show "
            "each example for as many time steps as when the network is used",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def check_shown_nodes(network: Any, data: Any, nodes: Any) -> None:
    """Raise if a key of ``data`` is not an input Node of the network."""
    for obj in data:
        if obj not in nodes:
            raise ValidationError(
                f"there are data for {obj!r}, which is not an input Node of {network}; its input "
                f"Nodes are {', '.join(map(str, nodes))}",
                attr="data",
            )


def check_shown(node: Any, values: Any) -> np.ndarray:
    """Return the data for a Node as an array of (examples, time steps, size), or raise."""
    try:
        array = np.asarray(values)
    except ValueError as error:  # of lists that have different lengths
        raise ValidationError(
            f"the data for {node} can't be an array ({error})", attr="data", obj=node
        ) from error
    if array.dtype.kind not in "biuf":
        problem = f"has dtype {array.dtype}, but must be an array of real numbers"
    elif array.ndim != 3 or array.shape[2] != node.size_out:
        problem = (
            f"has shape {array.shape}, but must have shape (examples, time steps, {node.size_out})"
        )
    elif 0 in array.shape[:2]:
        problem = f"has shape {array.shape}, without any example or time step; give one or more"
    elif not np.isfinite(array).all():
        problem = "has NaN or infinite numbers"
    else:
        return array
    raise ValidationError(f"the data for {node} {problem}", attr="data", obj=node)
