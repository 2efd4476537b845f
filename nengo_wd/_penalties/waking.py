"""Gradients for silent neurons, which have none, so that a minimum of firing rates wakes them.

A neuron below its threshold outputs zero, and so does not respond to a small change of its input.
Where a probe of it has `FiringRates` with a minimum, what the probe records gets the gradient that
a line through zero would have. Its value stays, and so do all gradients that do not come through
the probe.
"""

from __future__ import annotations

from typing import Any, Iterator

import nengo
import numpy as np
import tensorflow as tf

from nengo_wd import _neurons as neurons
from nengo_wd import _seam as seam
from nengo_wd import settings
from nengo_wd.regularizers import FiringRates
from nengo_wd.regularizers.scheduled import unscheduled

AXIS = seam.probes.AXIS


def wake(model: Any, recorded: list[tf.Tensor], signals: Any) -> list[tf.Tensor]:
    """Return what probes record at a time step, with gradients for neurons that are silent.

    Parameters
    ----------
    model : nengo.builder.Model
        The model that is built.
    recorded : list of tf.Tensor
        What each of the model's probes records.
    signals : Signals
        The values of signals at the time step.
    """
    probes = [p for p in _with_minimum(model) if model.sig[p.obj]["in"] in signals]
    if not probes:
        return recorded
    # all at once, because the time of a loop goes by the number of its operations
    currents = signals.gather([model.sig[probe.obj]["in"] for probe in probes])
    if any(probe.slice is not None for probe in probes):
        currents = tf.gather(currents, _rows(probes), axis=AXIS)
    slopes = np.concatenate([np.full(probe.size_in, neurons.slope(probe)) for probe in probes])
    places = [model.probes.index(probe) for probe in probes]
    woken = dict(zip(places, _woken([recorded[i] for i in places], currents, slopes)))
    return [woken.get(place, tensor) for place, tensor in enumerate(recorded)]


def _rows(probes: list[nengo.Probe]) -> np.ndarray:
    """Return where the neurons of probes are among the neurons of all their ensembles."""
    sizes = [probe.obj.size_out for probe in probes]
    rows = zip(probes, np.split(np.arange(sum(sizes)), np.cumsum(sizes[:-1])))
    return np.concatenate([every if p.slice is None else every[p.slice] for p, every in rows])


def _with_minimum(model: Any) -> Iterator[nengo.Probe]:
    """Yield the probes of neurons that should not be silent."""
    for probe, setting, _ in settings.made(model.toplevel, "regularizer"):
        regularizer = unscheduled(setting)
        if isinstance(regularizer, FiringRates) and regularizer.minimum > 0:
            if neurons.why_no_rates(probe) is None and probe in model.probes:
                yield probe


def _woken(activities: list[tf.Tensor], currents: tf.Tensor, slopes: np.ndarray) -> list[tf.Tensor]:
    """Return the activities, with slopes by the currents where they are zero."""
    slopes = np.expand_dims(slopes.astype(currents.dtype.as_numpy_dtype), 1 - AXIS)

    @tf.custom_gradient
    def identity(currents: tf.Tensor, *activities: tf.Tensor) -> Any:
        silent = tf.equal(tf.concat(activities, AXIS), 0)

        def gradient(*dys: tf.Tensor) -> Any:
            of_currents = slopes * tf.concat(dys, AXIS)
            return (tf.where(silent, of_currents, tf.zeros_like(of_currents)), *dys)

        return [tf.identity(activity) for activity in activities], gradient

    return identity(currents, *activities)
