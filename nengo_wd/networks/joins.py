"""Nodes and connections in place of TensorNodes, as few as compute the same."""

from __future__ import annotations

import collections
from typing import Any, Mapping

import nengo
import numpy as np
from nengo.base import ObjView

from nengo_wd.energy.network_energy import name_of
from nengo_wd.networks.copies import Copy, replace
from nengo_wd.networks.elements import NoTransform, part_of, taken
from nengo_wd.networks.linear_layers import Step

LINEAR = (nengo.LinearFilter, nengo.synapses.Triangle, type(None))  # these change places with sums


class Joins:
    """Puts the steps of TensorNodes into the network of a copy, in place.

    Each TensorNode gets a Node for its output. The Node goes if one connection can do the same as
    those around it: they have one matrix of weights at most, and one synapse. Neurons take over the
    biases that they get unfiltered.
    """

    def __init__(self, copied: Copy, steps: Mapping[Any, list[Step]]) -> None:
        self._copy, self._network = copied, copied.network
        self._probed = {probe.obj for probe in self._network.all_probes}
        self._own: dict[Any, None] = {}  # the Nodes of TensorNodes, in order
        self._biases: dict[Any, np.ndarray] = {}  # those of these Nodes that nothing adds yet
        self._labels: dict[Any, Any] = {}  # of connections: the layers whose weights they have
        self._joined: dict[Any, Any] = {}  # removed objects, and what replaces them
        # the connections that lead to an object, and those that leave it, each in order
        self._arriving: dict[Any, dict[Any, None]] = collections.defaultdict(dict)
        self._leaving: dict[Any, dict[Any, None]] = collections.defaultdict(dict)
        for connection in self._network.all_connections:
            self._note_ends(connection)
        for node, found in steps.items():
            self._unfold(node, found)
        self._give_neurons_biases()
        while any([self._join(node) for node in [*self._own]]):
            pass
        for node, bias in self._biases.items():
            self._add_bias(bias, node, node, None)
        for connection in self._network.all_connections:
            if connection.label is None:  # the user's labels come first
                connection.label = self._labels.get(connection)
        for old in self._copy.sim.model.toplevel.all_objects:
            self._copy.put(old, self._left(copied[old]))

    def _left(self, new: Any) -> Any:
        """Return an object, or the connection that replaces it."""
        while new in self._joined:
            new = self._joined[new]
        return new

    def _unfold(self, node: Any, steps: list[Step]) -> None:
        """Make the Nodes and connections of a TensorNode's steps."""
        old, network = self._copy[node], self._copy.network_of(self._copy[node])
        with network:
            start = nengo.Node(size_in=int(node.size_in), label=name_of(node))
            self._own[start] = None
            end = start
            for step in steps:
                end = self._add_step(end, step)
        for name, held, new in (("pre", self._leaving, end), ("post", self._arriving, start)):
            for connection in held.pop(old, ()):
                replace(connection, name, _like(getattr(connection, name), new))
                self._note_ends(connection)
        for probe in self._network.all_probes:
            if probe.obj is old:
                replace(probe, "target", _like(probe.target, end))
                self._probed.add(end)
        self._copy.remove([old])
        self._copy.put(node, end)

    def _add_step(self, start: Any, step: Step) -> Any:
        """Connect a Node to a new one, and return that."""
        pre = start if step.places is None else part_of(start, step.places, start.size_out)
        transform = NoTransform(pre.size_out) if step.transform is None else step.transform
        end = nengo.Node(size_in=transform.size_out, label=start.label)
        self._own[end] = None
        made = nengo.Connection(pre, end, transform=transform, synapse=None)
        self._note_ends(made)
        self._labels[made] = start.label
        if step.bias is not None:
            self._biases[end] = step.bias
        return end

    def _note_ends(self, connection: Any) -> None:
        self._leaving[connection.pre_obj][connection] = None
        self._arriving[connection.post_obj][connection] = None

    # -- biases ----------------------------------------------------------------------------

    def _give_neurons_biases(self) -> None:
        """Give biases to the neurons behind a Node, if only neurons get them, unfiltered."""
        waiting = [*self._biases]
        while waiting:
            node = waiting.pop()
            leaving = self._leaving[node]
            if node not in self._probed and leaving and all(map(self._takes_bias, leaving)):
                bias = self._biases.pop(node)
                waiting += [one for one in (_give(c, bias, self._biases) for c in leaving) if one]

    def _takes_bias(self, connection: Any) -> bool:
        post = connection.post_obj
        is_neurons = isinstance(post, nengo.ensemble.Neurons)
        is_passed = self._is_simple(connection) and _is_plain(connection)
        return is_passed and connection.synapse is None and (is_neurons or post in self._own)

    def _add_bias(self, bias: np.ndarray, node: Any, post: Any, synapse: Any) -> None:
        with self._copy.network_of(node):
            source = nengo.Node(bias, label=f"{node.label}.bias")
            made = nengo.Connection(source, post, transform=NoTransform(len(bias)), synapse=synapse)
        self._note_ends(made)

    # -- connections -----------------------------------------------------------------------

    def _is_simple(self, connection: Any) -> bool:
        """Tell whether a connection has nothing but weights and a synapse."""
        return (
            isinstance(connection.pre_obj, (nengo.Node, nengo.ensemble.Neurons))
            and connection.function is None
            and connection.learning_rule_type is None
            and connection not in self._probed
        )

    def _join(self, node: Any) -> bool:
        """Leave a Node out, if one connection can replace those around it."""
        arriving, leaving = self._arriving[node], self._leaving[node]
        if node in self._probed or len(arriving) != 1 or len(leaving) != 1 or arriving == leaving:
            return False
        (before,), (after,) = arriving, leaving
        found = _in_one(before, after) if self._can_join(before, after, node) else None
        if found is None:
            return False
        if node in self._biases:
            bias = self._biases.pop(node)[after.pre_slice]
            self._add_bias(bias, node, after.post, after.synapse)
        places, transform = found
        pre = before.pre_obj
        replace(after, "pre", part_of(pre, places, pre.size_out))
        replace(after, "transform", transform)
        after.transform = transform  # Nengo checks that it fits
        after.synapse = before.synapse if after.synapse is None else after.synapse
        after.label = before.label if after.label is None else after.label
        self._labels[after] = self._labels.get(before) or self._labels.get(after)
        self._joined.update({before: after, node: after})
        self._own.pop(node)
        del self._leaving[pre][before], self._arriving[node], self._leaving[node]
        self._note_ends(after)
        self._copy.remove([before, node])
        return True

    def _can_join(self, before: Any, after: Any, node: Any) -> bool:
        is_plain, has_bias = _is_plain(after), node in self._biases
        return (
            self._is_simple(before)
            and self._is_simple(after)
            and np.array_equal(taken(node.size_in, before.post_slice), np.arange(node.size_in))
            and (before.synapse is None or after.synapse is None)
            and (is_plain and _is_whole(after) or isinstance(before.synapse, LINEAR))
            and (not has_bias or is_plain and isinstance(after.synapse, LINEAR))
        )


def _in_one(before: Any, after: Any) -> tuple[np.ndarray, Any] | None:
    """Return the elements and the weights of two connections as one; None, if none can be."""
    elements, transform = taken(before.pre_obj.size_out, before.pre_slice), after.transform
    places = taken(after.pre_obj.size_out, after.pre_slice)
    if _is_plain(before):
        elements = elements[places]
    elif not _is_plain(after):
        return None
    elif _is_whole(after):
        transform = before.transform
    elif _is_matrix(before.transform):
        weights = np.asarray(before.transform.init)[places]
        transform = nengo.Dense(weights.shape, weights)
    else:
        return None
    ends = elements, taken(after.post_obj.size_in, after.post_slice)
    if _is_matrix(transform) and any(len(np.unique(end)) < len(end) for end in ends):
        return None  # Nengo refuses these
    return elements, transform


def _is_matrix(transform: Any) -> bool:
    return isinstance(transform, nengo.Dense) and np.ndim(transform.init) == 2


def _give(connection: Any, bias: np.ndarray, biases: dict[Any, np.ndarray]) -> Any:
    """Give a bias to the object behind a connection, and return the object if it is a Node."""
    post = connection.post_obj
    there = np.zeros(post.size_in)
    np.add.at(there, connection.post_slice, bias[connection.pre_slice])
    if isinstance(post, nengo.ensemble.Neurons):
        post.ensemble.bias = post.ensemble.bias + post.ensemble.gain * there
        return None
    biases[post] = biases.get(post, 0) + there
    return post


def _like(part: Any, obj: Any) -> Any:
    """Return the part of an object that has the slice of another object's part."""
    return obj[part.slice] if isinstance(part, ObjView) else obj


def _is_whole(connection: Any) -> bool:
    """Tell whether a connection reads all elements, in their order."""
    size = connection.pre_obj.size_out
    return np.array_equal(taken(size, connection.pre_slice), np.arange(size))


def _is_plain(connection: Any) -> bool:
    """Tell whether a connection has no weights."""
    return isinstance(connection.transform, NoTransform)
