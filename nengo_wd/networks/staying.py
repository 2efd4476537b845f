"""What outside of weights uses elements of a network, so that they stay."""

from __future__ import annotations

from typing import Iterator, NamedTuple

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


class Stays(NamedTuple):
    """Elements that something outside of the weights uses."""

    place: Place
    elements: np.ndarray  # bools
    why: str
    is_fixed: bool = True  # whether they stay even where they are always zero
    is_penalty: bool = False  # whether a penalty alone reads them


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
            yield Stays((INPUT, node), np.ones(node.size_in, bool), "its function reads them")
    for ensemble in network.all_ensembles:
        if is_direct(ensemble):
            yield Stays((SPACE, ensemble), np.ones(ensemble.size_in, bool), "it has no neurons")
    for connection in network.all_connections:
        why = why_connection_stays(connection, flow)
        if why is not None:
            yield from _ends(connection, why)
        for ensemble in learned_encoders(connection):
            every = np.ones(ensemble.n_neurons, bool)
            yield Stays((NEURONS, ensemble), every, f"{connection} learns their encoders")
        if isinstance(connection.post_obj, nengo.connection.LearningRule):
            rule = connection.post_obj
            yield Stays((INPUT, rule), np.ones(rule.size_in, bool), "a learning rule reads them")


def learned_encoders(connection: nengo.Connection) -> list[nengo.Ensemble]:
    """Return the ensemble whose encoders a connection's learning rules change, if they do."""
    rules = connection.learning_rule_type
    rules = rules.values() if isinstance(rules, dict) else np.atleast_1d(rules)
    changed = [getattr(rule, "modifies", None) for rule in rules]
    return [connection.post_obj] if "encoders" in changed else []


def is_opaque(node: nengo.Node, flow: Flow) -> bool:
    """Tell whether a Node has a function or layer that can't be cut."""
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
    """Yield all elements between which a connection is."""
    for place, elements in (pre_elements(connection), post_elements(connection)):
        size = size_of(place)
        yield Stays(place, np.isin(np.arange(size), elements), why)


def pre_elements(connection: nengo.Connection) -> tuple[Place, np.ndarray]:
    """Return the place where a connection starts, and the elements in the order of its columns."""
    pre, place = connection.pre_obj, start_of(connection)
    if place == (OUTPUT, connection):
        place = OUTPUT, pre
    if isinstance(pre, nengo.Ensemble) and place[0] == NEURONS:
        return place, np.arange(pre.n_neurons)
    return place, np.atleast_1d(np.arange(pre.size_out)[connection.pre_slice])


def post_elements(connection: nengo.Connection) -> tuple[Place, np.ndarray]:
    """Return the place where a connection ends, and the elements in the order of its rows."""
    post, place = connection.post_obj, end_of(connection)
    if isinstance(post, nengo.Ensemble) and place[0] == NEURONS:
        return place, np.arange(post.n_neurons)
    return place, np.atleast_1d(np.arange(post.size_in)[connection.post_slice])


def size_of(place: Place) -> int:
    """Return how many elements a place has."""
    kind, obj = place
    if kind == NEURONS:
        return obj.n_neurons if isinstance(obj, nengo.Ensemble) else obj.size_out
    if isinstance(obj, nengo.Connection):
        return obj.size_mid  # of its function
    return obj.size_out if kind == OUTPUT else obj.size_in


def _for_probe(probe: nengo.Probe, decoders: np.ndarray | None) -> Iterator[Stays]:
    obj = probe.obj
    if isinstance(obj, nengo.Connection):
        yield from _ends(obj, f"{obj} is probed")
    elif isinstance(obj, nengo.connection.LearningRule):
        yield from _ends(obj.connection, f"{obj} is probed")
    elif isinstance(obj, nengo.Ensemble) and not is_direct(obj):
        yield _for_probe_of_ensemble(probe, decoders)
    else:
        place = (
            (NEURONS, obj.ensemble) if isinstance(obj, nengo.ensemble.Neurons) else (OUTPUT, obj)
        )
        size = size_of(place)
        taken = np.arange(size) if probe.slice is None else np.arange(size)[probe.slice]
        yield Stays(place, np.isin(np.arange(size), taken), f"{probe} records them")


def _for_probe_of_ensemble(probe: nengo.Probe, decoders: np.ndarray | None) -> Stays:
    obj = probe.obj
    if decoders is not None:
        return Stays((NEURONS, obj), (decoders != 0).any(axis=0), f"{probe} decodes them", False)
    if probe.attr == "input":
        return Stays((SPACE, obj), np.ones(obj.dimensions, bool), f"{probe} records it")
    return Stays((NEURONS, obj), np.ones(obj.n_neurons, bool), f"{probe} records them")


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
