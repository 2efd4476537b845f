"""Cuts the objects of a copied network to their remaining elements."""

from __future__ import annotations

import copy
from typing import Any

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.solvers import NoSolver
from nengo.transforms import ChannelShape, SparseMatrix

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd import settings
from nengo_wd.energy import patterns
from nengo_wd.energy.flow import INPUT, NEURONS, OUTPUT, Place, is_direct, start_of
from nengo_wd.networks.copies import (
    Copy,
    as_sparse,
    built_layer,
    full_weights,
    layer_config,
    replace,
    with_states,
    zeros_for,
)
from nengo_wd.networks.elements import (
    Channels,
    NoTransform,
    is_channels_last,
    part_of,
    post_elements,
    pre_elements,
    probed_elements,
    size_of,
)
from nengo_wd.networks.layouts import Layouts
from nengo_wd.regularizers.forms import Scheduled, unscheduled
from nengo_wd.regularizers.weights import GroupLasso


class Cut:
    """Cuts the network of a copy to the elements in layouts, in place."""

    def __init__(self, copied: Copy, layouts: Layouts) -> None:
        self._copy, self._layouts = copied, layouts
        self._sim = copied.sim
        self._layers: dict[int, Any] = {}  # those that were cut, by the identity of the old one
        network = self._sim.model.toplevel
        self.removed: set[Any] = set()
        for obj in (*network.all_nodes, *network.all_ensembles):
            if layouts.is_left(obj):
                self._cut(obj)
            else:
                self.removed.add(obj)
        for connection in network.all_connections:
            self._cut_connection(connection)
        for probe in network.all_probes:
            self._move_probe(probe)
        copied.remove(copied[obj] for obj in self.removed)

    def _cut(self, obj: Any) -> None:
        if isinstance(obj, nengo.Ensemble):
            self._cut_ensemble(obj)
        elif isinstance(obj, nengo_dl.TensorNode):
            self._cut_tensor_node(obj)
        elif obj.output is None:
            new, left = self._copy[obj], self._layouts.left((OUTPUT, obj))
            new.size_in = new.size_out = len(left)

    def _cut_ensemble(self, ensemble: nengo.Ensemble) -> None:
        left = self._layouts.left((NEURONS, ensemble))
        if is_direct(ensemble) or len(left) == ensemble.n_neurons:
            return
        new = self._copy[ensemble]
        replace(new, "n_neurons", len(left))
        for name in ("encoders", "gain", "bias"):
            setattr(new, name, np.asarray(getattr(new, name))[left])
        states = new.neuron_type.initial_state or {}
        cut = {name: np.asarray(values)[left] for name, values in states.items()}
        new.neuron_type = with_states(ensemble.neuron_type, cut)
        for one in (new, new.neurons):
            _keep_costs(self._copy, one, np.arange(ensemble.dimensions), left)

    def _cut_tensor_node(self, node: nengo_dl.TensorNode) -> None:
        channels = self._layouts.channels(node)
        if channels is None:
            return
        new, function = self._copy[node], seam.values.function_of(node)
        n_in, n_out = (len(self._layouts.left((side, node))) for side in (INPUT, OUTPUT))
        shape_in = _cut_shape(self._sim, node, node.shape_in, n_in)
        if id(function) not in self._layers:
            self._layers[id(function)] = _cut_layer(self._sim, node, shape_in, channels)
        new.shape_in = shape_in
        new.shape_out = _cut_shape(self._sim, node, node.shape_out, n_out)
        new.tensor_func = self._layers[id(function)]
        _keep_costs(self._copy, new, *channels)

    # -- connections -----------------------------------------------------------------------

    def _cut_connection(self, connection: nengo.Connection) -> None:
        (start, columns), (end, rows) = pre_elements(connection), post_elements(connection)
        left = np.isin(columns, self._layouts.left(start)), np.isin(rows, self._layouts.left(end))
        is_joined = not {start[1], end[1]} & self.removed and all(map(np.any, left))
        if not is_joined or self._layouts.is_idle(connection):
            self.removed.add(connection)
            return
        new = self._copy[connection]
        if _is_each(self._sim, connection):
            left = (left[0] & left[1],) * 2
            if not left[0].any():
                self.removed.add(connection)
                return
        if isinstance(connection.transform, nengo.Convolution):
            self._cut_convolution(connection, new, columns, rows, left)
            return
        if not (left[0].all() and left[1].all()):
            _cut_weights(new, *left)
            _keep_costs(self._copy, new, *left)
        self._move(connection, new, left)
        new.transform = new.transform  # Nengo checks that it fits

    def _move(self, connection: nengo.Connection, new: Any, left: tuple) -> None:
        """Connect the remaining elements, by their places among these."""
        (start, columns), (end, rows) = pre_elements(connection), post_elements(connection)
        for name, obj, place, elements, there in (
            ("pre", connection.pre_obj, start, columns, left[0]),
            ("post", connection.post_obj, end, rows, left[1]),
        ):
            is_view = place[0] != NEURONS or isinstance(obj, nengo.ensemble.Neurons)
            if is_view and (self._is_cut(place) or not there.all()):  # else its slice stays
                replace(new, name, self._view(obj, place, elements[there]))

    def _is_cut(self, place: Place) -> bool:
        return len(self._layouts.left(place)) < size_of(place)

    def _view(self, obj: Any, place: Place, elements: np.ndarray) -> Any:
        """Return a new object, or the part of it that has some of the old one's elements."""
        if isinstance(obj, nengo.connection.LearningRule):
            return self._copy[obj.connection].learning_rule
        new, left = self._copy[obj], self._layouts.left(place)
        return part_of(new, np.searchsorted(left, elements), len(left))

    def _move_probe(self, probe: nengo.Probe) -> None:
        obj, new = probe.obj, self._copy[probe]
        if probe.attr == "decoded_output" and isinstance(obj, nengo.Ensemble):
            left = self._layouts.left((NEURONS, obj))
            if isinstance(new.solver, NoSolver) and new.solver.values is not None:
                new.solver = NoSolver(new.solver.values[left])
            return
        if not isinstance(obj, (nengo.Node, nengo.ensemble.Neurons)):
            return
        place, elements = probed_elements(probe)
        there = elements[np.isin(elements, self._layouts.left(place))]
        if not len(there):
            self.removed.add(probe)
        elif self._is_cut(place):
            replace(new, "target", self._view(obj, place, there))

    def _cut_convolution(
        self, connection: Any, new: Any, columns: np.ndarray, rows: np.ndarray, left: tuple
    ) -> None:
        """Keep channels with a remaining element, and put Nodes where other elements are gone."""
        shapes = new.transform.input_shape, new.transform.output_shape
        sides = [Channels(one.n_channels, one.channels_last, one.size) for one in shapes]
        channels = [side.any_of(elements) for side, elements in zip(sides, left)]
        before, after = (
            elements[side.all_of(some)] for side, some, elements in zip(sides, channels, left)
        )
        pre = self._view(connection.pre_obj, pre_elements(connection)[0], columns[left[0]])
        post = self._view(connection.post_obj, post_elements(connection)[0], rows[left[1]])
        with self._copy.network_of(new):
            if not before.all():  # the Node has zeros for the others
                inputs = nengo.Node(size_in=len(before), label=f"{connection} inputs")
                nengo.Connection(pre, inputs[np.flatnonzero(before).tolist()], synapse=None)
                pre = inputs
            if not after.all():
                outputs = nengo.Node(size_in=len(after), label=f"{connection} outputs")
                nengo.Connection(outputs[np.flatnonzero(after).tolist()], post, synapse=None)
                post = outputs
        replace(new, "pre", pre)
        replace(new, "post", post)
        new.transform = _cut_filters(new.transform, *channels)
        _keep_costs(self._copy, new, *channels)


def _cut_shape(
    sim: nengo_dl.Simulator, node: nengo_dl.TensorNode, shape: tuple, n_left: int
) -> tuple:
    """Return the shape of one side of a layer with ``n_left`` elements."""
    layer, size = parameters.layers(node, sim)[0], int(np.prod(shape))
    axis = len(shape) - 1 if is_channels_last(layer) else 0
    return tuple(n * n_left // size if i == axis else n for i, n in enumerate(shape))


def _keep_costs(copied: Copy, new: Any, before: np.ndarray, after: np.ndarray) -> None:
    """Keep the remaining costs of groups in the settings of a new object."""
    for params in copied.settings_of(new):
        if settings.has_setting(params, "regularizer"):
            params.regularizer = _cut_costs(params.regularizer, before, after)


def _cut_costs(regularizer: Any, before: np.ndarray, after: np.ndarray) -> Any:
    """Return a regularizer with the costs of the remaining inputs or outputs."""
    lasso = unscheduled(regularizer)
    if not isinstance(lasso, GroupLasso) or lasso.costs is None or lasso.groups is None:
        return regularizer
    new = copy.copy(lasso)
    new.costs = tuple(np.asarray(lasso.costs)[before if lasso.groups == "inputs" else after])
    return new if lasso is regularizer else Scheduled(new, regularizer.strength)


def _cut_layer(
    sim: nengo_dl.Simulator, node: nengo_dl.TensorNode, shape_in: tuple, channels: tuple
) -> Any:
    """Return a TensorNode's layer with some of the channels of its input and output."""
    before, after = channels
    layer = parameters.layers(node, sim)[0]
    config = layer_config(layer)
    changed: dict[str, Any] = {name: len(after) for name in ("units", "filters") if name in config}
    if config.get("batch_input_shape") is not None:
        declared = [*config["batch_input_shape"]]
        declared[-1 if is_channels_last(layer) else 1] = len(before)
        changed["batch_input_shape"] = tuple(declared)
    regularizer = getattr(layer, "kernel_regularizer", None)
    left = _cut_costs(regularizer, before, after)
    if left is not regularizer:
        changed["kernel_regularizer"] = left
    weights = [
        one[..., after] if one.ndim == 1 else one[..., before, :][..., after]
        for one in seam.values.fetch(sim, layer.weights)
    ]
    for name, values in zip(("kernel_initializer", "bias_initializer"), weights):
        if np.ndim(getattr(getattr(layer, name), "value", 0)):  # an array of the old shape
            changed[name] = tf.constant_initializer(values)
    new = built_layer(layer, shape_in, node.pass_time, **changed)
    new.set_weights(weights)
    return new


def _is_each(sim: nengo_dl.Simulator, connection: nengo.Connection) -> bool:
    """Tell whether each element leads to a single one, with one weight or none."""
    kind, start = start_of(connection)
    is_decoded = kind == NEURONS and isinstance(connection.pre_obj, nengo.Ensemble)
    if is_decoded or start is connection:
        return False
    weights = sim.model.sig[connection]["weights"]
    is_dense = isinstance(connection.transform, (nengo.Dense, NoTransform))
    return is_dense and (weights is None or weights.ndim < 2)


def _cut_weights(new: nengo.Connection, before: np.ndarray, after: np.ndarray) -> None:
    """Keep the weights between remaining elements; the transform is set when it fits."""
    solver, transform = new.solver, new.transform
    if isinstance(solver, NoSolver) and solver.values is not None:
        values = solver.values[before][:, after]
        if solver.weights:
            new.solver = full_weights(values)
        else:
            new.solver, new.function = NoSolver(values), zeros_for(len(values.T))
            replace(new, "transform", NoTransform(len(values.T)))
    elif isinstance(transform, NoTransform):
        replace(new, "transform", NoTransform(int(before.sum())))
    elif isinstance(transform, nengo.Sparse):
        replace(new, "transform", _cut_sparse(transform, before, after))
    else:
        replace(new, "transform", _cut_dense(transform, before, after))


def _cut_dense(transform: nengo.Dense, before: np.ndarray, after: np.ndarray) -> nengo.Dense:
    init = np.asarray(transform.init)
    init = init[after] if init.ndim else init
    init = init[:, before] if init.ndim == 2 else init
    return nengo.Dense((int(after.sum()), int(before.sum())), init)


def _cut_sparse(transform: nengo.Sparse, before: np.ndarray, after: np.ndarray) -> nengo.Sparse:
    matrix = transform.init
    values = (matrix if isinstance(matrix, SparseMatrix) else matrix.tocoo()).data
    every = patterns.pattern_at(parameters.sparse_places(matrix), matrix.shape, values)
    return as_sparse(every[after][:, before])


def _cut_filters(old: nengo.Convolution, before: np.ndarray, after: np.ndarray) -> Any:
    """Return a convolution with some of the input channels and of the filters."""
    new, shape, last = copy.copy(old), [*old.input_shape.shape], old.channels_last
    shape[-1 if last else 0] = int(before.sum())
    replace(new, "input_shape", ChannelShape(tuple(shape), channels_last=last))
    replace(new, "n_filters", int(after.sum()))
    replace(new, "init", np.asarray(old.init)[..., before, :][..., after])
    return new
