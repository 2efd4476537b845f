"""What signals of a network do while NengoDL 3 simulates it on data."""

from __future__ import annotations

import contextlib
import inspect
from typing import Any, Callable, Iterator, Mapping, Sequence

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError
from nengo_dl.config import get_setting
from nengo_dl.tensor_node import SimTensorNodeBuilder

from nengo_wd._seam import state
from nengo_wd._seam.nengo_dl3.builders import random_numbers
from nengo_wd._shown import shown_data

SET_BY_CALL = (
    "final_base_params",
    "final_internal_state",
    "node_inputs",
    "probe_arrays",
    "steps_run",
    "steps_to_run",
)


def check_any_signal() -> None:
    """Raise if only probes can be measured; in NengoDL 3 all signals can."""


def data_by_node(sim: nengo_dl.Simulator, data: Any) -> dict[nengo.Node, np.ndarray]:
    """Return the data as arrays by input Node, of shape (examples, time steps, size).

    Raise an error if they do not fit the Nodes, or are not finite real numbers.
    """
    is_known = data is None or isinstance(data, (list, tuple, dict, np.ndarray))
    if not (is_known or tf.is_tensor(data)):
        message = f"data={data!r} can't be counted on; give arrays, by Node, as for sim.predict"
        raise ValidationError(message, attr="data")
    nodes = {sim.get_name(node): node for node in sim.node_inputs}
    found = sim._standardize_data({} if data is None else data, list(nodes.values()))
    return shown_data(sim.model.toplevel, found, nodes)


def input_values(
    sim: nengo_dl.Simulator, data: Any, n_steps: int | None
) -> tuple[dict[nengo.Node, np.ndarray], set[nengo.Node], tuple[int, int]]:
    """Return the values of input Nodes as for ``sim.predict``, the Nodes in the data, and a shape.

    Arrays have the shape (examples, time steps, size); its first two numbers are returned last.
    Processes of Nodes start again. Raise an error if there are neither data nor a number of time
    steps, or if the data do not fit the Nodes.
    """
    found = data_by_node(sim, data)
    with _processes_anew(sim):
        values = sim._generate_inputs(found, n_steps=n_steps)
    shown = int(values["n_steps"][0, 0])
    sim._check_data(values, n_steps=shown)  # which may be another number than the graph has
    return (
        {node: np.asarray(values[sim.get_name(node)]) for node in sim.node_inputs},
        set(found),
        (len(values["n_steps"]), shown),
    )


def record_probes(
    sim: nengo_dl.Simulator, data: Any, probes: Sequence[nengo.Probe], training: bool = False
) -> list[np.ndarray]:
    """Return what probes record on data, of shape (examples, time steps, *size).

    The simulator does not change, as in `measure_signals`. Neurons spike, or do what they do in
    training if ``training`` is True.
    """
    values, _, shape = input_values(sim, data, None)
    measures = [(sim.model.sig[probe]["in"], tf.identity) for probe in probes]
    found = _batches(sim, values, shape, measures, tf.identity, training)
    keeps = (get_setting(sim.model, "keep_history", default=True, obj=probe) for probe in probes)
    recorded = [np.concatenate(arrays) for arrays in zip(*found)]
    return [array if keep else array[:, -1:] for array, keep in zip(recorded, keeps)]


def summed_magnitudes(
    sim: nengo_dl.Simulator,
    values: Mapping[nengo.Node, np.ndarray],
    shape: tuple[int, int],
    probes: Sequence[nengo.Probe],
    training: bool = False,
) -> list[np.ndarray]:
    """Return sums over time of the magnitudes that probes record, of shape (examples, *size)."""
    measures = [(sim.model.sig[probe]["in"], tf.abs) for probe in probes]
    found = _batches(sim, values, shape, measures, _over_time, training)
    return [np.concatenate(arrays) for arrays in zip(*found)]


def measure_signals(
    sim: nengo_dl.Simulator,
    values: Mapping[nengo.Node, np.ndarray],
    shape: tuple[int, int],
    measures: Sequence[tuple[Any, Callable]],
) -> list[np.ndarray]:
    """Return measures of signals, summed over time and averaged over the examples, in float64.

    The network is simulated in minibatches, from its present state and with its present weights.
    The simulator does not change: not its state, its learned weights, nor later random numbers.

    ``values`` and ``shape`` are those of `input_values`. A measure is a signal, and a function from
    its values to what is summed. Equal measures are compiled once.
    """
    found = _batches(sim, values, shape, measures, _over_examples, False)
    return [np.sum(sums, axis=0) / shape[0] for sums in zip(*found)]


def _over_time(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.reduce_sum(values, axis=1), tf.float64)


def _over_examples(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(_over_time(values), axis=0)


def _batches(
    sim: nengo_dl.Simulator,
    values: Mapping[nengo.Node, np.ndarray],
    shape: tuple[int, int],
    measures: Sequence[tuple[Any, Callable]],
    reduce: Callable,
    training: bool,
) -> list[list[np.ndarray]]:
    """Return measures of signals, reduced, of each minibatch."""
    graph, found = sim.tensor_graph, []
    size = graph.minibatch_size  # that of one replica, where there are several
    columns = shape[1] + 1 if state.is_compiled_whole(sim) else 1  # as `compiled.shaped_steps`
    steps = np.full((size, columns), shape[1], np.int32)
    with _as_built(sim):
        run = _compiled(sim, (tuple(measures), reduce, training))
        with _processes_anew(sim):
            for start in range(0, shape[0], size):
                batch = [values[node][start : start + size] for node in graph.invariant_inputs]
                tensors = [tf.cast(array, graph.dtype) for array in batch]
                with _weights_kept(graph):
                    reduced = run(tensors, steps)
                found.append([one.numpy() for one in reduced])
    return found


def _compiled(sim: nengo_dl.Simulator, measured: tuple[tuple, Callable, bool]) -> Any:
    """Return the function that simulates a minibatch, compiled once for equal measures."""
    graph = sim.tensor_graph
    kept, key = state.graph_state(graph).simulations, (sim.keras_model.jit_compile, measured)
    if key not in kept:
        size, inputs = graph.minibatch_size, graph.invariant_inputs
        nodes = [tf.TensorSpec((size, None, one.size_out), graph.dtype) for one in inputs]
        n_steps = tf.TensorSpec((size, None), tf.int32)
        with _builders_kept(graph), state.rates_as_they_are(graph):
            simulation = _simulation(sim, *measured)
            kept[key] = simulation.get_concrete_function(nodes, n_steps)
        graph.signals.reset()  # which hold tensors of this simulation's graph
    return kept[key]


def _simulation(
    sim: nengo_dl.Simulator,
    measures: Sequence[tuple[Any, Callable]],
    reduce: Callable,
    training: bool,
) -> Any:
    """Return a function that simulates a minibatch, and returns the measures, reduced."""
    graph = sim.tensor_graph

    def simulate(batch: list[tf.Tensor], n_steps: tf.Tensor) -> list[tf.Tensor]:
        with _recording(sim, [signal for signal, _ in measures]), _layers_predict(graph):
            call = type(graph).call  # without the losses on what the probes of the user record
            recorded = call(graph, [*batch, n_steps], training=training, stateful=False)
        return [reduce(measure(array)) for (_, measure), array in zip(measures, recorded)]

    return tf.function(simulate, autograph=False, jit_compile=sim.keras_model.jit_compile)


@contextlib.contextmanager
def _layers_predict(graph: Any) -> Iterator[None]:
    """Have layers in TensorNodes predict even if neurons train, so that dropout is no gap."""
    op_builder, build = graph.op_builder, graph.op_builder.build_pre

    def build_pre(*args: Any, **kwargs: Any) -> None:
        build(*args, **kwargs)
        for builder in op_builder.op_builds.values():
            if isinstance(builder, SimTensorNodeBuilder):
                builder.config = builder.config._replace(training=False)

    op_builder.build_pre = build_pre
    try:
        yield
    finally:
        del op_builder.build_pre


@contextlib.contextmanager
def _recording(sim: nengo_dl.Simulator, signals: Sequence[Any]) -> Iterator[None]:
    """Have a simulator's TensorGraph record signals instead of the user's probes.

    Calls set attributes that NengoDL needs for the user's probes, so they are restored. The loop is
    NengoDL's own, since no regularizer needs these signals.
    """
    model, graph, held = sim.model, sim.tensor_graph, vars(sim.tensor_graph)
    probes, stand_ins, before = model.probes, [object() for _ in signals], dict(held)
    held["_build_inner_loop"] = inspect.unwrap(type(graph)._build_inner_loop).__get__(graph)
    model.probes = stand_ins
    model.sig.update((one, {"in": signal}) for one, signal in zip(stand_ins, signals))
    try:
        yield
    finally:
        model.probes = probes
        del held["_build_inner_loop"]
        held.update((name, before[name]) for name in SET_BY_CALL)
        for one in stand_ins:
            del model.sig[one]


@contextlib.contextmanager
def _as_built(sim: nengo_dl.Simulator) -> Iterator[None]:
    """Use the dtype and the device of a simulator, as its methods do."""
    before = tf.keras.backend.floatx()
    tf.keras.backend.set_floatx(sim.tensor_graph.dtype)
    try:
        with tf.device(sim.tensor_graph.device):
            yield
    finally:
        tf.keras.backend.set_floatx(before)


@contextlib.contextmanager
def _weights_kept(graph: Any) -> Iterator[None]:
    """Restore the weights that learning rules, and layers themselves, change in the body."""
    learned = [
        graph.base_params[key]
        for kind in ("trainable", "non_trainable")
        for key, initial in graph.base_arrays_init[kind].items()
        if initial[-1]  # one value for each example, which the simulation assigns
    ]
    variables = list({id(one): one for one in [*learned, *graph.non_trainable_weights]}.values())
    before = tf.keras.backend.batch_get_value(variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, before):
            if not np.array_equal(variable.numpy(), value):
                variable.assign(value)


@contextlib.contextmanager
def _processes_anew(sim: nengo_dl.Simulator) -> Iterator[None]:
    """Restart processes and random numbers in the body, as in a new simulator; restore them."""
    graph = sim.tensor_graph
    held, input_funcs = vars(graph), graph.input_funcs
    kept = random_numbers.calls_kept(graph) if state.draws(graph) else contextlib.nullcontext()
    with kept, _builders_kept(graph) as builders:
        rng = np.random.RandomState(graph.seed)
        for builder in builders:
            if hasattr(builder, "config"):
                builder.config = builder.config._replace(rng=rng)
        graph.build_post()
        try:
            yield
        finally:
            held["input_funcs"] = input_funcs


@contextlib.contextmanager
def _builders_kept(graph: Any) -> Iterator[list[Any]]:
    """Yield the builders of a graph's operators, and restore their attributes."""
    builders = list(graph.op_builder.op_builds.values())
    names = ("built_process", "built_neurons")
    builders += [getattr(b, name) for b in builders for name in names if hasattr(b, name)]
    before = [dict(vars(builder)) for builder in builders]
    try:
        yield builders
    finally:
        for builder, attributes in zip(builders, before):
            vars(builder).clear()
            vars(builder).update(attributes)
