"""Where NengoDL 2 keeps the values of signals and of layers."""

from __future__ import annotations

import types
from typing import Any

import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd._seam import state

TENSOR_LAYER = nengo_dl.tensor_layer.__module__


def function_of(node: nengo_dl.TensorNode) -> Any:
    """Return the function of a TensorNode: a layer, or what stands in for one.

    It is taken out of the functions that ``nengo_dl.tensor_layer`` puts around it.
    """
    function = node.tensor_func
    while isinstance(function, types.FunctionType) and function.__module__ == TENSOR_LAYER:
        contents = [cell.cell_contents for cell in function.__closure__ or ()]
        function = next(content for content in contents if callable(content))
    return function


def base_rows(
    sim: nengo_dl.Simulator, signal: Any
) -> tuple[tf.Variable, np.ndarray, tuple[int, ...]]:
    """Return the variable in which a signal is, its rows in there, and its shape."""
    tensor_signal = sim.tensor_graph.signals[signal]
    variable = sim.tensor_graph.base_vars[tensor_signal.key][0]
    return variable, tensor_signal.indices, tensor_signal.shape


def built_values(sim: nengo_dl.Simulator, variable: tf.Variable) -> np.ndarray | None:
    """Return the values that Nengo's builder gave a variable; None for one of a layer."""
    of_builder = (v for base, _, v in sim.tensor_graph.base_vars.values() if base is variable)
    return next(of_builder, None)


def layer_in(sim: nengo_dl.Simulator, layer: Any) -> Any:
    """Return a layer, or what has its weights in ``sim`` after a later simulator was made."""
    return state.layer_in(sim.tensor_graph.graph, layer)


def lost_layers(sim: nengo_dl.Simulator) -> list[Any]:
    """Return none: what was built in the simulator's graph stays there."""
    return []


def in_graph(sim: nengo_dl.Simulator, variable: tf.Variable) -> bool:
    """Tell whether ``variable`` is in the simulator's graph, not in a later one."""
    return variable.graph is sim.tensor_graph.graph
