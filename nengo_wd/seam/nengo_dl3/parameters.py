"""Where NengoDL 3 keeps the values of signals and of layers."""

from __future__ import annotations

from typing import Any

import nengo_dl
import numpy as np
import tensorflow as tf


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


def in_graph(sim: nengo_dl.Simulator, variable: tf.Variable) -> bool:
    """Tell that ``variable`` can be used: simulators share what is in a layer."""
    return True
