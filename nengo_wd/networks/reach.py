"""What can be other than zero in a network, and what reaches something that must stay."""

from __future__ import annotations

import collections
from typing import Any, Callable, Iterable, Mapping

import nengo
import nengo_dl
import numpy as np

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd.energy.flow import INPUT, NEURONS, OUTPUT, Edge, Flow, Place, end_of
from nengo_wd.networks.ranges import Range, activated
from nengo_wd.networks.staying import learned_encoders
from nengo_wd.networks.transforms import Channels, is_channels_last

# The currents above which neurons fire, by their exact class: subclasses may fire below.
THRESHOLDS = {
    nengo.LIF: 1.0,
    nengo.LIFRate: 1.0,
    nengo.AdaptiveLIF: 1.0,
    nengo.AdaptiveLIFRate: 1.0,
    nengo.RectifiedLinear: 0.0,
    nengo.SpikingRectifiedLinear: 0.0,
}
STATES = ("voltage", "adaptation")
MOST_PASSES = 3  # in which values may still grow, in loops


class Reach:
    """The ranges of all places of a flow, and the elements that something needs.

    ``flow`` has weights, not synapses. ``silent`` has bools for ensembles some of whose neurons are
    taken to be silent.
    """

    def __init__(
        self, sim: nengo_dl.Simulator, flow: Flow, silent: Mapping[Any, np.ndarray]
    ) -> None:
        self._sim, self._flow, self._silent = sim, flow, silent
        self.sizes = _sizes(flow)
        self.incoming: dict[Place, list[tuple[Place, Edge]]] = collections.defaultdict(list)
        for start, edges in flow.edges.items():
            for edge in edges:
                self.incoming[edge.end].append((start, edge))
        self._sources = {source.place: source for source in flow.sources}
        self._activated = {
            (OUTPUT, source.obj): (NEURONS, source.obj)
            for source in flow.sources
            if (NEURONS, source.obj) in self.incoming and source.place[0] == OUTPUT
        }
        self._unknown = {end_of(obj) for obj in flow.uncounted if hasattr(obj, "post_obj")}
        learned = map(learned_encoders, sim.model.toplevel.all_connections)
        self._unknown.update((NEURONS, ensemble) for (ensemble,) in filter(None, learned))
        self.ranges = {place: Range.of_values(0, size) for place, size in self.sizes.items()}
        self._find_ranges()
        self.needed = {place: np.zeros(size, bool) for place, size in self.sizes.items()}

    def is_zero(self, place: Place) -> np.ndarray:
        """Return which elements of a place are always zero."""
        return self.ranges[place].is_zero

    def _find_ranges(self) -> None:
        """Find the ranges, starting from zero everywhere, until none grows."""
        places, passes = _ordered(self.sizes, self._after), 0
        changed = set(places)
        while changed:
            passes, now, changed = passes + 1, changed, set()
            for place in places:
                if place in now or place in changed:
                    changed.discard(place)
                    if self._renew(place, passes > MOST_PASSES):
                        changed.update(self._after(place))

    def _renew(self, place: Place, widen: bool) -> bool:
        """Find the range of a place anew, and tell whether it changed."""
        before, found = self.ranges[place], self._range(place)
        found = found.widened(before) if widen else found
        self.ranges[place] = found
        return not all(map(np.array_equal, found, before))

    def _after(self, place: Place) -> list[Place]:
        ends = [edge.end for edge in self._flow.edges.get(place, ())]
        output = OUTPUT, place[1]
        return [*ends, output] if self._activated.get(output) == place else ends

    def _range(self, place: Place) -> Range:
        size, (kind, obj) = self.sizes[place], place
        if place in self._unknown:
            return Range.of_anything(size)
        if place in self._activated:
            activation = self._sources[place].neurons
            return activated(activation, self.ranges[self._activated[place]])
        if place in self._sources and kind == OUTPUT:
            return Range.of_anything(size)
        total = Range.of_values(self._constant(place), size)
        for start, edge in self.incoming[place]:
            total = total.plus(self._along(start, edge))
        if kind == NEURONS and isinstance(obj, nengo.Ensemble):
            return _of_neurons(self._sim, obj, total, self._silent.get(obj))
        return total

    def _along(self, start: Place, edge: Edge) -> Range:
        """Return what arrives along an edge."""
        obj, values = edge.obj, self.ranges[start]
        if not isinstance(obj, nengo.Connection):
            return values.weighted(edge.pattern.astype(float))
        if obj.learning_rule_type is not None:
            return Range.of_anything(edge.pattern.shape[0])
        arrived = values.weighted(edge.pattern.astype(float)).filtered(obj.synapse)
        if isinstance(obj.post_obj, nengo.ensemble.Neurons):
            return arrived.times(self._sim.model.params[obj.post_obj.ensemble].gain)
        return arrived

    def _constant(self, place: Place) -> Any:
        """Return the biases of a place."""
        kind, obj = place
        if kind == NEURONS and isinstance(obj, nengo.Ensemble):
            return self._sim.data.get_params((obj, "bias"))[0]
        if isinstance(obj, nengo_dl.TensorNode) and place in self.incoming and kind != INPUT:
            layer = parameters.layers(obj, self._sim)[0]
            if getattr(layer, "use_bias", False):
                bias = seam.values.fetch(self._sim, [layer.bias])[0]
                return Channels(len(bias), is_channels_last(layer), self.sizes[place]).all_of(bias)
        return 0.0

    def leading_to(self, ends: Iterable[Place]) -> set[Place]:
        """Return the places that lead to any of these, whatever the weights, and these."""
        found = set(ends)
        waiting = [*found]
        while waiting:
            place = waiting.pop()
            starts = {start for start, _ in self.incoming.get(place, ())}
            if place in self._activated:
                starts.add(self._activated[place])
            waiting += starts - found
            found |= starts
        return found

    # -- needs -----------------------------------------------------------------------------

    def need(self, wanted: Iterable[tuple[Place, np.ndarray]]) -> None:
        """Note elements that are needed, and all that reach them and can be other than zero."""
        reached = ((place, mask) for place, mask in wanted if place in self.needed)
        waiting = [place for place, mask in reached if self._note(place, mask)]
        while waiting:
            waiting += self._need_before(waiting.pop())

    def _note(self, place: Place, mask: np.ndarray) -> bool:
        """Note elements of a place as needed, and tell whether there are new ones."""
        n_before = np.count_nonzero(self.needed[place])
        self.needed[place] |= mask
        return bool(np.count_nonzero(self.needed[place]) > n_before)

    def _need_before(self, place: Place) -> list[Place]:
        needed, found = self.needed[place], []
        if place in self._activated:
            before = self._activated[place]
            return [before] if self._note(before, needed) else []
        for start, edge in self.incoming[place]:
            pattern = edge.pattern.copy()
            pattern.data = pattern.data != 0
            reaching = np.asarray(pattern.T @ needed).astype(bool)
            if self._note(start, reaching & ~self.is_zero(start)):
                found.append(start)
        return found


def _sizes(flow: Flow) -> dict[Place, int]:
    """Return the number of elements of each place."""
    found = {source.place: source.size for source in flow.sources}
    for start, edges in flow.edges.items():
        for edge in edges:
            found[edge.end], found[start] = edge.pattern.shape
    return found


def _is_plain(neurons: Any) -> bool:
    """Tell whether what neurons put out does not depend on chance."""
    return type(neurons) in THRESHOLDS or type(neurons) is getattr(nengo, "RegularSpiking", None)


def _ordered(sizes: Mapping[Place, int], after: Callable) -> list[Place]:
    """Return all places, each after those that lead to it, but for loops."""
    found: dict[Place, None] = {}
    started: set[Place] = set()
    for first in sizes:
        waiting = [(first, False)]
        while waiting:
            place, is_ended = waiting.pop()
            if is_ended:
                found[place] = None
            elif place not in started:
                started.add(place)
                waiting.append((place, True))
                waiting += [(one, False) for one in after(place)]
    return [*reversed(found)]


def _of_neurons(
    sim: nengo_dl.Simulator, ensemble: nengo.Ensemble, currents: Range, silent: np.ndarray | None
) -> Range:
    """Return the range of what neurons put out, some of which are taken to be silent."""
    size, neurons = ensemble.n_neurons, ensemble.neuron_type
    silent = np.zeros(size, bool) if silent is None else silent
    kind = type(getattr(neurons, "base_type", neurons))
    if kind not in THRESHOLDS or not _is_plain(neurons):
        return Range(*(np.where(silent, 0, one) for one in Range.of_anything(size)))
    if ensemble.noise is None:
        signals = sim.model.sig[ensemble.neurons]  # with the states in which neurons begin
        voltage, adaptation = (getattr(signals.get(name), "initial_value", 0) for name in STATES)
        is_at_rest = (np.asarray(voltage) < 1) & (np.asarray(adaptation) >= 0)
        silent = silent | ((currents.greatest <= THRESHOLDS[kind]) & is_at_rest)
    largest = np.where(silent, 0, np.inf)
    is_positive = getattr(neurons, "amplitude", 1) >= 0
    zeros = np.zeros(size)
    return Range(zeros, largest) if is_positive else Range(-largest, zeros)
