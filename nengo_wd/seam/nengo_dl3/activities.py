"""What signals of a network do while NengoDL 3 simulates it on data."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Iterator, Mapping, Sequence

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

MADE_BY_A_CALL = (
    "final_base_params",
    "final_internal_state",
    "node_inputs",
    "probe_arrays",
    "steps_run",
    "steps_to_run",
)


def inputs(
    sim: nengo_dl.Simulator, data: Any, n_steps: int | None
) -> tuple[dict[nengo.Node, np.ndarray], set[nengo.Node], tuple[int, int]]:
    """Return the values of input Nodes, as ``sim.predict`` has them, and the Nodes in the data.

    Arrays have the shape (examples, time steps, size). How many examples and time steps there are
    comes last.

    Raises
    ------
    nengo.exceptions.ValidationError
        If there are neither data nor a number of time steps, or the data do not fit the Nodes.
    """
    nodes = list(sim.node_inputs)
    is_known = data is None or isinstance(data, (list, tuple, dict, np.ndarray))
    if not (is_known or tf.is_tensor(data)):
        raise ValidationError(
            f"data={data!r} can't be counted on; give arrays, by Node, as for sim.predict",
            attr="data",
        )
    given = sim._standardize_data({} if data is None else data, nodes)
    names = {node: sim.get_name(node) for node in nodes}
    for node, name in names.items():
        if name in given:
            _check_given(node, given[name])
    values = sim._generate_inputs(data, n_steps=n_steps)
    sim._check_data(values, n_steps=n_steps)
    return (
        {node: np.asarray(values[name]) for node, name in names.items()},
        {node for node, name in names.items() if name in given},
        (len(values["n_steps"]), int(values["n_steps"][0, 0])),
    )


def _check_given(node: nengo.Node, values: Any) -> None:
    """Raise if data does not fit a Node, or is not finite."""
    shape = np.shape(values)
    if len(shape) != 3 or shape[2] != node.size_out:
        raise ValidationError(
            f"the data for {node} has shape {shape}, but must have shape (examples, time steps, "
            f"{node.size_out})",
            attr="data",
            obj=node,
        )
    if not np.isfinite(values).all():
        raise ValidationError(
            f"the data for {node} has NaN or infinite numbers", attr="data", obj=node
        )


def means(
    sim: nengo_dl.Simulator,
    values: Mapping[nengo.Node, np.ndarray],
    shape: tuple[int, int],
    measures: Sequence[tuple[Any, Callable]],
) -> list[np.ndarray]:
    """Return what measures say of signals, summed over time and averaged over the examples.

    The network is simulated from its present state and with its present weights, in minibatches;
    neither its state nor its weights change.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator, which is open.
    values : dict of {nengo.Node: np.ndarray}
        The values of all input Nodes, of shape (examples, time steps, size).
    shape : tuple of int
        How many examples there are, and how many time steps.
    measures : list of (Signal, function)
        Each signal, and a function from its values to what is summed.

    Returns
    -------
    means : list of np.ndarray
        In float64, of the shapes of the signals.
    """
    n_examples, n_steps = shape
    size = sim.tensor_graph.minibatch_size  # that of one replica, where there are several
    run = None
    totals: list[Any] = [0.0 for _ in measures]
    for start in range(0, n_examples, size):
        batch = [values[node][start : start + size] for node in sim.tensor_graph.invariant_inputs]
        with _as_built(sim), _unchanged(sim):
            tensors = [tf.cast(array, sim.tensor_graph.dtype) for array in batch]
            arguments = tensors, tf.fill((size, 1), tf.cast(n_steps, tf.int32))
            # a graph by itself, since TensorFlow warns of functions that are made again and again
            run = run or _simulation(sim, measures).get_concrete_function(*arguments)
            sums = run(*arguments)
        totals = [total + one.numpy() for total, one in zip(totals, sums)]
    sim.tensor_graph.signals.reset()  # which hold tensors of this simulation's graph
    return [total / n_examples for total in totals]


def _simulation(sim: nengo_dl.Simulator, measures: Sequence[tuple[Any, Callable]]) -> Any:
    """Return the function that simulates a minibatch, and returns sums of the measures."""
    graph = sim.tensor_graph

    def simulate(batch: list[tf.Tensor], n_steps: tf.Tensor) -> list[tf.Tensor]:
        with _recording(sim, [signal for signal, _ in measures]):
            call = type(graph).call  # without the losses on what the probes of the user record
            recorded = call(graph, [*batch, n_steps], training=False, stateful=False)
        measured = [measure(array) for (_, measure), array in zip(measures, recorded)]
        by_example = [tf.reduce_sum(array, axis=1) for array in measured]
        return [tf.reduce_sum(tf.cast(array, tf.float64), axis=0) for array in by_example]

    return tf.function(simulate, autograph=False)


@contextlib.contextmanager
def _recording(sim: nengo_dl.Simulator, signals: Sequence[Any]) -> Iterator[None]:
    """Have a simulator's TensorGraph record signals, and not what the user's probes are on.

    Its call keeps what it makes as attributes, from which NengoDL tells the probes of a simulator.
    """
    model, held = sim.model, vars(sim.tensor_graph)
    probes, recorders, before = model.probes, [object() for _ in signals], dict(held)
    model.probes = recorders
    model.sig.update((one, {"in": signal}) for one, signal in zip(recorders, signals))
    try:
        yield
    finally:
        model.probes = probes
        held.update((name, before[name]) for name in MADE_BY_A_CALL)
        for one in recorders:
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
def _unchanged(sim: nengo_dl.Simulator) -> Iterator[None]:
    """Take back what learning rules do to weights."""
    variables = list(sim.tensor_graph.base_params.values())
    before = tf.keras.backend.batch_get_value(variables)
    yield
    for variable, value in zip(variables, before):
        if not np.array_equal(variable.numpy(), value):
            variable.assign(value)
