"""Penalties on what probes record: settings on probes, for activities and firing rates."""

from __future__ import annotations

from typing import Any, Iterator, NamedTuple, Union

import nengo
import nengo_dl
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _names as names
from nengo_wd import _neurons as neurons
from nengo_wd import _seam as seam
from nengo_wd import settings
from nengo_wd._checks import check_penalty
from nengo_wd.regularizers import FiringRates, Scheduled
from nengo_wd.regularizers.forms import content, frozen, row_form
from nengo_wd.regularizers.scheduled import unscheduled

ENDING = ".activity"  # of the names of what probes record


class ActivityPenalty(NamedTuple):
    r"""A regularizer on what a probe records.

    .. math:: R(y) / (n_{examples} \, n_{steps})

    which is what a Keras layer's ``activity_regularizer`` adds to the loss, for each
    time step of the simulation. What a probe of a connection's weights records at a time step
    has the shape of the weights, and so is one term.
    """

    probe: nengo.Probe
    regularizer: Any

    @property
    def key(self) -> tuple:
        """What tells the penalty from every other one in its simulator."""
        return (self.probe, *content(self.regularizer))

    @property
    def of_minibatch(self) -> bool:
        """Whether it is of the minibatch as a whole, and not a mean over examples."""
        return row_form(self.regularizer) is None

    def __call__(self, activity: tf.Tensor) -> tf.Tensor:
        """Return the penalty on ``activity``, of shape (examples, steps, *size)."""
        by_step = tf.reshape(activity, (-1, *activity.shape[2:]))
        penalty = check_penalty(f"{self.probe}.activity", self.regularizer(by_step))
        return penalty / tf.cast(tf.shape(by_step)[0], penalty.dtype)


class RatePenalty(NamedTuple):
    r"""A regularizer on the firing rates of a probe's neurons.

    .. math:: R(r), \qquad r_{bn} = \frac{1}{n_{steps} A} \sum_t |y_{btn}|

    with the amplitude :math:`A` of the neurons. A spike counts whatever its sign. Means over
    examples are the regularizer's own.
    """

    probe: nengo.Probe
    regularizer: FiringRates | Scheduled
    amplitude: float

    @property
    def key(self) -> tuple:
        """What tells the penalty from every other one in its simulator."""
        return (self.probe, *content(self.regularizer))

    @property
    def of_minibatch(self) -> bool:
        """Whether it is of the minibatch as a whole, and not a mean over examples."""
        return unscheduled(self.regularizer).percentile is not None

    def __call__(self, activity: tf.Tensor) -> tf.Tensor:
        """Return the penalty on ``activity``, of shape (examples, steps, neurons)."""
        rates = tf.reduce_mean(neurons.magnitudes(activity), axis=1) / self.amplitude
        return self.regularizer.of_rates(rates)


ProbePenalty = Union[ActivityPenalty, RatePenalty]


def by_name(sim: nengo_dl.Simulator) -> dict[str, ProbePenalty]:
    """Return the penalties that settings on probes ask for, by the names of what they are on."""
    return names.unique((_name(penalty.probe), penalty) for penalty in of_settings(sim))


def _name(probe: nengo.Probe) -> str:
    """Return the name of what a probe records: its label, or that of its object or layer."""
    obj = probe.obj if probe.label is None else probe
    is_node = isinstance(obj, nengo_dl.TensorNode) and obj.label is None
    layer = seam.parameters.function_of(obj) if is_node else None
    name = getattr(layer, "name", None) or names.of_object(obj)
    return name if name.endswith(ENDING) else name + ENDING  # as `Converter` calls its probes


def of_settings(sim: nengo_dl.Simulator) -> list[ProbePenalty]:
    """Return the penalties that the setting ``regularizer`` on probes asks for.

    `FiringRates` of a class of probes are about those that record neurons.

    Raises
    ------
    nengo.exceptions.ValidationError
        If a probe has `FiringRates` as a setting of its own, and does not record neurons; or if a
        probe with `FiringRates` keeps its last time step alone.
    """
    return [] if sim.model.toplevel is None else list(_of_probes(sim.model))


def _of_probes(model: Any) -> Iterator[ProbePenalty]:
    for probe, regularizer, own in settings.look_up(model.toplevel, "regularizer", nengo.Probe):
        if regularizer is None:
            continue
        if not isinstance(unscheduled(regularizer), FiringRates):
            yield ActivityPenalty(probe, frozen(regularizer))
        elif _has_rates(probe, own):
            neurons.check_history(model, probe)
            yield RatePenalty(probe, frozen(regularizer), neurons.amplitude(probe))


def _has_rates(probe: nengo.Probe, own: bool) -> bool:
    """Tell whether a probe records rates, or raise if they are asked for of that very probe."""
    why_not = neurons.why_no_rates(probe)
    if why_not is not None and own:
        raise ValidationError(
            f"{probe} has FiringRates as its regularizer, but {why_not}",
            attr="regularizer",
            obj=probe,
        )
    return why_not is None
