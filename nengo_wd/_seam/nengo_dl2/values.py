"""Values in a graph of TensorFlow 1 and its session, and the variables that NengoDL 2 has."""

from __future__ import annotations

import types
from typing import Any, Callable, Sequence

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import SimulatorClosed

from nengo_wd._checks import use_step
from nengo_wd._seam import state

TENSOR_LAYER = nengo_dl.tensor_layer.__module__


def build(sim: nengo_dl.Simulator, function: Any) -> tf.Tensor:
    """Return the tensor that ``function`` makes, once for equal functions or equal ``key``."""
    tensors, key = state.simulator_state(sim).tensors, getattr(function, "key", function)
    if key not in tensors:
        tensors[key] = _made(sim, function)
    return tensors[key]


def _made(sim: nengo_dl.Simulator, function: Callable) -> Any:
    """Return what ``function`` makes in the simulator's graph."""
    graph = sim.tensor_graph.graph
    with graph.as_default(), tf.name_scope(None), use_step(training_step(sim)):
        return function()


def fetch(sim: nengo_dl.Simulator, tensors: list[tf.Tensor]) -> list[np.ndarray]:
    """Return the current values of tensors or variables."""
    if sim.closed:
        raise SimulatorClosed(
            f"the simulator of {sim.model.toplevel} is closed, and its values are gone"
        )
    return sim.sess.run(list(tensors))


def compiled_fetch(sim: nengo_dl.Simulator, function: Callable) -> Callable[[], np.ndarray]:
    """Return a function that fetches the current value of the tensor of ``function``."""
    tensor = _made(sim, function)
    return lambda: sim.sess.run(tensor)


def step_counter(sim: nengo_dl.Simulator) -> tf.Variable | None:
    """Return the variable that counts the batches a simulator was trained on, if any."""
    return sim.tensor_graph.training_step


def step_of(graph: Any) -> tf.Variable | None:
    """Return the variable that counts the batches a graph was trained on, if any."""
    return graph.training_step


def training_step(sim: nengo_dl.Simulator) -> Any:
    """Return the next training step: 0 if nothing can be trained."""
    counter = step_counter(sim)
    return 0 if counter is None else counter


def state_variable(sim: nengo_dl.Simulator, values: np.ndarray) -> tf.Variable:
    """Return a variable in the simulator's graph that training does not change."""
    with sim.tensor_graph.graph.as_default(), tf.name_scope(None):
        variable = tf.compat.v1.Variable(values, trainable=False, collections=[])
        sim.sess.run(variable.initializer)
    return variable


def assign(sim: nengo_dl.Simulator, variable: tf.Variable, values: np.ndarray) -> None:
    """Give a variable new values."""
    initializer = variable.initializer
    sim.sess.run(initializer, {initializer.inputs[1]: values})


def norms(values: tf.Tensor, axes: Sequence[int]) -> tf.Tensor:
    """Return L2 norms over axes, with no copy of the values."""
    return tf.math.reduce_euclidean_norm(values, axes)


def multiply(variable: tf.Variable, factors: tf.Tensor) -> tf.Operation:
    """Return the operation that multiplies ``variable`` by ``factors``."""
    return tf.compat.v1.assign(variable, variable * factors).op


def multiply_if(condition: tf.Tensor, variable: tf.Variable, factors: tf.Tensor) -> tf.Operation:
    """Return the operation that multiplies ``variable`` by ``factors`` if a condition holds."""
    return tf.cond(condition, lambda: multiply(variable, factors), tf.no_op).op


def updater(variable: tf.Variable, function: Callable) -> Callable:
    """Return a function that updates ``variable`` by ``function``, of it and other arguments."""

    def update(*args: Any) -> tf.Operation:
        # the graph may have cached an earlier value
        return tf.compat.v1.assign(variable, function(variable.read_value(), *args)).op

    return update


def function_of(node: nengo_dl.TensorNode) -> Any:
    """Return the function of a TensorNode, without those that ``nengo_dl.tensor_layer`` adds."""
    function = node.tensor_func
    while isinstance(function, types.FunctionType) and function.__module__ == TENSOR_LAYER:
        contents = [cell.cell_contents for cell in function.__closure__ or ()]
        function = next(content for content in contents if callable(content))
    return function


def base_rows(
    sim: nengo_dl.Simulator, signal: Any
) -> tuple[tf.Variable, np.ndarray, tuple[int, ...]]:
    """Return the variable that contains a signal, its rows there, and its shape."""
    tensor_signal = sim.tensor_graph.signals[signal]
    variable = sim.tensor_graph.base_vars[tensor_signal.key][0]
    return variable, tensor_signal.indices, tensor_signal.shape


def built_values(sim: nengo_dl.Simulator, variable: tf.Variable) -> np.ndarray | None:
    """Return the values that Nengo's builder gave a variable; None for one of a layer."""
    of_builder = (v for base, _, v in sim.tensor_graph.base_vars.values() if base is variable)
    return next(of_builder, None)


def layer_in(sim: nengo_dl.Simulator, layer: Any) -> Any:
    """Return a layer, or its stand-in if a later simulator has its weights."""
    kept = state.graph_state(sim.tensor_graph.graph).stand_ins
    return kept.get(id(layer), (layer, layer))[1]


def lost_layers(sim: nengo_dl.Simulator) -> list[Any]:
    """Return none, because layers that were built in the simulator's graph stay there."""
    return []


def in_graph(sim: nengo_dl.Simulator, variable: tf.Variable) -> bool:
    """Tell whether ``variable`` is in the simulator's graph, and not in a later one."""
    return variable.graph is sim.tensor_graph.graph
