"""Penalties on what probes record: activities, and the firing rates of neurons."""

from __future__ import annotations

import itertools
from typing import Any, Callable, Iterator, NamedTuple

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError
from nengo_dl import config

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd import settings
from nengo_wd._groups import RECORDED, use_sides
from nengo_wd._seam.keras2 import check_penalty
from nengo_wd.regularizers import FiringRates, GroupLasso
from nengo_wd.regularizers.forms import comparison_key, row_form, snapshot, unscheduled

ENDING = ".activity"  # the end of the names of these penalties
AXIS = seam.simulators.AXIS
OUTPUTS = ("output", "spikes", "rates")  # what Nengo's versions call the output of neurons


class ActivityPenalty(NamedTuple):
    r"""A regularizer on what a probe records, or on the firing rates of its neurons.

    .. math:: R(y) / (n_{examples} \, n_{steps})

    is what a Keras layer's ``activity_regularizer`` adds to the loss, for each time step of the
    simulation. What a probe of a connection's weights records at a time step has the shape of the
    weights, and so is one term. On firing rates, of neurons with an amplitude :math:`A`, it is

    .. math:: R(r), \qquad r_{bn} = \frac{1}{n_{steps} A} \sum_t |y_{btn}|

    A spike counts whatever its sign. Means over examples are the regularizer's own.
    """

    probe: nengo.Probe
    regularizer: Any
    amplitude: float | None = None  # None for a regularizer of activities

    @property
    def key(self) -> tuple:
        """A key that identifies the penalty in its simulator."""
        return (self.probe, *comparison_key(self.regularizer))

    @property
    def needs_whole_minibatch(self) -> bool:
        """Whether it depends on the whole minibatch, and is not a mean over examples."""
        if self.amplitude is None:
            return row_form(self.regularizer) is None
        return unscheduled(self.regularizer).percentile is not None

    def __call__(self, activity: tf.Tensor) -> tf.Tensor:
        """Return the penalty on ``activity``, of shape (examples, steps, *size)."""
        if self.amplitude is not None:
            # magnitudes with a gradient of 1 at zero, which silent neurons need
            magnitudes = tf.where(activity < 0, -activity, activity)
            return self.regularizer.of_rates(tf.reduce_mean(magnitudes, axis=1) / self.amplitude)
        by_step = tf.reshape(activity, (-1, *activity.shape[2:]))
        with use_sides(RECORDED):
            penalty = check_penalty(f"{self.probe}.activity", self.regularizer(by_step))
        return penalty / tf.cast(tf.shape(by_step)[0], penalty.dtype)


def activity_penalties(sim: nengo_dl.Simulator) -> dict[str, ActivityPenalty]:
    """Return the penalties that settings on probes ask for, by name.

    `FiringRates` that are set for all probes apply to those that record neurons. Raise if a probe
    has them as a setting of its own, and records no neurons; or if it keeps its last step alone.
    """
    found = () if sim.model.toplevel is None else _penalties_on_probes(sim.model)
    return parameters.unique_names((_name(penalty.probe), penalty) for penalty in found)


def _penalties_on_probes(model: Any) -> Iterator[ActivityPenalty]:
    for probe, regularizer, own in settings.look_up(model.toplevel, "regularizer", nengo.Probe):
        if regularizer is None:
            continue
        if not isinstance(unscheduled(regularizer), FiringRates):
            _check_no_groups(probe, unscheduled(regularizer))
            yield ActivityPenalty(probe, snapshot(regularizer))
            continue
        why_not = why_no_rates(probe)
        if why_not is None:
            check_history(model, probe, "firing rates are means over all of them")
            yield ActivityPenalty(probe, snapshot(regularizer), amplitude(probe))
        elif own:
            message = f"{probe} has FiringRates as its regularizer, but {why_not}"
            raise ValidationError(message, attr="regularizer", obj=probe)


def _check_no_groups(probe: nengo.Probe, regularizer: Any) -> None:
    """Raise for a group lasso of inputs or outputs, which what a probe records does not have."""
    if isinstance(regularizer, GroupLasso) and regularizer.groups is not None:
        raise ValidationError(
            f"{probe} has a GroupLasso with groups={regularizer.groups!r}, but what it records "
            "are not weights; give axis=-1 for a group of each element",
            attr="groups",
            obj=probe,
        )


def _name(probe: nengo.Probe) -> str:
    """Return the name of a penalty on a probe: the label of the probe, its object or its layer."""
    obj = probe.obj if probe.label is None else probe
    is_node = isinstance(obj, nengo_dl.TensorNode) and obj.label is None
    layer = seam.values.function_of(obj) if is_node else None
    name = getattr(layer, "name", None) or parameters.label(obj)
    return name if name.endswith(ENDING) else name + ENDING  # as `Converter` calls its probes


def woken(graph: Any, recorded: list[tf.Tensor], rates_of: Callable | None) -> list[tf.Tensor]:
    """Return what the probes of a graph record at a time step, with gradients for silent neurons.

    A neuron below its threshold outputs zero, and so does not respond to a small change of its
    input. Where a probe of it has `FiringRates` with a minimum, the recorded value gets the
    gradient of a line through zero. The value itself and all other gradients do not change.
    ``rates_of``, if there is one, returns of graph and probe the rates of neurons that are trained
    for their spikes, or None.
    """
    model = graph.model
    probes = [p for p in _with_minimum(model) if model.sig[p.obj]["in"] in graph.signals]
    if not probes:
        return recorded
    currents = _side_by_side(graph.signals, [model.sig[probe.obj]["in"] for probe in probes])
    if any(probe.slice is not None for probe in probes):
        currents = tf.gather(currents, _rows(probes), axis=AXIS)
    slopes = np.concatenate([_slopes(probe) for probe in probes])
    places = [model.probes.index(probe) for probe in probes]
    rates = [None if rates_of is None else rates_of(graph, probe) for probe in probes]
    activities = [recorded[place] for place in places]
    silent = [tf.equal(a if r is None else r, 0) for a, r in zip(activities, rates)]
    values = _with_slopes(activities, silent, currents, slopes)
    found = dict(zip(places, values))
    return [found.get(place, tensor) for place, tensor in enumerate(recorded)]


def _side_by_side(signals: Any, wanted: list) -> tf.Tensor:
    """Return values of NengoDL's signals side by side, with one operation for each variable.

    The time of a loop grows with the number of its operations.
    """
    groups = itertools.groupby((signals[one] for one in wanted), lambda signal: signal.key)
    together = [signals.combine(list(group)) for _, group in groups]
    values = [signals.gather(group, **seam.simulators.GATHERING) for group in together]
    return values[0] if len(values) == 1 else tf.concat(values, AXIS)


def _with_minimum(model: Any) -> Iterator[nengo.Probe]:
    """Yield the probes of neurons that should not be silent."""
    for probe, setting, _ in settings.look_up(model.toplevel, "regularizer", check=False):
        regularizer = unscheduled(setting)
        if isinstance(regularizer, FiringRates) and regularizer.minimum > 0:
            if why_no_rates(probe) is None and probe in model.probes:
                yield probe


def _slopes(probe: nengo.Probe) -> np.ndarray:
    """Return the slope of the output of each probed neuron at large inputs.

    For leaky integrate-and-fire neurons, it is the amplitude over the membrane's time constant.
    """
    time_constant = getattr(probe.obj.ensemble.neuron_type, "tau_rc", 1.0)
    return np.full(probe.size_in, amplitude(probe) / time_constant)


def _rows(probes: list[nengo.Probe]) -> np.ndarray:
    """Return the indices of the probed neurons among all neurons of their ensembles."""
    sizes = [probe.obj.size_out for probe in probes]
    rows = zip(probes, np.split(np.arange(sum(sizes)), np.cumsum(sizes[:-1])))
    return np.concatenate([every if p.slice is None else every[p.slice] for p, every in rows])


def _with_slopes(
    activities: list[tf.Tensor], silent: list[tf.Tensor], currents: tf.Tensor, slopes: np.ndarray
) -> list[tf.Tensor]:
    """Return the activities, with ``slopes`` as gradients by the currents of silent neurons."""
    slopes = np.expand_dims(slopes.astype(currents.dtype.as_numpy_dtype), 1 - AXIS)

    @tf.custom_gradient
    def identity(currents: tf.Tensor, *activities: tf.Tensor) -> Any:
        def gradient(*dys: tf.Tensor) -> Any:
            of_currents = slopes * tf.concat(dys, AXIS)
            is_silent = tf.concat(silent, AXIS)
            return (tf.where(is_silent, of_currents, tf.zeros_like(of_currents)), *dys)

        return [tf.identity(activity) for activity in activities], gradient

    return identity(currents, *activities)


def why_no_rates(probe: Any) -> str | None:
    """Say why an object does not record firing rates, or return None if it does."""
    if not isinstance(probe, nengo.Probe):
        return "is not a probe"
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


def check_history(model: Any, probe: nengo.Probe, needs: str) -> None:
    """Raise if a probe keeps only its last time step, and say what needs all of them."""
    if not config.get_setting(model, "keep_history", default=True, obj=probe):
        fault = f"{probe} keeps the last time step alone, and {needs}"
        hint = "set net.config[probe].keep_history = True"
        raise ValidationError(f"{fault}; {hint}", attr="keep_history", obj=probe)


def amplitude(probe: nengo.Probe) -> float:
    """Return the amplitude of a probe's neurons: their output over their rate in Hz."""
    return float(getattr(probe.obj.ensemble.neuron_type, "amplitude", 1.0))
