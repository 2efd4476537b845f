"""The elements of the places in a network, and those that something else than weights uses."""

from __future__ import annotations

from typing import Any, Iterator, NamedTuple

import nengo
import nengo_dl
import numpy as np

from nengo_wd import settings
from nengo_wd.energy.flow import (
    INPUT,
    NEURONS,
    OUTPUT,
    SPACE,
    Flow,
    Place,
    end_of,
    is_direct,
    start_of,
)

NoTransform: Any = getattr(nengo.transforms, "NoTransform", None)  # Nengo 3.0 lacks it


class Channels(NamedTuple):
    """The channels of one side of a layer, among its elements."""

    number: int
    is_last: bool  # whether they are the last axis, or the first
    size: int  # the number of elements

    def any_of(self, elements: np.ndarray) -> np.ndarray:
        """Return for which channels any of their elements is true."""
        shape = (-1, self.number) if self.is_last else (self.number, -1)
        return np.any(elements.reshape(shape), axis=0 if self.is_last else 1)

    def all_of(self, channels: np.ndarray) -> np.ndarray:
        """Return the value of each element, from one for each channel."""
        each = self.size // self.number
        return np.tile(channels, each) if self.is_last else np.repeat(channels, each)


def is_channels_last(layer: Any) -> bool:
    """Tell whether a layer has its channels along the last axis."""
    return getattr(layer, "data_format", "channels_last") == "channels_last"


def size_of(place: Place) -> int:
    """Return how many elements a place has."""
    kind, obj = place
    if kind == NEURONS:
        return obj.n_neurons if isinstance(obj, nengo.Ensemble) else obj.size_out
    if isinstance(obj, nengo.Connection):
        return obj.size_mid  # the size of its function
    return obj.size_out if kind == OUTPUT else obj.size_in


def taken(size: int, places: Any) -> np.ndarray:
    """Return the indices that a slice takes from an object with ``size`` elements."""
    return np.atleast_1d(np.arange(size)[places])


def part_of(obj: Any, places: np.ndarray, size: int) -> Any:
    """Return an object with ``size`` elements, or the part of it with some of them, in order."""
    if np.array_equal(places, np.arange(size)):
        return obj
    if len(places) and np.array_equal(places, np.arange(places[0], places[0] + len(places))):
        return obj[int(places[0]) : int(places[0]) + len(places)]
    return obj[places.tolist()]


def pre_elements(connection: nengo.Connection) -> tuple[Place, np.ndarray]:
    """Return the place where a connection starts, and the elements in the order of its columns."""
    pre, place = connection.pre_obj, start_of(connection)
    if place == (OUTPUT, connection):
        place = OUTPUT, pre
    is_decoded = isinstance(pre, nengo.Ensemble) and place[0] == NEURONS
    return place, taken(size_of(place), slice(None) if is_decoded else connection.pre_slice)


def post_elements(connection: nengo.Connection) -> tuple[Place, np.ndarray]:
    """Return the place where a connection ends, and the elements in the order of its rows."""
    place = end_of(connection)
    is_whole = isinstance(connection.post_obj, nengo.Ensemble) and place[0] == NEURONS
    return place, taken(size_of(place), slice(None) if is_whole else connection.post_slice)


def probed_elements(probe: nengo.Probe) -> tuple[Place, np.ndarray]:
    """Return the place of a Node or of neurons that a probe records, and the elements in order."""
    obj = probe.obj
    place = (NEURONS, obj.ensemble) if isinstance(obj, nengo.ensemble.Neurons) else (OUTPUT, obj)
    return place, taken(size_of(place), slice(None) if probe.slice is None else probe.slice)


def probed_decoders(sim: nengo_dl.Simulator) -> dict[nengo.Probe, np.ndarray]:
    """Return the decoders of all probes that have some, of shape (size, n_neurons)."""
    connections = (one for one in sim.model.params if isinstance(one, nengo.Connection))
    return {
        one.post_obj: np.asarray(sim.model.params[one].weights)
        for one in connections
        if isinstance(one.post_obj, nengo.Probe)
        and isinstance(one.pre_obj, nengo.Ensemble)
        and not is_direct(one.pre_obj)
    }


# -- elements that stay --------------------------------------------------------------------


class Stays(NamedTuple):
    """Elements that something else than weights uses."""

    place: Place
    elements: np.ndarray  # bools
    why: str
    is_fixed: bool = True  # whether they stay even if they are always zero
    is_penalty: bool = False  # whether only a penalty reads them


def _stays(place: Place, why: str, elements: Any = slice(None)) -> Stays:
    is_used = np.zeros(size_of(place), bool)
    is_used[elements] = True
    return Stays(place, is_used, why)


def what_stays(sim: nengo_dl.Simulator, flow: Flow) -> Iterator[Stays]:
    """Yield what probes, functions and learning rules need."""
    network, decoders = sim.model.toplevel, probed_decoders(sim)
    found = settings.look_up(network, "regularizer", nengo.Probe)
    penalties = {one.obj for one in found if one.value is not None}
    for probe in network.all_probes:
        is_penalty = probe in penalties and isinstance(probe.obj, nengo.ensemble.Neurons)
        for one in _for_probe(probe, decoders.get(probe)):
            yield one._replace(is_penalty=is_penalty)
    for node in network.all_nodes:
        if node.size_in and is_opaque(node, flow):
            yield _stays((INPUT, node), "its function reads them")
    for ensemble in filter(is_direct, network.all_ensembles):
        yield _stays((SPACE, ensemble), "it has no neurons")
    for connection in network.all_connections:
        why = why_connection_stays(connection, flow)
        if why is not None:
            yield from _ends(connection, why)
        for ensemble in learned_encoders(connection):
            yield _stays((NEURONS, ensemble), f"{connection} learns their encoders")
        if isinstance(connection.post_obj, nengo.connection.LearningRule):
            yield _stays((INPUT, connection.post_obj), "a learning rule reads them")


def learned_encoders(connection: nengo.Connection) -> list[nengo.Ensemble]:
    """Return the ensemble whose encoders a connection's learning rules change, if they do."""
    rules = connection.learning_rule_type
    rules = rules.values() if isinstance(rules, dict) else np.atleast_1d(rules)
    changed = [getattr(rule, "modifies", None) for rule in rules]
    return [connection.post_obj] if "encoders" in changed else []


def is_opaque(node: nengo.Node, flow: Flow) -> bool:
    """Tell whether a Node has a function or a layer that can't be cut."""
    if isinstance(node, nengo_dl.TensorNode):
        return node in flow.uncounted or not node.size_in
    return node.output is not None


def why_connection_stays(connection: nengo.Connection, flow: Flow) -> str | None:
    """Return why a connection stays whatever its weights; None, if it does not."""
    if connection.learning_rule_type is not None:
        return f"{connection} has a learning rule"
    if connection in flow.uncounted:
        return f"{connection} can't be cut, because {flow.uncounted[connection]}"
    if start_of(connection) == (OUTPUT, connection):
        return f"{connection} has a function"
    if getattr(connection.transform, "groups", 1) > 1:
        return f"{connection} is a convolution in groups"
    return None


def _ends(connection: nengo.Connection, why: str) -> Iterator[Stays]:
    """Yield all elements that a connection joins."""
    for place, elements in (pre_elements(connection), post_elements(connection)):
        yield _stays(place, why, elements)


def _for_probe(probe: nengo.Probe, decoders: np.ndarray | None) -> Iterator[Stays]:
    obj = probe.obj
    if isinstance(obj, nengo.Connection):
        yield from _ends(obj, f"{obj} is probed")
    elif isinstance(obj, nengo.connection.LearningRule):
        yield from _ends(obj.connection, f"{obj} is probed")
    elif not isinstance(obj, nengo.Ensemble) or is_direct(obj):
        place, elements = probed_elements(probe)
        yield _stays(place, f"{probe} records them", elements)
    elif decoders is not None:
        is_decoded = (decoders != 0).any(axis=0)
        yield Stays((NEURONS, obj), is_decoded, f"{probe} decodes them", is_fixed=False)
    else:
        kind = SPACE if probe.attr == "input" else NEURONS
        yield _stays((kind, obj), f"{probe} records them")
