"""Values of variables and tensors of TensorFlow 2, and the variables that NengoDL 3 has."""

from __future__ import annotations

import contextlib
from functools import lru_cache, partial
from typing import Any, Callable, Sequence

import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd._checks import use_step
from nengo_wd._seam import state
from nengo_wd._seam.nengo_dl3.distributed import ReplicatedSimulator

LARGE = 2**18  # elements, about the size of a cache


def build(sim: nengo_dl.Simulator, function: Any) -> tf.Tensor:
    """Return the tensor that ``function`` makes, which has its value now."""
    with use_step(training_step(sim)):
        return function()


def fetch(sim: nengo_dl.Simulator, tensors: list[tf.Tensor]) -> list[np.ndarray]:
    """Return the current values of tensors or variables."""
    return tf.keras.backend.batch_get_value(list(tensors))


def compiled_fetch(sim: nengo_dl.Simulator, function: Callable) -> Callable[[], np.ndarray]:
    """Return a function that fetches the current value of the tensor of ``function``."""

    def at_step(step: tf.Tensor) -> tf.Tensor:
        with use_step(step):
            return function()

    of_step = tf.TensorSpec((), tf.int64)
    traced = tf.function(at_step, autograph=False).get_concrete_function(of_step)
    # the optimizer that counts the steps may be another one each time; TensorFlow 2.12 casts a
    # variable of the same type to itself
    return lambda: traced(tf.cast(tf.convert_to_tensor(training_step(sim)), tf.int64)).numpy()


def step_counter(sim: nengo_dl.Simulator) -> tf.Variable | None:
    """Return the variable that counts the batches an optimizer was trained on, if any."""
    return getattr(getattr(sim.keras_model, "optimizer", None), "iterations", None)


def step_of(graph: Any) -> tf.Variable | None:
    """Return the variable that counts the batches a graph was trained on, if that is known."""
    simulator = state.graph_state(graph).simulator
    return None if simulator is None else step_counter(simulator())


def training_step(sim: nengo_dl.Simulator) -> Any:
    """Return the training step that is next: 0 before there is an optimizer."""
    counter = step_counter(sim)
    return 0 if counter is None else counter


def state_variable(sim: nengo_dl.Simulator, values: np.ndarray) -> tf.Variable:
    """Return a variable that training does not change."""
    with _scope(sim):
        return tf.Variable(values, trainable=False)


def _scope(sim: nengo_dl.Simulator) -> Any:
    """Return the context in which variables for a simulator are made."""
    replicated = isinstance(sim, ReplicatedSimulator)
    return sim.strategy.scope() if replicated else contextlib.nullcontext()


def assign(sim: nengo_dl.Simulator, variable: tf.Variable, values: np.ndarray) -> None:
    """Give a variable new values."""
    variable.assign(values)


def norms(values: tf.Tensor, axes: Sequence[int]) -> tf.Tensor:
    """Return L2 norms over axes, with no copy of the values."""
    if state.is_compiling():  # XLA has no Euclidean norm, and fuses its parts
        return tf.sqrt(tf.reduce_sum(tf.square(values), axes))
    return tf.math.reduce_euclidean_norm(values, axes)


def multiply(variable: tf.Variable, factors: tf.Tensor) -> tf.Operation:
    """Multiply ``variable`` by ``factors``, in one pass over its memory where it is large."""
    fused = _is_fused(variable)
    return _on_each_device(_multiply_fused if fused else _multiply, variable, factors)


def multiply_if(condition: tf.Tensor, variable: tf.Variable, factors: tf.Tensor) -> tf.Operation:
    """Multiply ``variable`` by ``factors`` if a condition holds; leave its memory alone if not."""
    return tf.cond(condition, lambda: multiply(variable, factors), lambda: None)


def _multiply(variable: tf.Variable, factors: tf.Tensor) -> None:
    variable.assign(variable * factors, read_value=False)


_multiply_fused = tf.function(_multiply, jit_compile=True)


def updater(variable: tf.Variable, function: Callable) -> Callable:
    """Return a function that updates ``variable`` by ``function``, of it and other arguments.

    For a large variable and a function of single elements, it is one pass over the memory.
    """

    def update(copy: tf.Variable, *args: Any) -> None:
        copy.assign(function(tf.convert_to_tensor(copy), *args), read_value=False)

    if _is_fused(variable):
        update = tf.function(update, jit_compile=True, autograph=False)
    return partial(_on_each_device, update, variable)


def _on_each_device(function: Callable, variable: tf.Variable, *args: Any) -> None:
    """Have each device of a strategy call ``function`` with its copy of ``variable``.

    XLA takes no variables of two devices. Without a strategy, the variable has no copies.
    """
    tf.distribute.get_strategy().extended.update(variable, function, args=args, group=False)


def _is_fused(variable: tf.Variable) -> bool:
    """Tell whether changes of a variable are compiled: if it is large, and XLA is there."""
    return variable.shape.num_elements() >= LARGE and _has_xla(variable.device)


@lru_cache(maxsize=None)
def _has_xla(device: str) -> bool:
    """Tell whether TensorFlow compiles functions for a device, which some platforms can't."""
    if not tf.test.is_built_with_xla():
        return False
    try:
        with tf.init_scope(), tf.device(device):
            tf.function(lambda x: x + 1, jit_compile=True)(tf.zeros(()))
    except tf.errors.OpError:
        return False
    return True


def function_of(node: nengo_dl.TensorNode) -> Any:
    """Return the function of a TensorNode: a layer, or its stand-in."""
    return node.tensor_func


def base_rows(
    sim: nengo_dl.Simulator, signal: Any
) -> tuple[tf.Variable, np.ndarray, tuple[int, ...]]:
    """Return the variable that holds a signal, the signal's rows in it, and its shape."""
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
    """Return a layer, or its stand-in if a later simulator has its weights."""
    kept = state.graph_state(sim.tensor_graph).stand_ins
    return kept.get(id(layer), (layer, layer))[1]


def lost_layers(sim: nengo_dl.Simulator) -> list[Any]:
    """Return the layers whose weights a later simulator has taken away from ``sim``."""
    kept = vars(sim.tensor_graph).get(state.ATTRIBUTE, state.GraphState())
    return [layer for layer, made in kept.stand_ins.values() if made is layer]


def in_graph(sim: nengo_dl.Simulator, variable: tf.Variable) -> bool:
    """Tell whether ``variable`` is in the simulator's graph, not in a later one."""
    return not any(variable is later for lost in lost_layers(sim) for later in lost.weights)


def _tensor_nodes(graph: nengo_dl.tensor_graph.TensorGraph) -> list[Any]:
    """Return the operators of TensorNodes whose function is a layer."""
    operators = (op for group in graph.plan for op in group)
    return [op for op in operators if isinstance(getattr(op, "func", None), tf.keras.layers.Layer)]
