"""Where NengoDL 3 keeps the values of signals and of layers."""

from __future__ import annotations

from typing import Any

import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd._seam import state


def function_of(node: nengo_dl.TensorNode) -> Any:
    """Return the function of a TensorNode: a layer, or what stands in for one."""
    return node.tensor_func


def base_rows(
    sim: nengo_dl.Simulator, signal: Any
) -> tuple[tf.Variable, np.ndarray, tuple[int, ...]]:
    """Return the variable in which a signal is, its rows in there, and its shape."""
    tensor_signal = sim.tensor_graph.signals[signal]
    variable = sim.tensor_graph.base_params[tensor_signal.key]
    rows = np.concatenate([np.arange(start, stop) for start, stop in tensor_signal.slices])
    return variable, rows, tensor_signal.shape


def built_values(sim: nengo_dl.Simulator, variable: tf.Variable) -> np.ndarray | None:
    """Return the values that Nengo's builder gave a variable; None for one of a layer."""
    graph = sim.tensor_graph
    for key, base in graph.base_params.items():
        if base is variable:
            return np.asarray(graph.initial_values[key](base.shape, dtype=base.dtype))
    return None


def layer_in(sim: nengo_dl.Simulator, layer: Any) -> Any:
    """Return a layer, or what has its weights in ``sim`` after a later simulator was made."""
    return state.layer_in(sim.tensor_graph, layer)


def lost_layers(sim: nengo_dl.Simulator) -> list[Any]:
    """Return the layers whose weights a later simulator has taken away from ``sim``."""
    return vars(sim.tensor_graph).get(state.ATTRIBUTE, state.GraphState()).lost


def in_graph(sim: nengo_dl.Simulator, variable: tf.Variable) -> bool:
    """Tell whether ``variable`` is in the simulator's graph, not in a later one."""
    return not any(variable is later for lost in lost_layers(sim) for later in lost.weights)
