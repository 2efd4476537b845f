"""One parameter of one object: which rows of which variable hold it."""

from __future__ import annotations

from typing import Any, Callable, Iterable, Iterator

import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd import _seam as seam
from nengo_wd._checks import check_called_now
from nengo_wd._parameters import initial
from nengo_wd._parameters.channels import Channels
from nengo_wd._seam.layer_penalties import variable_penalties


class Parameter:
    """One trainable parameter of one object in one simulator.

    Attributes
    ----------
    sim : nengo_dl.Simulator
        The simulator.
    obj : nengo.Connection, nengo.Ensemble, nengo.ensemble.Neurons or nengo_dl.TensorNode
        The object.
    name : str
        Label of the object and kind of the parameter, such as ``"readout.weights"``.
    variable : tf.Variable
        The variable that holds the values, with those of other objects where NengoDL
        merges them.
    rows : np.ndarray of int
        Which rows of ``variable``, along its first axis, belong to the parameter.
    shape : tuple of int
        Shape of the parameter: ``(size_out, size_in)`` for the weights of a connection,
        ``(n_neurons, dimensions)`` for encoders, ``(n_neurons,)`` for biases, that of
        the variable for a layer; ``(n_nonzero,)`` for sparse weights.
    channels : Channels
        Which output channel each of the weights belongs to.
    layer : callable or None
        The layer that made the variable: the function of the TensorNode, or a layer in it;
        None for native parameters.
    """

    def __init__(
        self,
        sim: nengo_dl.Simulator,
        obj: Any,
        name: str,
        variable: tf.Variable,
        rows: np.ndarray,
        shape: tuple[int, ...],
        channels: Channels,
        layer: Any = None,
    ) -> None:
        self.sim, self.obj, self.name = sim, obj, name
        self.variable, self.rows, self.shape = variable, rows, shape
        self.channels, self.layer = channels, layer

    def __repr__(self) -> str:
        return f"<Parameter {self.name}, shape {self.shape}>"

    @property
    def value(self) -> np.ndarray:
        """The current value, of shape ``shape``."""
        return values([self])[0]

    @property
    def initial(self) -> np.ndarray:
        """The value before training, of shape ``shape``.

        For a layer, this is the value that it has when first asked for.
        """
        return values([self], "initial_variable")[0]

    @property
    def initial_variable(self) -> tf.Variable:
        """The initial values of all that is in ``variable``."""
        return initial.of_variable(self.sim, self.obj, self.variable)

    @property
    def key(self) -> tuple[int, int]:
        """What tells the parameter from every other one in its simulator."""
        return id(self.variable), int(self.rows[0])

    @property
    def n_channels(self) -> int:
        """How many output channels the parameter has."""
        sizes = [int(self.variable.shape[axis]) for axis in self.channels.axes]
        return self.channels.n_groups * int(np.prod(sizes))

    @property
    def layer_penalty(self) -> Callable | None:
        """What computes the penalty that the layer itself has on the parameter, if any."""
        for layer in () if self.layer is None else (self.layer, *self._stand_ins()):
            found = variable_penalties(layer).get(id(self.variable))
            if found is not None:
                return found
        return None

    def _stand_ins(self) -> Iterator[Any]:
        """Yield what has the layer's place in the simulator, where a later one was made with it."""
        func = seam.parameters.function_of(self.obj)
        stand_in = seam.parameters.layer_in(self.sim, func)
        if stand_in is not func:
            yield from (stand_in, *stand_in.submodules)

    def gather(self) -> tf.Tensor:
        """Return a tensor of shape ``shape`` with the value."""
        return tf.reshape(in_rows(self.variable, self.rows), self.shape)


def is_block(rows: np.ndarray) -> bool:
    """Tell whether rows follow one another."""
    return bool(np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))))


def in_rows(values: Any, rows: np.ndarray) -> tf.Tensor:
    """Return some rows of a variable or tensor."""
    return values[rows[0] : rows[-1] + 1] if is_block(rows) else tf.gather(values, rows)


def values(parameters: Iterable[Parameter], held_in: str = "variable") -> list[np.ndarray]:
    """Return the current value of each parameter, fetching each variable once.

    With ``held_in="initial_variable"``, they are the initial values.
    """
    check_called_now()
    parameters = list(parameters)
    if not parameters:
        return []
    variables = {id(parameter.variable): parameter for parameter in parameters}
    held = [getattr(parameter, held_in) for parameter in variables.values()]
    fetched = dict(zip(variables, seam.values.fetch(parameters[0].sim, held)))
    return [np.reshape(fetched[id(p.variable)][p.rows], p.shape) for p in parameters]
