"""The events of each source, the synapses that they reach, and the neurons that are kept."""

from __future__ import annotations

from typing import Any, Dict, Mapping, NamedTuple, Tuple

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _seam as seam
from nengo_wd.energy import patterns
from nengo_wd.energy.flow import NEURONS, Edge, Flow, Place, Source, Weighs

Label = Tuple[Any, bool]  # the object that synapses belong to, and whether it has weights
Reached = Dict[Label, patterns.Pattern]  # from the elements of a source to those of a place


class ShownData(NamedTuple):
    """The data shown to a network: the values of its input Nodes."""

    values: Mapping[nengo.Node, np.ndarray]  # of all of them: (examples, time steps, size)
    given: set[nengo.Node]  # those in the user's data
    shape: tuple[int, int]  # examples, time steps

    def is_bias(self, source: Source) -> bool:
        """Tell whether a source is a Node with a constant output, to which no data was given."""
        is_input = source.obj in self.values and source.obj not in self.given
        return is_input and isinstance(source.obj.output, np.ndarray)


class Spikes(NamedTuple):
    """Counts spikes of a size, ``amplitude / dt``, negative ones included."""

    size: float

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """Return the number of spikes in values at a time step."""
        # rounded, because floating-point numbers are not exact
        return tf.round(tf.abs(values) / tf.cast(self.size, values.dtype))


def not_zero(values: tf.Tensor) -> tf.Tensor:
    """Return an event for each value at a time step that is not zero."""
    return tf.cast(tf.not_equal(values, 0), values.dtype)


def count_events(sim: nengo_dl.Simulator, flow: Flow, shown: ShownData) -> dict[Source, np.ndarray]:
    """Return how many events each element of each source has, on the mean of the examples.

    A neuron with spikes has an event for each of them. Anything else has one at each time step at
    which its value is not zero.
    """
    signals = sim.tensor_graph.signals
    inner = [s for s in flow.sources if s.obj not in shown.values and s.signal in signals]
    measures = [(source.signal, _measure(sim, source)) for source in inner]
    found = dict(
        zip(inner, seam.activities.measure_signals(sim, shown.values, shown.shape, measures))
    )
    for source, events in found.items():
        if not np.isfinite(events).all():
            raise ValidationError(
                f"the output of {source.obj} is not finite while the data is shown; look for NaN "
                "or infinite numbers in the data and the weights",
                attr="data",
                obj=source.obj,
            )
    for source in flow.sources:
        if source.obj in shown.values:
            found[source] = np.count_nonzero(shown.values[source.obj], axis=1).mean(axis=0)
        elif source not in found:
            found[source] = np.full(source.size, float(shown.shape[1]))
    return found


def _measure(sim: nengo_dl.Simulator, source: Source) -> Any:
    """Return the function from values of a source to the events at each time step."""
    size = getattr(source.neurons, "amplitude", 1.0) / sim.dt
    return Spikes(size) if source.spikes else not_zero


def fan_out(flow: Flow, source: Source) -> dict[Any, np.ndarray]:
    """Return the synapses that leave each element of a source, by the object they belong to.

    What is linear between a source and the ends of the flow acts as one: an element has one synapse
    for each element that it reaches there. The synapses belong to the last object with a matrix of
    weights on the way.
    """
    found: dict[Any, np.ndarray] = {}
    for place, reached in reached_from(flow, source).items():
        if place in flow.ends:
            for (obj, weighs), pattern in reached.items():
                if weighs or place[0] == NEURONS:  # else values are read as they are
                    found[obj] = found.get(obj, 0) + pattern.getnnz(axis=0)
    return found


def reached_from(flow: Flow, source: Source) -> dict[Place, Reached]:
    """Return the synapses from a source to each place that it reaches."""
    found: dict[Place, Reached] = {}
    start: Reached = {(None, False): patterns.identity(source.size)}
    leaving = [(edge, start) for edge in flow.edges.get(source.place, [])]
    while leaving:
        edge, arriving = leaving.pop(0)
        there = found.setdefault(edge.end, {})
        grown = [_add(there, edge, *one) for one in [*arriving.items()]]
        if any(grown) and edge.end not in flow.ends:
            leaving += [(after, there) for after in flow.edges[edge.end]]
    return found


def _add(reached: Reached, edge: Edge, label: Label, pattern: patterns.Pattern) -> bool:
    """Add the synapses along an edge to those at its end; tell whether any is new."""
    label, through = _label(edge, *label), patterns.composed(edge.pattern, pattern)
    n_before = reached[label].nnz if label in reached else 0
    if n_before:
        through = patterns.merged([through, reached[label]])
    if through.nnz > n_before:
        reached[label] = through
    return through.nnz > n_before


def _label(edge: Edge, obj: Any, weighs: bool) -> Label:
    """Return the object to which synapses belong after an edge."""
    is_own = edge.weighs is Weighs.ALL or edge.weighs is Weighs.EACH and not weighs
    return (edge.obj if obj is None or is_own else obj), weighs or edge.weighs is not Weighs.NOTHING


def kept_neurons(
    flow: Flow, events: Mapping[Source, np.ndarray], biases: set[Source]
) -> dict[Source, np.ndarray]:
    """Return which elements of each source are kept without zeros, as arrays of bools.

    A neuron is left out if it has no event while the data is shown, and if no synapse leads to it
    from an input or from a neuron that is kept. Its input is then constant, and too small.
    """
    kept = {one: np.ones(one.size, bool) for one in flow.sources}
    if any(isinstance(obj, nengo.Connection) for obj in flow.uncounted):
        return kept  # it is not known where these lead
    kept.update({one: events[one] > 0 for one in flow.sources if one.neurons is not None})
    kept.update({one: np.zeros(one.size, bool) for one in biases})
    neurons = {(NEURONS, one.obj): one for one in flow.sources if one.neurons is not None}
    leading = [
        (source, neurons[place], pattern)
        for source in flow.sources
        for place, reached in reached_from(flow, source).items()
        if place in neurons
        for pattern in reached.values()
    ]
    while any([_reach(kept, *lead) for lead in leading]):
        pass  # what is reached reaches more
    return kept


def _reach(kept: dict[Source, Any], source: Source, end: Source, pattern: Any) -> bool:
    """Keep the neurons that kept elements of a source reach; tell whether there are new ones."""
    before = kept[end].sum()
    kept[end] |= pattern[:, kept[source]].getnnz(axis=1) > 0
    return kept[end].sum() > before
