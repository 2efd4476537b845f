"""What can be other than zero in a network, and what reaches something that must stay."""

from __future__ import annotations

import collections
from typing import Any, Callable, Iterable, Mapping, NamedTuple

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf
from scipy.special import expit

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd.energy.flow import INPUT, NEURONS, OUTPUT, Edge, Flow, Place, end_of
from nengo_wd.networks.elements import Channels, is_channels_last, learned_encoders

RISING = {  # activations of Keras that rise, in NumPy
    **{"linear": lambda x: x, "relu": lambda x: np.maximum(x, 0)},
    **{"tanh": np.tanh, "sigmoid": expit},
}
POSITIVE_SYNAPSES = (nengo.Lowpass, nengo.Alpha, nengo.synapses.Triangle)
# Relative, of sums: thousands of terms in float32, or products of GPUs, which keep 10 bits.
ROUNDING = 1e-3
# The currents above which neurons fire, by their exact class: subclasses may fire below.
THRESHOLDS = {
    **dict.fromkeys((nengo.LIF, nengo.LIFRate, nengo.AdaptiveLIF, nengo.AdaptiveLIFRate), 1.0),
    **dict.fromkeys((nengo.RectifiedLinear, nengo.SpikingRectifiedLinear), 0.0),
}
STATES = ("voltage", "adaptation")
MOST_PASSES = 3  # in which values may still grow, in loops


class Range(NamedTuple):
    """The least and the greatest value that each element can have."""

    least: np.ndarray
    greatest: np.ndarray

    @classmethod
    def of_anything(cls, size: int) -> Range:
        """Return the range of unknown values."""
        return cls(np.full(size, -np.inf), np.full(size, np.inf))

    @classmethod
    def of_values(cls, values: Any, size: int) -> Range:
        """Return the range of values that never change."""
        constant = np.broadcast_to(np.asarray(values, float), size)
        return cls(constant, constant)

    @property
    def is_zero(self) -> np.ndarray:
        """Which elements are always zero."""
        return (self.least == 0) & (self.greatest == 0)

    def without(self, silent: Any) -> Range:
        """Return the range with zeros for silent elements."""
        return Range(*(np.where(silent, 0, one) for one in self))

    def plus(self, other: Range) -> Range:
        """Return the range of a sum, wider by its rounding where it grows."""
        least = _sum_rounded_up(-self.least, -other.least)
        return Range(0 - least, _sum_rounded_up(self.greatest, other.greatest))

    def times(self, factors: np.ndarray) -> Range:
        """Return the range of a product with numbers; zero times infinity is zero."""
        with np.errstate(invalid="ignore"):
            both = [np.where((factors == 0) | (one == 0), 0, factors * one) for one in self]
        return Range(np.minimum(*both), np.maximum(*both))

    def weighted(self, weights: Any) -> Range:
        """Return the range of the product with a sparse matrix, wider by its rounding."""
        rises, falls = (_where(weights, sign) for sign in (np.greater, np.less))
        greatest = _rounded_up(rises, self.greatest) + _rounded_up(-falls, -self.least)
        least = _rounded_up(rises, -self.least) + _rounded_up(-falls, self.greatest)
        return Range(0 - least, greatest)  # no negative zeros

    def filtered(self, synapse: Any) -> Range:
        """Return the range of values behind a synapse, which begins at zero."""
        if synapse is None or self.is_zero.all():
            return self
        if isinstance(synapse, POSITIVE_SYNAPSES):
            return Range(np.minimum(self.least, 0), np.maximum(self.greatest, 0))
        return Range.of_anything(len(self.least)).without(self.is_zero)

    def widened(self, before: Range) -> Range:
        """Return a range without bounds where it grew."""
        return Range(
            np.where(self.least < before.least, -np.inf, self.least),
            np.where(self.greatest > before.greatest, np.inf, self.greatest),
        )


def _where(weights: Any, is_chosen: Callable) -> Any:
    """Return the part of a sparse matrix that compares so with zero."""
    at = weights.tocoo()  # eliminating zeros of weights.maximum(0) changes weights in SciPy 1.15
    chosen = is_chosen(at.data, 0)
    return type(weights)((at.data[chosen], (at.row[chosen], at.col[chosen])), shape=at.shape)


def _sum_rounded_up(values: np.ndarray, added: np.ndarray) -> np.ndarray:
    """Return the greatest sum; rounding makes none greater by adding zero or less."""
    return values + added + np.where(added > 0, ROUNDING * np.abs(values), 0)


def _rounded_up(weights: Any, values: np.ndarray) -> np.ndarray:
    """Return the greatest rounded product with positive weights, whose terms may cancel."""
    sizes = np.where(np.isfinite(values), np.abs(values), 0)
    return weights @ values + ROUNDING * (weights @ sizes)


def is_of_keras(activation: Any) -> bool:
    """Tell whether an activation is one of Keras or TensorFlow, by its own name."""
    name = getattr(activation, "__name__", "")
    return any(activation is getattr(m, name, None) for m in (tf.keras.activations, tf.nn))


def _activated(activation: Any, inputs: Range) -> Range:
    """Return the range behind an activation of Keras."""
    rising = RISING.get(getattr(activation, "__name__", ""))
    if rising is None or not is_of_keras(activation):
        return Range.of_anything(len(inputs.least))
    return Range(*map(rising, inputs))


def _of_neurons(
    sim: nengo_dl.Simulator, ensemble: nengo.Ensemble, currents: Range, silent: Any
) -> Range:
    """Return the range of the outputs of neurons, some of which are taken to be silent."""
    neurons, anything = ensemble.neuron_type, Range.of_anything(ensemble.n_neurons)
    kind = type(getattr(neurons, "base_type", neurons))
    is_random = type(neurons) not in (*THRESHOLDS, getattr(nengo, "RegularSpiking", None))
    if kind not in THRESHOLDS or is_random:
        return anything.without(silent)
    if ensemble.noise is None:
        signals = sim.model.sig[ensemble.neurons]  # with the states in which neurons begin
        voltage, adaptation = (getattr(signals.get(name), "initial_value", 0) for name in STATES)
        is_at_rest = (np.asarray(voltage) < 1) & (np.asarray(adaptation) >= 0)
        silent = silent | ((currents.greatest <= THRESHOLDS[kind]) & is_at_rest)
    is_positive = getattr(neurons, "amplitude", 1) >= 0
    zeros = np.zeros(ensemble.n_neurons)
    found = Range(zeros, anything.greatest) if is_positive else Range(anything.least, zeros)
    return found.without(silent)


class Reach:
    """The ranges of all places of a flow, and the elements that something needs.

    ``flow`` has weights, not synapses. ``silent`` says which neurons count as silent, by ensemble.
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

    def _find_ranges(self) -> None:
        """Find the ranges: start from zero everywhere, and stop when none grows."""
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
        self.ranges[place] = found.widened(before) if widen else found
        return not all(map(np.array_equal, self.ranges[place], before))

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
            return _activated(activation, self.ranges[self._activated[place]])
        if place in self._sources and kind == OUTPUT:
            return Range.of_anything(size)
        total = Range.of_values(self._constant(place), size)
        for start, edge in self.incoming[place]:
            total = total.plus(self._along(start, edge))
        if kind == NEURONS and isinstance(obj, nengo.Ensemble):
            return _of_neurons(self._sim, obj, total, self._silent.get(obj, False))
        return total

    def _along(self, start: Place, edge: Edge) -> Range:
        """Return what arrives along an edge."""
        obj = edge.obj
        if getattr(obj, "learning_rule_type", None) is not None:
            return Range.of_anything(edge.pattern.shape[0])
        arrived = self.ranges[start].weighted(edge.pattern.astype(float))
        if not isinstance(obj, nengo.Connection):
            return arrived
        arrived = arrived.filtered(obj.synapse)
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
        """Return these places, and all places that lead to them, whatever the weights."""
        found, waiting = set(), [*ends]
        while waiting:
            place = waiting.pop()
            if place not in found:
                found.add(place)
                waiting += [start for start, _ in self.incoming.get(place, ())]
                waiting += [self._activated[place]] if place in self._activated else []
        return found

    # -- needs -----------------------------------------------------------------------------

    def need(self, wanted: Iterable[tuple[Place, np.ndarray]]) -> None:
        """Note the elements that are needed, and all nonzero ones that reach them."""
        waiting = [one for one, mask in wanted if one in self.needed and self._note(one, mask)]
        while waiting:
            waiting += self._need_before(waiting.pop())

    def _note(self, place: Place, mask: np.ndarray) -> bool:
        """Note elements of a place as needed, and tell whether there are new ones."""
        is_new = mask & ~self.needed[place]
        self.needed[place] |= mask
        return bool(is_new.any())

    def _need_before(self, place: Place) -> list[Place]:
        needed, before = self.needed[place], self._activated.get(place)
        if before is not None:
            return [before] if self._note(before, needed) else []
        found = []
        for start, edge in self.incoming[place]:
            reaching = np.asarray((edge.pattern != 0).T @ needed).astype(bool)
            if self._note(start, reaching & ~self.ranges[start].is_zero):
                found.append(start)
        return found


def _sizes(flow: Flow) -> dict[Place, int]:
    """Return the number of elements of each place."""
    found = {source.place: source.size for source in flow.sources}
    for start, edges in flow.edges.items():
        for edge in edges:
            found[edge.end], found[start] = edge.pattern.shape
    return found


def _ordered(sizes: Mapping[Place, int], after: Callable) -> list[Place]:
    """Return all places, each after those that lead to it, except in loops."""
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
