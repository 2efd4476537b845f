"""The network as places of values, and the linear edges between them."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple, Tuple

import nengo
import nengo_dl
import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd.energy import layers, patterns

Place = Tuple[str, Any]  # what is there of which object: NEURONS, SPACE, INPUT or OUTPUT
NEURONS, SPACE, INPUT, OUTPUT = "neurons", "space", "input", "output"


class Weighs(enum.Enum):
    """What synapses an edge has."""

    NOTHING = 0  # it hands values on
    EACH = 1  # one for each value, as a factor does
    ALL = 2  # those of a matrix
    ENCODES = 3  # those of a matrix, which belong to the connection that leads there


class Edge(NamedTuple):
    """What hands values on from one place to another, through weights or without."""

    start: Place
    end: Place
    pattern: patterns.Pattern
    weighs: Weighs
    obj: Any


class Source(NamedTuple):
    """A place from which values come that are not just handed on."""

    place: Place
    size: int
    neurons: Any = None  # the neuron type of an ensemble, or the activation of a layer
    signal: Any = None  # None, if it is not known; there is an event at each time step then

    @property
    def obj(self) -> Any:
        """The object that the values are of."""
        return self.place[1]

    @property
    def spikes(self) -> bool:
        """Whether these are neurons with spikes."""
        return getattr(self.neurons, "spiking", False)


class Flow(NamedTuple):
    """A network as a graph, and the objects that can't be counted, with the reason."""

    sources: list[Source]
    edges: list[Edge]
    uncounted: dict[Any, str]


def of_network(sim: nengo_dl.Simulator, skip_zeros: bool) -> Flow:
    """Return the flow of the simulator's network, with its weights as they are now."""
    flow = Flow([], [], {})
    network = sim.model.toplevel
    for node in network.all_nodes:
        _add_node(flow, sim, node, skip_zeros)
    for ensemble in network.all_ensembles:
        _add_ensemble(flow, sim, ensemble, skip_zeros)
    for connection in network.all_connections:
        _add_connection(flow, sim, connection, skip_zeros)
    return flow


def _add_ensemble(flow: Flow, sim: Any, ensemble: nengo.Ensemble, skip_zeros: bool) -> None:
    signals = _signals(sim, ensemble)
    if is_direct(ensemble):
        flow.sources.append(Source((OUTPUT, ensemble), ensemble.size_out, None, signals["out"]))
        return
    signal = _signals(sim, ensemble.neurons)["out"]
    place = NEURONS, ensemble
    flow.sources.append(Source(place, ensemble.n_neurons, ensemble.neuron_type, signal))
    encoders = patterns.of_matrix(_values(sim, ensemble, "scaled_encoders"), skip_zeros)
    flow.edges.append(Edge((SPACE, ensemble), place, encoders, Weighs.ENCODES, ensemble))


def _add_node(flow: Flow, sim: Any, node: nengo.Node, skip_zeros: bool) -> None:
    is_tensor_node = isinstance(node, nengo_dl.TensorNode)
    known = layers.of_node(sim, node, skip_zeros) if is_tensor_node else None
    if known is not None:
        _add_layer(flow, sim, node, known)
    elif not is_tensor_node and node.output is None:
        same = patterns.identity(node.size_in)
        flow.edges.append(Edge((INPUT, node), (OUTPUT, node), same, Weighs.NOTHING, node))
    else:
        signal = _signals(sim, node)["out"]
        flow.sources.append(Source((OUTPUT, node), node.size_out, None, signal))
        if is_tensor_node:
            flow.uncounted[node] = "its function is not known"


def _add_layer(flow: Flow, sim: Any, node: nengo_dl.TensorNode, known: layers.Known) -> None:
    weighs = Weighs.ALL if known.has_weights else Weighs.NOTHING
    end = (OUTPUT if known.activation is None else NEURONS), node
    flow.edges.append(Edge((INPUT, node), end, known.pattern, weighs, node))
    if known.activation is not None:
        signal = _signals(sim, node)["out"]
        flow.sources.append(Source((OUTPUT, node), node.size_out, known.activation, signal))


def _add_connection(flow: Flow, sim: Any, connection: nengo.Connection, skip_zeros: bool) -> None:
    _signals(sim, connection)
    start, end = _start(connection), _end(connection)
    found = _of_transform(sim, connection, skip_zeros)
    if found is None:
        flow.uncounted[connection] = f"its transform is {type(connection.transform).__name__}"
        return
    pattern, weighs = found
    if start == (OUTPUT, connection):  # a function, computed at each time step
        flow.sources.append(Source(start, connection.size_mid))
    elif start[0] == OUTPUT or isinstance(connection.pre_obj, nengo.ensemble.Neurons):
        taken = patterns.of_slice(connection.pre_obj.size_out, connection.pre_slice)
        pattern = patterns.composed(pattern, taken)
    if end[0] != NEURONS or isinstance(connection.post_obj, nengo.ensemble.Neurons):
        given = patterns.of_slice(connection.post_obj.size_in, connection.post_slice)
        pattern = patterns.composed(patterns.Pattern(given.T), pattern)
    flow.edges.append(Edge(start, end, pattern, weighs, connection))


def _start(connection: nengo.Connection) -> Place:
    pre = connection.pre_obj
    if isinstance(pre, nengo.ensemble.Neurons):
        return NEURONS, pre.ensemble
    if isinstance(pre, nengo.Ensemble) and not is_direct(pre):
        return NEURONS, pre
    return OUTPUT, (pre if connection.function is None else connection)


def _end(connection: nengo.Connection) -> Place:
    post = connection.post_obj
    if isinstance(post, nengo.ensemble.Neurons):
        return NEURONS, post.ensemble
    if isinstance(post, nengo.Ensemble):
        return (NEURONS if connection.solver.weights else SPACE), post
    return INPUT, post


def _of_transform(
    sim: Any, connection: nengo.Connection, skip_zeros: bool
) -> tuple[patterns.Pattern, Weighs] | None:
    """Return the pattern of a connection's weights, decoders included; None if it is not known."""
    transform = connection.transform
    built = sim.model.sig[connection]["weights"]
    if built is None:
        return patterns.identity(connection.size_mid), Weighs.NOTHING
    if isinstance(transform, nengo.Convolution):
        return _of_convolution(sim, connection, skip_zeros), Weighs.ALL
    if isinstance(transform, nengo.transforms.Sparse):
        return _of_sparse(sim, connection, skip_zeros), Weighs.ALL
    if not isinstance(transform, (nengo.Dense, nengo.transforms.NoTransform)):
        return None
    weights = _values(sim, connection)
    if weights.ndim < 2:
        kept = np.broadcast_to(weights != 0 if skip_zeros else True, connection.size_mid)
        return patterns.Pattern(np.diag(kept)), Weighs.EACH
    return patterns.of_matrix(weights, skip_zeros), Weighs.ALL


def _of_convolution(sim: Any, connection: nengo.Connection, skip_zeros: bool) -> patterns.Pattern:
    transform, kernel = connection.transform, _values(sim, connection)
    return patterns.of_convolution(
        patterns.Filters(
            transform.input_shape.spatial_shape,
            kernel != 0 if skip_zeros else np.ones(kernel.shape, bool),
            transform.strides,
            (1,) * transform.dimensions,
            transform.padding,
            transform.channels_last,
            getattr(transform, "groups", 1),
        )
    )


def _of_sparse(sim: Any, connection: nengo.Connection, skip_zeros: bool) -> patterns.Pattern:
    built = sim.model.sig[connection]["weights"].initial_value
    if isinstance(built, nengo.transforms.SparseMatrix):
        indices = built.indices
    else:
        places = built.tocoo()
        indices = np.stack([places.row, places.col], 1)
    if skip_zeros:
        indices = indices[np.ravel(_values(sim, connection)) != 0]
    return patterns.of_places(indices, built.shape)


def _values(sim: Any, obj: Any, name: str = "weights") -> np.ndarray:
    """Return weights as they are now.

    Those of a learning rule differ by the example of a minibatch: the largest of each is returned,
    which is zero where all of them are.
    """
    values = np.asarray(sim.data.get_params((obj, name))[0])
    by_example = values.ndim > np.ndim(getattr(sim.model.params[obj], name))
    return np.abs(values).max(axis=0) if by_example else values


def is_direct(ensemble: nengo.Ensemble) -> bool:
    """Tell whether an ensemble computes without neurons."""
    return isinstance(ensemble.neuron_type, nengo.Direct)


def _signals(sim: nengo_dl.Simulator, obj: Any) -> Any:
    """Return the signals of an object, or raise if it is not in the simulator."""
    if obj not in sim.model.sig:
        raise ValidationError(
            f"{obj} was added to {sim.model.toplevel} after the simulator was built; make a "
            "simulator anew",
            attr="network",
            obj=obj,
        )
    return sim.model.sig[obj]


def out_edges(flow: Flow) -> dict[Place, list[Edge]]:
    """Return the edges that leave each place."""
    found: dict[Place, list[Edge]] = {}
    for edge in flow.edges:
        found.setdefault(edge.start, []).append(edge)
    return found
