"""The time loop of NengoDL 3, compiled by XLA.

XLA takes gradients of a loop only if it knows the maximum number of steps, and arrays only if it
knows their sizes. The shapes of inputs tell both. Keras compiles all that it calls for a batch,
with losses, penalties and the optimizer's step.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any, Callable, Iterator

import numpy as np
import tensorflow as tf
from nengo import Connection
from nengo.exceptions import SimulationError, ValidationError
from nengo_dl.config import get_setting
from nengo_dl.neuron_builders import GenericNeuronBuilder
from nengo_dl.op_builders import SimPyFuncBuilder
from nengo_dl.process_builders import GenericProcessBuilder
from tensorflow.compiler.tf2xla.python import xla

from nengo_wd._seam import state
from nengo_wd._seam.nengo_dl3.builders import random_numbers
from nengo_wd._seam.nengo_dl3.distributed import ReplicatedSimulator
from nengo_wd._seam.nengo_dl3.values import _has_xla

# What NengoDL runs as Python functions, by the class of its builder, and what to do.
IN_PYTHON = {
    GenericNeuronBuilder: (
        "{neurons} has no TensorFlow builder; use another neuron type, or add a builder to "
        "nengo_dl.neuron_builders.SimNeuronsBuilder.TF_NEURON_IMPL"
    ),
    GenericProcessBuilder: (
        "{process} has no TensorFlow builder; use another process or distribution, or a "
        "nengo_dl.TensorNode"
    ),
    SimPyFuncBuilder: "{fn} is called at each time step; use a nengo_dl.TensorNode",
}
DIRECT = "{fn} is called at each time step; use another neuron type than nengo.Direct"


# -- simulators ----------------------------------------------------------------------------


def compile_loop(sim: Any) -> None:
    """Have XLA compile what a simulator runs from now on, or raise an error if it can't.

    Options of ``sim.compile`` have priority.
    """
    check_compilable(sim)
    state.simulator_state(sim).jit_compile = True
    sim.keras_model.jit_compile = True


def compile_options(sim: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of sim.compile, where they or the network ask for ``jit_compile``."""
    if options.get("jit_compile") is None and not options.get("run_eagerly"):
        return {**options, "jit_compile": True}
    if options.get("jit_compile"):
        check_compilable(sim)
    return options


def check_compilable(sim: Any) -> None:
    """Raise if there is no XLA, or it can't compile all of a network."""
    if isinstance(sim, ReplicatedSimulator) and sim.strategy.num_replicas_in_sync > 1:
        raise ValidationError(
            f"the {type(sim).__name__} of {sim.model.toplevel} can't be compiled, because XLA "
            "takes no variables of several devices; leave jit_compile out, or use one device",
            attr="jit_compile",
        )
    if not _has_xla(sim.tensor_graph.device or ""):
        raise ValidationError(
            f"{sim.model.toplevel} can't be compiled: this TensorFlow {tf.__version__} has no XLA "
            "for its device; leave jit_compile out",
            attr="jit_compile",
        )
    reasons = dict.fromkeys(_uncompilable(sim.tensor_graph))
    if reasons:
        raise ValidationError(
            f"{sim.model.toplevel} can't be compiled, because XLA takes no Python functions:\n  "
            + "\n  ".join(reasons)
            + "\nLeave jit_compile out, or replace these objects",
            attr="jit_compile",
        )


def _uncompilable(graph: Any) -> Iterator[str]:
    """Yield each object whose operator runs in Python, and why."""
    by_object = graph.model.sig.items()
    owners = {signal: obj for obj, signals in by_object for signal in signals.values()}
    for builder in graph.op_builder.op_builds.values():
        built = state.built(builder)
        for kind, reason in IN_PYTHON.items():
            if isinstance(built, kind) and getattr(built, "in_python", True):
                for op in built.ops:
                    owner = _owner(op, owners)
                    is_direct = isinstance(owner, Connection) and hasattr(op, "fn")
                    yield f"{owner}: {(DIRECT if is_direct else reason).format(**vars(op))}"


def _owner(op: Any, owners: dict) -> Any:
    signals = [signal.base if signal.base in owners else signal for signal in op.all_signals]
    return next((owners[one] for one in signals if one in owners), op)


def _check_data(check: Callable, sim: Any, data: Any, *args: Any, **kwargs: Any) -> None:
    """Give the number of steps a shape where no input Node has it."""
    check(data, *args, **kwargs)
    if not kwargs.get("nodes", True) or not state.lacks_inputs(sim.tensor_graph):
        return
    if not isinstance(data, dict):
        raise SimulationError(
            f"{sim.model.toplevel} has no input Nodes, and XLA compiles it for a number of steps, "
            f"which a {type(data).__name__} does not tell; give n_steps instead"
        )
    data["n_steps"] = shaped_steps(len(data["n_steps"]), data["n_steps"][0, 0])


def shaped_steps(size: int, n_steps: int) -> np.ndarray:
    """Return the input for the number of steps, with the shape that tells XLA the number."""
    return np.full((size, n_steps + 1), n_steps, np.int32)


@contextlib.contextmanager
def _compiled_call(graph: Any) -> Iterator[None]:
    """Compile the calls of a graph, and their gradients, where Keras does not call it."""
    before, call = vars(graph).get("call"), graph.call
    graph.call = functools.partial(_call_compiled, graph, call)
    try:
        yield
    finally:
        if before is None:
            del graph.call
        else:
            graph.call = before


def _call_compiled(graph: Any, call: Callable, inputs: Any, **options: Any) -> list[tf.Tensor]:
    """Call a graph in a function that XLA compiles, and compute its gradients in another one.

    The second runs the loop again: TensorFlow can't pass a loop's values between the functions.
    """
    *values, n_steps = inputs
    n_inputs, n_outputs = len(values), len(graph.model.probes)
    compiled = functools.partial(tf.function, autograph=False, jit_compile=True)

    def forth(*values: tf.Tensor) -> list[tf.Tensor]:
        shaped = shaped_steps(graph.minibatch_size, values[0].shape[1])
        return call([*values, tf.constant(shaped)], **options)[:-1]

    def back(*arguments: tf.Tensor) -> list[tf.Tensor]:
        values, changes = arguments[:n_inputs], arguments[n_inputs:]
        with tf.GradientTape() as tape:
            tape.watch(values)
            outputs = forth(*values)
        return tape.gradient(outputs, values, changes, tf.UnconnectedGradients.ZERO)

    forth_compiled, back_compiled = compiled(forth), compiled(back)

    @tf.custom_gradient
    def both(*values: tf.Tensor) -> Any:
        def gradient(*changes: tf.Tensor) -> Any:
            types = [graph.dtype] * n_inputs
            return tf.numpy_function(back_compiled, [*values, *changes], types)

        return tf.numpy_function(forth_compiled, values, [graph.dtype] * n_outputs), gradient

    return [*both(*values), n_steps[:, 0]]


def _check(check_gradients: Callable, sim: Any, *args: Any, **kwargs: Any) -> Any:
    """Check the gradients of rates, without noise or spikes on them; compiled, if the loop is."""
    graph, compiles = sim.tensor_graph, state.is_compiled_whole(sim)
    with _compiled_call(graph) if compiles else contextlib.nullcontext():
        with state.rates_as_they_are(graph):
            return check_gradients(*args, **kwargs)


# -- the loop ------------------------------------------------------------------------------


def _build_inputs(build: Callable, graph: Any) -> tuple[dict, Any]:
    """Let the input for the number of steps have one column more than there are steps.

    This tells XLA the number if no input Node does. A single column tells nothing.
    """
    inputs, _ = build()
    size = graph.minibatch_size
    return inputs, tf.keras.layers.Input((None,), size, dtype="int32", name="n_steps")


def _number_of_steps(graph: Any) -> Any:
    """Return the number of steps, which XLA must know from a shape when it compiles."""
    for values in graph.node_inputs.values():
        return values.shape[1] or tf.shape(values)[1]
    columns = graph.steps_to_run.op.inputs[0]
    if columns.shape[1] == 1:
        raise SimulationError(
            f"{graph.model.toplevel} has no input Nodes, so that no shape tells XLA the number of "
            "steps; use sim.fit, sim.evaluate, sim.predict or sim.run, or don't compile"
        )
    return (columns.shape[1] or tf.shape(columns)[1]) - 1


def _build_loop(build: Callable, graph: Any, progress: Any) -> Any:
    """Build a loop whose number of steps is known, if XLA compiles it; seed what draws in it.

    Without a loop, several steps become one as well: XLA would take minutes for them side by side.
    """
    if state.draws(graph):
        random_numbers.begin_call(graph)
    is_loop = state.is_compiling() and (graph.use_loop or graph.unroll > 1)
    return _TimeLoop(graph, progress)() if is_loop else build(progress)


class _TimeLoop:
    """A loop like NengoDL's, with a fixed number of steps and arrays of fixed sizes.

    It is never unrolled: with some ten steps side by side, XLA runs out of memory.
    """

    def __init__(self, graph: Any, progress: Any) -> None:
        self.graph, self.progress, self.model = graph, progress, graph.model
        self.n_steps, self.probes = _number_of_steps(graph), graph.model.probes
        keeps = functools.partial(get_setting, self.model, "keep_history", True)
        self.keeps = [keeps(obj=probe) for probe in self.probes]

    def __call__(self) -> tuple[tf.Tensor, dict, tuple, tuple]:
        """Return what `TensorGraph._build_loop` returns."""
        graph = self.graph
        arrays = [self._array(*probe) for probe in zip(self.probes, self.keeps)]
        saved, params = tuple(graph.saved_state.values()), tuple(graph.base_params.values())
        step, arrays, saved, params = tf.while_loop(
            cond=lambda step, *_: step < self.n_steps,
            body=self._step,
            loop_vars=(tf.constant(0), arrays, saved, params),
            parallel_iterations=1,
            maximum_iterations=self.n_steps,
        )
        steps_run = tf.fill((graph.minibatch_size,), step)
        recorded = {probe: self._stacked(probe, array) for probe, array in zip(self.probes, arrays)}
        return steps_run, recorded, saved, params

    def _step(self, step: tf.Tensor, arrays: list, saved: tuple, params: tuple) -> tuple:
        graph, bases, arrays = self.graph, self.graph.signals.bases, list(arrays)
        graph._fill_bases(dict(zip(graph.saved_state, saved)), dict(zip(graph.base_params, params)))

        def update_probes(values: list, step: tf.Tensor) -> None:
            for i, (value, keeps) in enumerate(zip(values, self.keeps)):
                arrays[i] = _written(arrays[i], value, step) if keeps else value[None]

        unroll, graph.unroll = graph.unroll, 1
        try:
            step = graph._build_inner_loop(step, update_probes, self.progress)
        finally:
            graph.unroll = unroll
        saved, params = (
            tuple(bases[key] for key in kept) for kept in (graph.saved_state, graph.base_params)
        )
        return step, arrays, saved, params

    def _array(self, probe: Any, keeps: bool) -> tf.Tensor:
        shape = self.graph.signals[self.model.sig[probe]["in"]].full_shape
        return tf.zeros((self.n_steps if keeps else 1, *shape), self.graph.dtype)

    def _stacked(self, probe: Any, array: tf.Tensor) -> tf.Tensor:
        """Return what a probe recorded, of shape (minibatch_size, n_steps, size)."""
        if not self.model.sig[probe]["in"].minibatched:
            return array[None]
        return tf.transpose(array, [1, 0, *range(2, array.shape.ndims)])


def _written(array: tf.Tensor, value: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """Return an array with a value at a place that has none yet.

    The array has the result's gradient, unchanged, because the place was empty. TensorFlow would
    put zeros there, for which XLA copies the whole array at each step.
    """
    start = tf.stack([place, *[0] * value.shape.rank])

    @tf.custom_gradient
    def write(array: tf.Tensor, value: tf.Tensor) -> Any:
        def gradient(change: tf.Tensor) -> Any:
            return change, tf.slice(change, start, (1, *value.shape))[0]

        return xla.dynamic_update_slice(array, value[None], start), gradient

    return write(array, value)
