"""What signals of a network do: NengoDL 2 makes its graph once, and shows signals with probes."""

from __future__ import annotations

import contextlib
import types
from typing import Any, Iterator, Mapping, Sequence

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd._seam import state
from nengo_wd._shown import shown_data


def data_by_node(sim: nengo_dl.Simulator, data: Any) -> dict[nengo.Node, np.ndarray]:
    """Return data as arrays by input Node, of shape (examples, time steps, size); or raise."""
    nodes = {node: node for node in sim.tensor_graph.invariant_inputs}
    found = shown_data(sim.model.toplevel, data, nodes)
    sim._check_data(found)
    return found


def input_values(
    sim: nengo_dl.Simulator, data: Any, n_steps: int | None
) -> tuple[dict[nengo.Node, np.ndarray], set[nengo.Node], tuple[int, int]]:
    """Return data as arrays, their Nodes, and the numbers of examples and time steps."""
    found = data_by_node(sim, data)
    n_examples, n_shown = next(iter(found.values())).shape[:2]
    n_examples -= n_examples % sim.minibatch_size  # NengoDL leaves the rest out, and warns
    return found, set(found), (n_examples, n_shown)


def record_probes(
    sim: nengo_dl.Simulator, data: Any, probes: Sequence[nengo.Probe], training: bool = False
) -> list[np.ndarray]:
    """Return what probes record on data, of shape (examples, time steps, *size).

    The simulator does not change. Neurons spike, or output what they do in ``training``.
    """
    shown, outputs = data_by_node(sim, data), dict.fromkeys(probes)
    with _processes_anew(sim), _weights_kept(sim):
        found = sim.run_batch(shown, outputs, combine=np.concatenate, training=training)
    return [found[probe] for probe in probes]


def summed_magnitudes(
    sim: nengo_dl.Simulator,
    values: Mapping[nengo.Node, np.ndarray],
    shape: tuple[int, int],
    probes: Sequence[nengo.Probe],
    training: bool = False,
) -> list[np.ndarray]:
    """Return sums over time of the magnitudes that probes record, of shape (examples, *size)."""
    found = record_probes(sim, values, probes, training)
    return [np.abs(one).sum(axis=1, dtype=np.float64) for one in found]


@contextlib.contextmanager
def _weights_kept(sim: nengo_dl.Simulator) -> Iterator[None]:
    """Restore the variables that NengoDL resets for a run."""
    reset = set(sim.tensor_graph.global_init_op.control_inputs)
    with sim.tensor_graph.graph.as_default():
        variables = [v for v in tf.compat.v1.global_variables() if v.initializer in reset]
    before = sim.sess.run(variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, before):
            variable.load(value, sim.sess)


@contextlib.contextmanager
def _processes_anew(sim: nengo_dl.Simulator) -> Iterator[None]:
    """Restart processes in the body, as in a new simulator; then restore the old ones."""
    graph = sim.tensor_graph
    op_builder, input_funcs = graph.op_builder, graph.input_funcs
    parts = ((ops, state.built(builder)) for ops, builder in op_builder.op_builds.items())
    builders: dict[Any, Any] = {ops: b for ops, b in parts if hasattr(b, "step_fs")}
    before = [(b, b.step_fs, b.step_states) for b in builders.values()]

    def post_build(sess: Any, rng: Any) -> None:
        for ops in op_builder.plan:
            if ops in builders:  # with a separate list, which is filled in place
                builders[ops].step_fs = [list(row) for row in builders[ops].step_fs]
                builders[ops].build_post(ops, graph.signals, sess, rng)

    graph.op_builder = types.SimpleNamespace(post_build=post_build)  # layers stay as they are
    try:
        graph.build_post(sim.sess, np.random.RandomState(sim.seed))
        yield
    finally:
        graph.op_builder, graph.input_funcs = op_builder, input_funcs
        for builder, step_fs, step_states in before:
            builder.step_fs, builder.step_states = step_fs, step_states
