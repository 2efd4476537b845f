"""Gradients for silent neurons, which have none, so that a minimum of firing rates wakes them.

A neuron below its threshold outputs zero, and so does not respond to a small change of its input.
Where a probe of it has `FiringRates` with a minimum, what the probe records gets the gradient that
a line through zero would have. Its value stays, and so do all gradients that do not come through
the probe.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator

import nengo
import numpy as np
import tensorflow as tf

from nengo_wd import neurons, seam, settings
from nengo_wd.regularizers import FiringRates


def wake(
    model: Any, recorded: list[tf.Tensor], gather: Callable[[Any, Any], Any]
) -> list[tf.Tensor]:
    """Return what probes record at a time step, with gradients for neurons that are silent.

    Parameters
    ----------
    model : nengo.builder.Model
        The model that is built.
    recorded : list of tf.Tensor
        What each of the model's probes records.
    gather : callable
        What returns rows of the value that a signal has at the time step, or None where it has
        none.
    """
    recorded = list(recorded)
    for probe in _with_minimum(model):
        rows = np.arange(probe.obj.size_out)[slice(None) if probe.slice is None else probe.slice]
        current = gather(model.sig[probe.obj]["in"], rows)
        if current is not None:
            place = model.probes.index(probe)
            recorded[place] = _woken(recorded[place], current, neurons.slope(probe))
    return recorded


def _with_minimum(model: Any) -> Iterator[nengo.Probe]:
    """Yield the probes of neurons that should not be silent."""
    for probe, regularizer, _ in settings.made(model.toplevel, "regularizer"):
        if isinstance(regularizer, FiringRates) and regularizer.minimum > 0:
            if neurons.why_no_rates(probe) is None and probe in model.probes:
                yield probe


def _woken(activity: tf.Tensor, current: tf.Tensor, slope: float) -> tf.Tensor:
    """Return the activity, with a slope by the current where it is zero."""

    @tf.custom_gradient
    def identity(activity: tf.Tensor, current: tf.Tensor) -> Any:
        silent = tf.cast(tf.equal(activity, 0), activity.dtype)
        return tf.identity(activity), lambda dy: (dy, slope * silent * dy)

    return identity(activity, current)


seam.probes.change(wake)
