"""The regularization losses of a graph of TensorFlow 1."""

from __future__ import annotations

from typing import Any, Sequence

import nengo_dl
import tensorflow as tf

from nengo_wd._checks import check_penalty
from nengo_wd._seam import state
from nengo_wd._seam.layer_penalties import LayerPenalty, leave_out, take_back
from nengo_wd._seam.nengo_dl2.values import build

COLLECTION = tf.compat.v1.GraphKeys.REGULARIZATION_LOSSES


def of_layers(sim: nengo_dl.Simulator) -> list[LayerPenalty]:
    """Return every regularization loss that layers put in the graph, checked."""
    graph = sim.tensor_graph.graph
    known, held = state.of_graph(graph).penalties, state.of(sim).held
    with graph.as_default():
        losses = [loss for loss in graph.get_collection(COLLECTION) if loss not in held]
        return [known.get(loss.op.name) or _of_user(loss) for loss in losses]


def bind(sim: nengo_dl.Simulator) -> None:
    """Leave the penalties of layers as they are: a graph has the training step."""


def _of_user(loss: tf.Tensor) -> LayerPenalty:
    return LayerPenalty(loss.op.name, check_penalty(loss.op.name, loss))


def hold(sim: nengo_dl.Simulator, losses: list[Any]) -> None:
    """Make these the graph's regularization losses besides those of layers."""
    kept = state.of(sim)
    collection = sim.tensor_graph.graph.get_collection_ref(COLLECTION)
    of_layers = [loss for loss in collection if loss not in kept.held]
    kept.held = [build(sim, loss) for loss in losses]
    state.of_graph(sim.tensor_graph.graph).held.update(loss.op.name for loss in kept.held)
    collection[:] = of_layers + kept.held


def is_compiled(sim: nengo_dl.Simulator) -> bool:
    """Tell that nothing is compiled: each call of ``sim.train`` has its objective."""
    return False


def have_settings(sim: nengo_dl.Simulator) -> bool:
    """Tell that the penalties of settings count: those of the objective that was made last."""
    return True


def leave_out_parameters(sim: nengo_dl.Simulator) -> None:
    """Have no penalty on a parameter be among the losses any longer, whatever was held before."""
    kept, of_graph = state.of(sim), state.of_graph(sim.tensor_graph.graph)
    kept.proximal, kept.left_out_parameters, kept.held = True, True, []
    on_variables = {name for name, one in of_graph.penalties.items() if one.variable is not None}
    of_graph.left_out.update(of_graph.held, on_variables)
    collection = sim.tensor_graph.graph.get_collection_ref(COLLECTION)
    collection[:] = _counting(collection)


def _counting(losses: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Return those losses that are not left out now."""
    return [loss for loss in losses if loss.op.name not in state.of_graph(loss.graph).left_out]


def count_default(sim: nengo_dl.Simulator, layer: Any, variable: Any, counts: bool) -> None:
    """Have a layer's penalty on a variable be among the graph's regularization losses, or not."""
    if not (take_back if counts else leave_out)(state.of(sim).left_out, layer, variable):
        return
    graph = sim.tensor_graph.graph
    collection, known = graph.get_collection_ref(COLLECTION), state.of_graph(graph).penalties
    (name,) = (name for name, penalty in known.items() if penalty.variable is variable)
    others = [loss for loss in collection if loss.op.name != name]
    loss = graph.get_tensor_by_name(f"{name}:0")
    collection[:] = _counting([*others, loss]) if counts else others
