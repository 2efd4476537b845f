"""The remaining elements of each object of a network."""

from __future__ import annotations

import collections
from typing import Any

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd import _parameters as parameters
from nengo_wd.energy import patterns
from nengo_wd.energy.flow import INPUT, NEURONS, OUTPUT, Flow, Place, is_direct
from nengo_wd.networks.elements import (
    Channels,
    Stays,
    is_channels_last,
    is_opaque,
    size_of,
    what_stays,
    why_connection_stays,
)
from nengo_wd.networks.reach import Reach, is_of_keras

keras = tf.keras.layers
CUT = (keras.Dense, keras.Conv1D, keras.Conv2D, keras.Conv3D, *patterns.POOLING)
BY_CHANCE = ("PoissonSpiking", "StochasticSpiking")  # their draws depend on their number
PACKAGES = ("nengo", "nengo_dl", "nengo_loihi")  # here each neuron computes on its own


class Layouts:
    """The remaining elements of each place; ``notes`` says by object why unneeded neurons stay."""

    def __init__(self, sim: nengo_dl.Simulator, flow: Flow, reach: Reach) -> None:
        self._sim, self._flow, self._reach = sim, flow, reach
        self.notes: dict[Any, str] = {}
        self._fixed: dict[Place, np.ndarray] = {}
        staying = [*what_stays(sim, flow)]
        self._read = {one.place[1] for one in staying}
        staying = _without_penalties(staying, reach)
        for one in staying:
            fixed = self._fixed.setdefault(one.place, np.zeros(len(one.elements), bool))
            fixed |= one.elements & one.is_fixed
        reach.need((one.place, one.elements) for one in staying)
        self._left: dict[Place, np.ndarray] = {}
        for obj in (*sim.model.toplevel.all_nodes, *sim.model.toplevel.all_ensembles):
            self._left.update(self._of_object(obj))
        self._join_shared()
        self._note(staying)
        self._probed = {probe.obj for probe in sim.model.toplevel.all_probes}
        self._edges = {one.obj: (start, one) for start in flow.edges for one in flow.edges[start]}

    def left(self, place: Place) -> np.ndarray:
        """Return the indices of the remaining elements of a place, in order."""
        found = self._left.get(place)
        return np.arange(size_of(place)) if found is None else np.flatnonzero(found)

    def is_left(self, obj: Any) -> bool:
        """Tell whether any element of a Node or an Ensemble remains."""
        found = self._left.get((NEURONS, obj), self._left.get((OUTPUT, obj)))
        return found is None or bool(found.any())

    def is_idle(self, connection: nengo.Connection) -> bool:
        """Tell whether a connection has only zeros between what is left, and nothing uses it."""
        if (
            connection in self._probed
            or isinstance(connection.post_obj, nengo.connection.LearningRule)
            or why_connection_stays(connection, self._flow) is not None
        ):
            return False
        start, edge = self._edges[connection]
        return not edge.pattern[self.left(edge.end)][:, self.left(start)].data.any()

    def channels(self, node: nengo_dl.TensorNode) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the remaining channels of a layer's input and output; None, if it isn't cut."""
        if not self._is_cut(node):
            return None
        sides = (INPUT, node), (OUTPUT, node)
        left = (_channels(side, self._sim).any_of(self._left[side]) for side in sides)
        before, after = map(np.flatnonzero, left)
        return before, after

    def _of_object(self, obj: Any) -> dict[Place, np.ndarray]:
        if isinstance(obj, nengo.Ensemble):
            if is_direct(obj):
                return {}
            wanted = self._wanted((NEURONS, obj))
            if not wanted.any() and obj in self._read:
                wanted[0] = True  # an ensemble has a neuron, even if its output is zero
            if wanted.any() and _is_whole(obj):
                self.notes[obj] = "its neurons draw random numbers, or are of an unknown kind"
                wanted = np.ones_like(wanted)
            return {(NEURONS, obj): wanted}
        if isinstance(obj, nengo_dl.TensorNode) and not is_opaque(obj, self._flow):
            return self._of_layer(obj)
        if obj.output is None and obj.size_in:
            wanted = self._wanted((OUTPUT, obj))
            return {(INPUT, obj): wanted, (OUTPUT, obj): wanted}
        return {}

    def _wanted(self, place: Place) -> np.ndarray:
        """Return which elements are needed and can be other than zero, or are fixed."""
        if place not in self._reach.sizes:
            return self._fixed.get(place, np.zeros(size_of(place), bool))
        needed = self._reach.needed[place] & ~self._reach.ranges[place].is_zero
        return needed | self._fixed.get(place, False)

    def _of_layer(self, node: nengo_dl.TensorNode) -> dict[Place, np.ndarray]:
        wanted = {side: self._wanted(side) for side in ((INPUT, node), (OUTPUT, node))}
        if not wanted[OUTPUT, node].any():
            return {side: np.zeros_like(one) for side, one in wanted.items()}
        if not self._is_cut(node):
            return {side: np.ones_like(one) for side, one in wanted.items()}
        if not wanted[INPUT, node].any():
            wanted[INPUT, node][0] = True  # a layer has an input, even if it is a constant
        for side, elements in wanted.items():
            channels = _channels(side, self._sim)
            wanted[side] = channels.all_of(channels.any_of(elements))
        return wanted

    def _is_cut(self, node: nengo_dl.TensorNode) -> bool:
        """Tell whether a layer can have fewer channels."""
        if is_opaque(node, self._flow):
            return False
        layer = parameters.layers(node, self._sim)[0]
        activation = getattr(layer, "activation", None)
        is_each = activation is None or (
            is_of_keras(activation) and activation.__name__ not in ("softmax", "log_softmax", "glu")
        )
        return isinstance(layer, CUT) and is_each and getattr(layer, "groups", 1) == 1

    def _join_shared(self) -> None:
        """Keep the same in all TensorNodes that share a layer, and on both sides of pooling."""
        nodes = collections.defaultdict(list)
        for kind, obj in self._left:
            if kind == OUTPUT and isinstance(obj, nengo_dl.TensorNode):
                nodes[id(parameters.layers(obj)[0])].append(obj)
        for sharing in nodes.values():
            sharing = [node for node in sharing if self._left[OUTPUT, node].any()]
            for side in (INPUT, OUTPUT) if len(sharing) > 1 else ():
                self._join([(side, node) for node in sharing])
            for node in sharing:
                if self._is_cut(node) and isinstance(parameters.layers(node)[0], patterns.POOLING):
                    self._join([(INPUT, node), (OUTPUT, node)])

    def _join(self, sides: list[Place]) -> None:
        known = [_channels(side, self._sim) for side in sides]
        every = [one.any_of(self._left[side]) for side, one in zip(sides, known)]
        for side, channels in zip(sides, known):
            self._left[side] = channels.all_of(np.logical_or.reduce(every))

    def _note(self, staying: list[Stays]) -> None:
        """Say why neurons stay that nothing needs."""
        for (kind, obj), _, why, is_fixed, _ in staying:
            if is_fixed and kind == NEURONS and (kind, obj) in self._reach.sizes:
                self.notes.setdefault(obj, why)


def _without_penalties(staying: list[Stays], reach: Reach) -> list[Stays]:
    """Leave out what only a penalty reads, if it leads to something else that is read."""
    read = reach.leading_to(one.place for one in staying if not one.is_penalty)
    return [one for one in staying if not one.is_penalty or one.place not in read]


def _is_whole(ensemble: nengo.Ensemble) -> bool:
    """Tell whether neurons depend on their number."""
    kind = type(ensemble.neuron_type)
    is_known = kind.__module__.split(".")[0] in PACKAGES
    return ensemble.noise is not None or kind.__name__ in BY_CHANCE or not is_known


def _channels(side: Place, sim: nengo_dl.Simulator) -> Channels:
    """Return the channels of one side of a TensorNode."""
    kind, node = side
    layer = parameters.layers(node, sim)[0]
    last = is_channels_last(layer)
    if hasattr(layer, "kernel"):
        number = int(layer.kernel.shape[-1 if kind == OUTPUT else -2])
    else:
        number = int(node.shape_in[-1 if last else 0])
    return Channels(number, last, size_of(side))
