"""A copy of a simulator's network with the weights that it has now."""

from __future__ import annotations

import collections
import copy
import functools
import warnings
from typing import Any, Container, Iterable, Iterator

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import NotAddedToNetworkWarning
from nengo.solvers import NoSolver

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd import settings
from nengo_wd.energy.flow import is_direct
from nengo_wd.networks.elements import NoTransform, probed_decoders

OBJECTS = ("_regularizer", "_constraint", "activation")  # in configurations of layers
TRANSPOSED = getattr(nengo, "ConvolutionTranspose", ())  # Nengo 3.0 lacks it


def zeros_for(size: int) -> Any:
    """Return a function for given decoders, which only need its size; it can be pickled."""
    return functools.partial(np.resize, new_shape=(size,))


def as_sparse(matrix: Any) -> nengo.Sparse:
    """Return a transform with the weights of a sparse matrix of SciPy."""
    places = matrix.tocoo()
    indices = np.stack([places.row, places.col], axis=1)
    return nengo.Sparse(matrix.shape, indices=indices, init=np.asarray(places.data, float))


def full_weights(values: np.ndarray) -> NoSolver:
    """Return full weights from neurons to neurons, of shape (n_neurons before, n_neurons after)."""
    solver = NoSolver(values, weights=True)
    solver.compositional = False  # encoders are not multiplied with them
    return solver


class Copy:
    """A copy of a simulator's network with its current weights, and each old object's new one.

    Settings, labels and seeds stay. Both networks share the layers of TensorNodes in ``shared``.
    """

    def __init__(self, sim: nengo_dl.Simulator, shared: Container = ()) -> None:
        self.sim, network = sim, sim.model.toplevel
        self._memo: dict[int, Any] = dict(_shared(network))
        for node in sorted(tensor_nodes(network), key=shared.__contains__):
            function = seam.values.function_of(node)
            if id(function) not in self._memo:
                is_shared = node in shared
                self._memo[id(function)] = function if is_shared else copied_layer(sim, node)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotAddedToNetworkWarning)
            self.network = copy.deepcopy(network, self._memo)
        self._networks = (self.network, *self.network.all_networks)
        self._homes: dict[Any, nengo.Network] = {}
        self._settings: dict[Any, list[Any]] = collections.defaultdict(list)
        for given in (one.config.params for one in self._networks):
            for obj, params in given.items():
                self._settings[obj].append(params)
        self._give_seeds(network)
        self._give_weights(network)

    def __getitem__(self, obj: Any) -> Any:
        if isinstance(obj, nengo.ensemble.Neurons):
            return self[obj.ensemble].neurons
        return self._memo[id(obj)]

    def put(self, obj: Any, new: Any) -> None:
        """Set another new object for an old one."""
        self._memo[id(obj)] = new

    def network_of(self, new: Any) -> nengo.Network:
        """Return the network that holds a new object."""
        if new not in self._homes:
            for network in self._networks:
                for objects in network.objects.values():
                    self._homes.update(dict.fromkeys(objects, network))
        return self._homes[new]

    def settings_of(self, new: Any) -> list[Any]:
        """Return the settings that networks have for a new object."""
        return self._settings.get(new, [])

    def remove(self, objects: Iterable[Any]) -> None:
        """Remove new objects, and their settings."""
        gone = {*objects}
        gone |= {one.neurons for one in gone if isinstance(one, nengo.Ensemble)}
        for network in self._networks:
            lists = [*network.objects.values()]
            if isinstance(network, nengo.networks.EnsembleArray):
                lists.append(network.ea_ensembles)
            for held in lists:
                held[:] = [one for one in held if one not in gone]
            params = network.config.params
            for one in [one for one in params if one in gone]:
                del params[one]

    def _give_seeds(self, network: nengo.Network) -> None:
        """Keep the seeds of all objects, which otherwise depend on how many there are."""
        model = self.sim.model
        for obj in (*network.all_nodes, *network.all_ensembles, *network.all_connections):
            self[obj].seed = model.seeds[obj]

    def _give_weights(self, network: nengo.Network) -> None:
        ensembles = [one for one in network.all_ensembles if not is_direct(one)]
        trained: list[nengo.Connection] = []
        learned: list[nengo.Connection] = []
        dense = nengo.Dense, NoTransform
        for connection in network.all_connections:
            transform, is_learned = connection.transform, connection.learning_rule_type is not None
            if is_direct(connection.pre_obj) and isinstance(transform, dense):
                self._give_direct(connection)
            elif isinstance(transform, TRANSPOSED):
                self._give_transposed(connection)
            elif isinstance(transform, (*dense, nengo.Convolution, nengo.Sparse)):
                (learned if is_learned else trained).append(connection)
        found = self.sim.get_nengo_params([*ensembles, *trained])
        for ensemble, given in zip(ensembles, found):
            self._give_neurons(ensemble, given)
        for connection, given in zip(trained, found[len(ensembles) :]):
            self._give_connection(connection, given)
        for connection in learned:  # learning starts again
            self._give_connection(connection, built_weights(self.sim, connection))
        for probe, decoders in probed_decoders(self.sim).items():
            self[probe].solver = NoSolver(decoders.T)

    def _give_direct(self, connection: nengo.Connection) -> None:
        """Give a connection from an ensemble without neurons its weights; its function stays."""
        built = self.sim.model.params[connection].weights
        if built is not None:
            weights = self.sim.data.get_params((connection, "weights"))[0]
            self[connection].transform = np.reshape(weights, np.shape(built))

    def _give_transposed(self, connection: nengo.Connection) -> None:
        """Give a transposed convolution its weights, which NengoDL's function leaves out."""
        transform = copy.copy(connection.transform)
        replace(transform, "init", self.sim.data.get_params((connection, "weights"))[0])
        replace(self[connection], "transform", transform)

    def _give_connection(self, connection: nengo.Connection, given: dict[str, Any]) -> None:
        """Give a connection its weights, by the arguments that NengoDL returns for them."""
        new = self[connection]
        if "solver" not in given:
            if given["transform"] is not None:  # else it has no weights
                new.transform = given["transform"]
        elif connection.solver.weights:
            new.solver = full_weights(given["solver"].values)
        else:
            new.solver = given["solver"]
            new.function = zeros_for(given["solver"].values.shape[1])
            new.transform = None

    def _give_neurons(self, ensemble: nengo.Ensemble, given: dict[str, Any]) -> None:
        """Give an ensemble its neurons' parameters, and the states with which they begin."""
        new, built = self[ensemble], self.sim.model.params[ensemble]
        given["encoders"] = np.where(built.gain[:, None] == 0, built.encoders, given["encoders"])
        scaled = given["encoders"] * (built.gain / ensemble.radius)[:, None]
        is_learned = scaled.ndim > 2  # by the example of a minibatch
        if is_learned or np.allclose(scaled, built.scaled_encoders, rtol=1e-7, atol=0):
            given = {**given, "encoders": built.encoders}  # to the last digit
        for name, value in given.items():
            setattr(new, name, value)
        signals = self.sim.model.sig[ensemble.neurons]
        states = {name: signals[name].initial_value for name in ensemble.neuron_type.state}
        new.neuron_type = with_states(ensemble.neuron_type, states)


def built_weights(sim: nengo_dl.Simulator, connection: nengo.Connection) -> dict[str, Any]:
    """Return the arguments that give a connection the weights with which it was built."""
    weights = sim.model.params[connection].weights
    if weights is None or isinstance(connection.transform, nengo.Sparse):
        return {"transform": None}
    if isinstance(connection.pre_obj, nengo.Ensemble) and not is_direct(connection.pre_obj):
        return {"solver": NoSolver(np.asarray(weights).T)}
    return {"transform": np.asarray(weights)}


def replace(obj: Any, name: str, value: Any) -> None:
    """Give a new object another value of an argument, also where Nengo forbids a change."""
    getattr(type(obj), name).data[obj] = value


def with_states(neurons: Any, states: dict[str, np.ndarray]) -> Any:
    """Return a neuron type that begins with given states, each of shape (n_neurons,)."""
    if not states:
        return neurons
    new = copy.copy(neurons)
    replace(new, "initial_state", states)
    return new


def _shared(network: nengo.Network) -> Iterator[tuple[int, Any]]:
    """Yield what both networks share: the values of settings, each with its identity."""
    for one in (network, *network.all_networks):
        for params in one.config.params.values():
            for name in settings.SETTINGS:
                if settings.has_setting(params, name):
                    value = getattr(params, name)
                    yield id(value), value


def tensor_nodes(network: nengo.Network) -> Iterator[nengo_dl.TensorNode]:
    """Yield the TensorNodes of a network and its subnetworks."""
    return (node for node in network.all_nodes if isinstance(node, nengo_dl.TensorNode))


def copied_layer(sim: nengo_dl.Simulator, node: nengo_dl.TensorNode) -> Any:
    """Return a copy of a TensorNode's layer with its weights.

    Functions, Keras models and layers that make their weights in a call are not copied: the
    simulator that is made last has them.
    """
    layer = parameters.layers(node, sim)[0]
    if not hasattr(layer, "get_config") or isinstance(layer, tf.keras.Model):
        return layer
    weights = seam.values.fetch(sim, layer.weights)
    new = built_layer(layer, node.shape_in, node.pass_time)
    if len(new.weights) != len(weights):
        return layer
    new.set_weights(weights)
    return new


def built_layer(layer: Any, shape_in: Any, pass_time: bool, **changed: Any) -> Any:
    """Return a built copy of a layer with a changed configuration; NengoDL keeps its weights."""
    new = type(layer).from_config({**layer_config(layer), **changed})
    shapes = [()] * pass_time + ([] if shape_in is None else [(None, *shape_in)])
    new.build(shapes[0] if len(shapes) == 1 else shapes)
    return new


def layer_config(layer: Any) -> dict[str, Any]:
    """Return a layer's configuration, with regularizers and the like as objects.

    Keras only knows names of its own classes, and can't write variables.
    """
    own = {name: value for name, value in vars(layer).items() if name.endswith("_regularizer")}
    try:
        config = layer.get_config()
    except TypeError:  # a strength is a variable
        vars(layer).update(dict.fromkeys(own))
        config = layer.get_config()
    finally:
        vars(layer).update(own)
    by_default = dict(getattr(layer, "_default_regularizers", ()))
    for name in config:
        if name.endswith(OBJECTS) and name not in by_default and hasattr(layer, name):
            config[name] = getattr(layer, name)
    return config
