"""A network as a graph: places with values, and linear edges between them."""

from __future__ import annotations

import collections
import enum
from typing import Any, Callable, Dict, Mapping, NamedTuple, Tuple

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd.energy import patterns

Place = Tuple[str, Any]  # one of the following four, of an object
NEURONS, SPACE, INPUT, OUTPUT = "neurons", "space", "input", "output"
Label = Tuple[Any, bool]  # the object that synapses belong to, and whether it has weights
Reached = Dict[Label, patterns.Pattern]  # from the elements of a source to those of a place


class Weighs(enum.Enum):
    """The weights of an edge."""

    NOTHING = 0  # none: values pass unchanged
    EACH = 1  # one for each value, as a factor has
    ALL = 2  # a matrix
    ENCODES = 3  # a matrix, whose synapses belong to the connection that leads there


class Edge(NamedTuple):
    """A linear step to a place, with weights or without."""

    end: Place
    pattern: patterns.Pattern
    weighs: Weighs
    obj: Any


class Source(NamedTuple):
    """A place whose values are not linear in others: neurons, functions, inputs."""

    place: Place
    size: int
    neurons: Any = None  # the neuron type of an ensemble, or the activation of a layer
    signal: Any = None  # None, if not known: each time step is then an event

    @property
    def obj(self) -> Any:
        """The object to which the values belong."""
        return self.place[1]

    @property
    def spikes(self) -> bool:
        """Whether these are neurons with spikes."""
        return getattr(self.neurons, "spiking", False)


def every_weight(weights: np.ndarray) -> np.ndarray:
    """Tell that all weights are synapses."""
    return np.ones(weights.shape, bool)


def not_zero(weights: np.ndarray) -> np.ndarray:
    """Tell that weights are synapses where they are not zero."""
    return weights != 0


class Flow:
    """A simulator's network as a graph, with its weights as they are now.

    ``synapses`` tells which weights are synapses, as `every_weight` and `not_zero` do, or returns
    the weights themselves. Values end at neurons, at what is not linear, and where no edge leaves.
    """

    def __init__(self, sim: nengo_dl.Simulator, synapses: Callable = every_weight) -> None:
        self._sim, self._of_weights = sim, synapses
        self.sources: list[Source] = []
        # by the place that they leave
        self.edges: dict[Place, list[Edge]] = collections.defaultdict(list)
        self.uncounted: dict[Any, str] = {}  # objects whose synapses are not known, with the reason
        network = sim.model.toplevel
        for node in network.all_nodes:
            self._add_node(node)
        for ensemble in network.all_ensembles:
            self._add_ensemble(ensemble)
        for connection in network.all_connections:
            self._add_connection(connection)
        reached = (edge.end for leaving in self.edges.values() for edge in leaving)
        self.ends = {end for end in reached if end not in self.edges or end[0] == NEURONS}
        self.ends.update(source.place for source in self.sources)

    def _add_ensemble(self, ensemble: nengo.Ensemble) -> None:
        if is_direct(ensemble):
            self._add_output(ensemble)
            return
        place, signal = (NEURONS, ensemble), self._sim.model.sig[ensemble.neurons]["out"]
        self.sources.append(Source(place, ensemble.n_neurons, ensemble.neuron_type, signal))
        encoders = patterns.Pattern(self._synapses(ensemble, "scaled_encoders"))
        self.edges[SPACE, ensemble].append(Edge(place, encoders, Weighs.ENCODES, ensemble))

    def _add_node(self, node: nengo.Node) -> None:
        if isinstance(node, nengo_dl.TensorNode):
            self._add_tensor_node(node)
        elif node.output is None:
            edge = Edge((OUTPUT, node), patterns.identity(node.size_in), Weighs.NOTHING, node)
            self.edges[INPUT, node].append(edge)
        else:
            self._add_output(node)

    def _add_tensor_node(self, node: nengo_dl.TensorNode) -> None:
        parameters.check_layers(self._sim)
        layer = parameters.layers(node, self._sim)[0]
        known = patterns.layer_pattern(layer, node.shape_in, self._kernel) if node.size_in else None
        if known is None:
            self._add_output(node)
            self.uncounted[node] = "its function is not known"
            return
        (pattern, has_weights), activation = known, getattr(layer, "activation", None)
        is_linear = activation in (None, tf.keras.activations.linear)
        end = (OUTPUT if is_linear else NEURONS), node
        weighs = Weighs.ALL if has_weights else Weighs.NOTHING
        self.edges[INPUT, node].append(Edge(end, pattern, weighs, node))
        if not is_linear:
            self._add_output(node, activation)

    def _add_output(self, obj: Any, activation: Any = None) -> None:
        """Add the output of an object as a source."""
        signal = self._sim.model.sig[obj]["out"]
        self.sources.append(Source((OUTPUT, obj), obj.size_out, activation, signal))

    def _add_connection(self, connection: nengo.Connection) -> None:
        start, end = start_of(connection), end_of(connection)
        pattern, weighs = self._transform_pattern(connection)
        if pattern is None:
            self.uncounted[connection] = f"its transform is {type(connection.transform).__name__}"
            return
        if start == (OUTPUT, connection):  # a function, computed at each time step
            self.sources.append(Source(start, connection.size_mid))
        elif start[0] == OUTPUT or isinstance(connection.pre_obj, nengo.ensemble.Neurons):
            taken = patterns.slice_pattern(connection.pre_obj.size_out, connection.pre_slice)
            pattern = patterns.composed(pattern, taken)
        if end[0] != NEURONS or isinstance(connection.post_obj, nengo.ensemble.Neurons):
            given = patterns.slice_pattern(connection.post_obj.size_in, connection.post_slice)
            pattern = patterns.composed(patterns.Pattern(given.T), pattern)
        self.edges[start].append(Edge(end, pattern, weighs, connection))

    def _transform_pattern(self, connection: nengo.Connection) -> tuple[Any, Weighs]:
        """Return the pattern of a connection's weights, with decoders; None, if not known."""
        transform, built = connection.transform, self._sim.model.sig[connection]["weights"]
        if built is None:
            return patterns.identity(connection.size_mid), Weighs.NOTHING
        known = (nengo.Dense, nengo.Convolution, nengo.Sparse)
        if not isinstance(transform, (*known, nengo.transforms.NoTransform)):
            return None, Weighs.NOTHING
        synapses = self._synapses(connection, "weights")
        if isinstance(transform, nengo.Convolution):
            return _convolution_pattern(transform, synapses), Weighs.ALL
        if isinstance(transform, nengo.Sparse):
            return _sparse_pattern(built.initial_value, synapses), Weighs.ALL
        if synapses.ndim < 2:
            each = np.broadcast_to(synapses, connection.size_mid)
            return patterns.Pattern(np.diag(each)), Weighs.EACH
        return patterns.Pattern(synapses), Weighs.ALL

    def _synapses(self, obj: Any, name: str) -> np.ndarray:
        """Return which weights of an object are synapses.

        Those of a learning rule differ by the example of a minibatch: a weight is zero if it is for
        all examples.
        """
        values = np.asarray(self._sim.data.get_params((obj, name))[0])
        if values.ndim > np.ndim(getattr(self._sim.model.params[obj], name)):
            values = np.abs(values).max(axis=0)
        return self._of_weights(values)

    def _kernel(self, variable: tf.Variable) -> np.ndarray:
        """Return which weights of a layer's kernel are synapses."""
        return self._of_weights(seam.values.fetch(self._sim, [variable])[0])


def is_direct(obj: Any) -> bool:
    """Tell whether an object is an ensemble that computes without neurons."""
    return isinstance(getattr(obj, "neuron_type", None), nengo.Direct)


def start_of(connection: nengo.Connection) -> Place:
    """Return the place where a connection starts."""
    pre = connection.pre_obj
    if isinstance(pre, nengo.ensemble.Neurons):
        return NEURONS, pre.ensemble
    if isinstance(pre, nengo.Ensemble) and not is_direct(pre):
        return NEURONS, pre
    return OUTPUT, (pre if connection.function is None else connection)


def end_of(connection: nengo.Connection) -> Place:
    """Return the place where a connection ends."""
    post = connection.post_obj
    if isinstance(post, nengo.ensemble.Neurons):
        return NEURONS, post.ensemble
    if isinstance(post, nengo.Ensemble):
        return (NEURONS if connection.solver.weights else SPACE), post
    return INPUT, post


def _convolution_pattern(transform: nengo.Convolution, kernel: np.ndarray) -> patterns.Pattern:
    sizes, dilations = transform.input_shape.spatial_shape, (1,) * transform.dimensions
    strides, padding, last = transform.strides, transform.padding, transform.channels_last
    groups = getattr(transform, "groups", 1)
    return patterns.convolution_pattern(sizes, kernel, strides, dilations, padding, last, groups)


def _sparse_pattern(built: Any, synapses: np.ndarray) -> patterns.Pattern:
    """Return the pattern of a sparse matrix, of Nengo or of SciPy."""
    there = synapses.ravel() != 0
    return patterns.pattern_at(
        parameters.sparse_places(built)[there], built.shape, synapses.ravel()[there]
    )


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


def _add(reached: Reached, edge: Edge, before: Label, pattern: patterns.Pattern) -> bool:
    """Add the synapses along an edge to those at its end; tell whether any is new."""
    obj, weighs = before
    is_own = obj is None or edge.weighs is Weighs.ALL or edge.weighs is Weighs.EACH and not weighs
    label = (edge.obj if is_own else obj), weighs or edge.weighs is not Weighs.NOTHING
    through, n_before = patterns.composed(edge.pattern, pattern), 0
    if label in reached:
        n_before = reached[label].nnz
        through = patterns.merged([through, reached[label]])
    if through.nnz > n_before:
        reached[label] = through
    return through.nnz > n_before


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
    n_before, n_kept = -1, 0
    while n_kept > n_before:  # what is reached reaches more
        for source, end, pattern in leading:
            kept[end] |= pattern[:, kept[source]].getnnz(axis=1) > 0
        n_before, n_kept = n_kept, sum(one.sum() for one in kept.values())
    return kept
