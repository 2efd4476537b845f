"""One parameter of one object: which rows of which variable hold it, and sums over rows."""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Iterable, NamedTuple

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.transforms import SparseMatrix

from nengo_wd import _seam as seam
from nengo_wd._checks import check_called_now
from nengo_wd._groups import TRANSPOSED, Sides, sides_in_layer, sides_of_native
from nengo_wd._seam import state
from nengo_wd._seam.keras2 import variable_name, variable_penalties


class Channels(NamedTuple):
    """The output channels of a parameter: the groups of its rows, times its channel axes.

    Decoders have one channel in each row. Kernels of convolutions have all channels in every row.
    """

    rows: np.ndarray  # the group of each row, along the first axis
    n_groups: int
    axes: tuple[int, ...] = ()  # the other axes along which channels lie


LEAST_NORM = 1e-12  # below it, float32 loses some of the squares


@dataclasses.dataclass(eq=False, repr=False)
class Parameter:
    """One trainable parameter of one object in one simulator."""

    sim: nengo_dl.Simulator
    obj: Any  # the Connection, Ensemble, Neurons or TensorNode
    name: str  # label of the object and kind of the parameter, such as "readout.weights"
    variable: tf.Variable  # has the values, and other objects' where NengoDL merges them
    rows: np.ndarray  # the indices of its rows in the variable, along the first axis
    # (size_out, size_in) for the weights of a connection, (n_neurons, dimensions) for encoders,
    # (n_neurons,) for biases, (n_nonzero,) for sparse weights, that of the variable for a layer
    shape: tuple[int, ...]
    signal: Any = None  # Nengo's signal; None for a layer
    layer: Any = None  # the layer or function that made the variable; None for native parameters

    def __repr__(self) -> str:
        return f"<Parameter {self.name}, shape {self.shape}>"

    @property
    def value(self) -> np.ndarray:
        """The current value, of shape ``shape``."""
        return parameter_values([self])[0]

    @property
    def initial(self) -> np.ndarray:
        """The value before training, of shape ``shape``; of a layer, the value when first read."""
        return parameter_values([self], "initial_variable")[0]

    @property
    def initial_variable(self) -> tf.Variable:
        """The initial values of everything in ``variable``, as a variable."""
        kept = state.simulator_state(self.sim).initial
        if id(self.variable) not in kept:
            kept[id(self.variable)] = _keep_initial(self.sim, self.obj, self.variable)
        return kept[id(self.variable)]

    @property
    def key(self) -> tuple[int, int]:
        """A key that identifies the parameter in its simulator."""
        return id(self.variable), int(self.rows[0])

    @property
    def channels(self) -> Channels:
        """Which output channel each of the weights belongs to: a neuron, unit or filter."""
        n_rows, last = len(self.rows), len(self.shape) - 1
        if self.signal is not None and self.signal.sparse:
            return Channels(sparse_places(self.signal.initial_value)[:, 0], self.signal.shape[0])
        if last == 0 or (self.signal is not None and last < 2):  # no kernel
            return Channels(np.arange(n_rows), n_rows)
        axes: tuple[int, ...] = (last,)
        if self.layer is not None and variable_name(self.variable) == "depthwise_kernel":
            axes = (last - 1, last)  # a filter for each input channel
        elif isinstance(self.layer, TRANSPOSED):
            axes = (last - 1,)
        return Channels(np.zeros(n_rows, int), 1, axes)

    @property
    def sides(self) -> Sides:
        """Where the inputs and outputs of the weights lie."""
        if self.layer is not None:
            return sides_in_layer(self.layer, variable_name(self.variable), self.name)
        found = sides_of_native(self.obj, len(self.shape), self.name)
        if not self.signal.sparse:
            return found
        places = sparse_places(self.signal.initial_value)
        return found._replace(places=places, size=self.signal.shape)

    @property
    def n_channels(self) -> int:
        """How many output channels the parameter has."""
        _, n_groups, axes = self.channels
        return n_groups * int(np.prod([int(self.variable.shape[axis]) for axis in axes]))

    @property
    def layer_penalty(self) -> Callable | None:
        """The function that computes the layer's own penalty on the parameter, or None."""
        if self.layer is None:
            return None
        function = seam.values.function_of(self.obj)
        stand_in = seam.values.layer_in(self.sim, function)  # if a later simulator has the layer
        inner = () if stand_in is function else (stand_in, *stand_in.submodules)
        found = [variable_penalties(one).get(id(self.variable)) for one in (self.layer, *inner)]
        return next((one for one in found if one is not None), None)

    @property
    def is_trained(self) -> bool:
        """Whether training changes the parameter; the weights of frozen layers stay."""
        if self.layer is None:
            return True
        func = seam.values.layer_in(self.sim, seam.values.function_of(self.obj))
        return any(self.variable is variable for variable in trained_variables(func))

    def gather(self) -> tf.Tensor:
        """Return a tensor of shape ``shape`` with the value."""
        return tf.reshape(in_rows(self.variable, self.rows), self.shape)


def sparse_places(weights: Any) -> np.ndarray:
    """Return row and column of each weight of a sparse matrix, in the order of the weights."""
    if isinstance(weights, SparseMatrix):
        return weights.indices
    found = weights.tocoo()
    return np.stack([found.row, found.col], axis=1)


def trained_variables(function: Any) -> list[tf.Variable]:
    """Return the variables of a TensorNode's function that are trained."""
    if isinstance(function, tf.Module):  # as every Keras layer is
        return list(function.trainable_variables)
    held = getattr(function, "__dict__", {}).values()
    return [v for v in held if isinstance(v, tf.Variable) and v.trainable]


def parameter_values(among: Iterable[Parameter], held_in: str = "variable") -> list[np.ndarray]:
    """Return each value, now or in the "initial_variable", and fetch each variable once."""
    check_called_now()
    among = list(among)
    if not among:
        return []
    variables = {id(parameter.variable): parameter for parameter in among}
    held = [getattr(parameter, held_in) for parameter in variables.values()]
    fetched = dict(zip(variables, seam.values.fetch(among[0].sim, held)))
    return [np.reshape(fetched[id(p.variable)][p.rows], p.shape) for p in among]


def _keep_initial(sim: nengo_dl.Simulator, obj: Any, variable: tf.Variable) -> tf.Variable:
    """Return a variable with initial values: of Nengo's builder, or of a layer when first asked."""
    built = seam.values.built_values(sim, variable)
    if built is not None:
        return seam.simulators.keep_initial(sim, variable, built)[0]
    function = seam.values.function_of(obj)
    among = function.variables if isinstance(function, tf.Module) else vars(function).values()
    namesakes = [v for v in among if getattr(v, "name", None) == variable.name]
    name = variable.name, next(i for i, v in enumerate(namesakes) if v is variable)
    known = state.layer_state(function).initial  # one for all simulators of the layer
    initial = known[name] if name in known else seam.values.fetch(sim, [variable])[0]
    kept, known[name] = seam.simulators.keep_initial(sim, variable, initial)
    return kept


def is_block(rows: np.ndarray) -> bool:
    """Tell whether rows follow one another."""
    return bool(np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))))


def in_rows(values: Any, rows: np.ndarray) -> tf.Tensor:
    """Return some rows of a variable or tensor."""
    return values[rows[0] : rows[-1] + 1] if is_block(rows) else tf.gather(values, rows)


def sum_rows(values: tf.Tensor, keep: tuple[int, ...] = ()) -> tf.Tensor:
    """Return the sum over all axes of ``values`` but the first and those in ``keep``."""
    axes = [axis for axis in range(1, len(values.shape)) if axis not in keep]
    return tf.reduce_sum(values, axis=axes)


def norms_of_groups(values: tf.Tensor, groups: np.ndarray, n_groups: int) -> tf.Tensor:
    """Return the L2 norm of each group of rows in float64; leave out rows of group ``n_groups``.

    This is one pass without a copy, and a second one if float32 can't represent some squares.
    """
    norms = _norms_of_groups(values, groups, n_groups)
    if values.dtype == tf.float64:
        return norms
    return tf.cond(
        tf.reduce_any(~tf.math.is_finite(norms) | (norms < LEAST_NORM)),
        lambda: _norms_of_groups(tf.cast(values, tf.float64), groups, n_groups),
        lambda: norms,
    )


def _norms_of_groups(values: tf.Tensor, groups: np.ndarray, n_groups: int) -> tf.Tensor:
    axes = list(range(1, len(values.shape)))
    by_row = seam.values.norms(values, axes) if axes else tf.abs(values)
    squares = tf.square(tf.cast(by_row, tf.float64))
    return tf.sqrt(tf.math.unsorted_segment_sum(squares, groups, n_groups + 1)[:n_groups])
