"""How often each source has an event while one example is shown."""

from __future__ import annotations

from typing import Any, NamedTuple

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _seam as seam
from nengo_wd.energy.flow import Flow, Source


class Shown:
    """What is shown to a network: the values of its input Nodes."""

    def __init__(self, sim: nengo_dl.Simulator, data: Any, n_steps: int | None) -> None:
        self.values, self.given, self.shape = seam.activities.inputs(sim, data, n_steps)

    @property
    def n_steps(self) -> int:
        """How many time steps an example has."""
        return self.shape[1]

    def is_bias(self, source: Source) -> bool:
        """Tell whether a source is a Node with a constant output, to which no data was given."""
        is_input = source.obj in self.values and source.obj not in self.given
        return is_input and isinstance(source.obj.output, np.ndarray)


def events(sim: nengo_dl.Simulator, flow: Flow, shown: Shown) -> dict[Source, np.ndarray]:
    """Return how many events each element of each source has, on the mean of the examples.

    A neuron with spikes has an event for each of them, and anything else one at each time step at
    which its value is not zero.
    """
    signals = sim.tensor_graph.signals
    inner = [s for s in flow.sources if s.obj not in shown.values and s.signal in signals]
    measures = [(source.signal, _measure(sim, source)) for source in inner]
    found = dict(zip(inner, seam.activities.means(sim, shown.values, shown.shape, measures)))
    for source, counted in found.items():
        _check_finite(source, counted)
    for source in flow.sources:
        if source not in found:
            found[source] = _known(source, shown)
    return found


def _check_finite(source: Source, counted: np.ndarray) -> None:
    """Raise if a source has values that are not finite, of which no events can be counted."""
    if not np.isfinite(counted).all():
        raise ValidationError(
            f"the output of {source.obj} is not finite while the data is shown; look for NaN or "
            "infinite numbers in the data and the weights",
            attr="data",
            obj=source.obj,
        )


def _known(source: Source, shown: Shown) -> np.ndarray:
    """Return the events of a source that the simulation does not show."""
    if source.obj in shown.values:
        return np.count_nonzero(shown.values[source.obj], axis=1).mean(axis=0)
    return np.full(source.size, float(shown.n_steps))


class Spikes(NamedTuple):
    """Counts spikes of a size, ``amplitude / dt``, negative ones included.

    What rounding takes away is the error of floating-point numbers.
    """

    size: float

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """Return the number of spikes in values at a time step."""
        return tf.round(tf.abs(values) / tf.cast(self.size, values.dtype))


def not_zero(values: tf.Tensor) -> tf.Tensor:
    """Return an event for each value at a time step that is not zero."""
    return tf.cast(tf.not_equal(values, 0), values.dtype)


def _measure(sim: nengo_dl.Simulator, source: Source) -> Any:
    """Return the function from values of a source to the events at each time step."""
    if not source.spikes:
        return not_zero
    return Spikes(getattr(source.neurons, "amplitude", 1.0) / sim.dt)
