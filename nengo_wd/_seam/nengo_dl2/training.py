"""What ``sim.train`` minimizes: an objective with every penalty, in a graph of TensorFlow 1."""

from __future__ import annotations

import contextlib
import inspect
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Sequence

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd._checks import use_step
from nengo_wd._seam import keras2, state
from nengo_wd._seam.keras2 import LayerPenalty, check_penalty
from nengo_wd._seam.nengo_dl2.values import build

COLLECTION = tf.compat.v1.GraphKeys.REGULARIZATION_LOSSES
OBJECTIVE_ARGUMENTS = "(outputs, targets) or (outputs)"
TUPLES_OF_PROBES = True


def probe_names(sim: nengo_dl.Simulator) -> dict[str, nengo.Probe]:
    """Return nothing, because NengoDL 2 takes probes, not their names."""
    return {}


def is_loss(loss: Any) -> bool:
    """Tell whether ``loss`` is a Keras loss, None, or a function of one or two arguments."""
    if loss is None or isinstance(loss, (_Objective, tf.keras.losses.Loss)):
        return True
    try:
        loss = tf.keras.losses.get(loss) if isinstance(loss, str) else loss
    except ValueError:
        return False
    return callable(loss) and not isinstance(loss, type) and _arguments(loss) in (1, 2)


def _arguments(function: Callable) -> int:
    """Return the number of arguments that NengoDL will pass: those without a default."""
    parameters = inspect.signature(function).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is p.empty for p in parameters)


def check_objective(sim: nengo_dl.Simulator, by_probe: dict, activities: Sequence[Any]) -> None:
    """Raise if there is no loss to add penalties to."""
    if not by_probe and not activities:
        raise ValidationError(
            "NengoDL 2 adds penalties to the loss of a probe, and there is none; give a loss for a "
            f"probe of {sim.model.toplevel}",
            attr="objective",
        )


def penalized_losses(
    sim: nengo_dl.Simulator, objective: Any, by_probe: dict, activities: Sequence[Any]
) -> dict:
    """Return the objective in which the loss of one probe contains every penalty of the graph."""
    if objective is None:
        by_probe = {probe: nengo_dl.objectives.mse for probe in sim.model.probes}
    losses: dict[Any, Any] = {probe: _as_function(loss) for probe, loss in by_probe.items()}
    for activity in activities:
        losses[activity.probe] = _penalized(losses.get(activity.probe, _no_loss), [], activity)
    carrier, loss = next(iter(losses.items()))
    losses[carrier] = _penalized(loss, sim.tensor_graph.graph.get_collection(COLLECTION))
    return losses


def count_activities(sim: nengo_dl.Simulator, activities: Mapping[str, Any]) -> None:
    """Do nothing, because each objective has its own penalties on what probes record."""


def build_again(sim: nengo_dl.Simulator) -> None:
    """Do nothing, because NengoDL builds each objective separately."""


def activity_penalty(sim: nengo_dl.Simulator, penalty: Any, recorded: np.ndarray) -> float:
    """Return the penalty on what a probe recorded, the mean over minibatches."""
    size, values = sim.minibatch_size, []
    for start in range(0, len(recorded), size):
        batch = recorded[start : start + size]
        placeholder, tensor = build(sim, _OnBatch((*penalty.key, batch.shape), penalty, batch))
        values.append(sim.sess.run(tensor, {placeholder: batch}))
    return float(np.mean(values, dtype=np.float64))


def compiled_losses(sim: nengo_dl.Simulator) -> tuple[dict, dict]:
    """Return nothing, because each call of ``sim.train`` has its own losses."""
    return {}, {}


def as_keras_loss(loss: Any) -> Any:
    """Return a loss of a probe as one that Keras takes."""
    function = _as_function(loss)
    if _arguments(function) == 1:
        return lambda y_true, y_pred: function(y_pred)
    return lambda y_true, y_pred: function(y_pred, y_true)


@contextlib.contextmanager
def judging(sim: nengo_dl.Simulator) -> Iterator[None]:
    """Return the context in which Keras models judge what a simulator's probes recorded."""
    with tf.Graph().as_default(), tf.compat.v1.Session().as_default() as session:
        before = tf.compat.v1.keras.backend.get_session()
        tf.compat.v1.keras.backend.set_session(session)
        try:
            yield
        finally:
            tf.compat.v1.keras.backend.set_session(before)


class _OnBatch(NamedTuple):
    """Builds a placeholder for a batch, and a penalty on it; equal keys build one."""

    key: tuple
    penalty: Any
    batch: np.ndarray

    def __call__(self) -> tuple[tf.Tensor, tf.Tensor]:
        placeholder = tf.compat.v1.placeholder(self.batch.dtype, self.batch.shape)
        return placeholder, self.penalty(placeholder)


def _penalized(loss: Any, penalties: Sequence[tf.Tensor], activity: Any = None) -> Any:
    kind = _PenalizedOutput if _arguments(loss) == 1 else _PenalizedError
    return kind(loss, penalties, activity)


def _as_function(loss: Any) -> Callable:
    """Return ``loss`` without penalties, as a function that NengoDL 2 takes."""
    if isinstance(loss, (_PenalizedOutput, _PenalizedError)):
        return _as_function(loss.inner)
    if loss is None:
        return _direct_gradient
    if loss == "mse":
        return nengo_dl.objectives.mse  # as NengoDL itself reads that name
    if isinstance(loss, (str, tf.keras.losses.Loss)) or loss in vars(tf.keras.losses).values():
        return _KerasObjective(loss)
    return loss


def _direct_gradient(outputs: Any, targets: Any) -> tf.Tensor:
    """Return zero, with ``targets`` as the gradient of ``outputs``, as NengoDL does for None."""
    pairs = zip(tf.nest.flatten(outputs), tf.nest.flatten(targets))
    total = tf.add_n([tf.reduce_sum(output * target) for output, target in pairs])
    return total - tf.stop_gradient(total)


_direct_gradient.__name__ = "direct_gradient"  # scopes can't start with an underscore


def _no_loss(outputs: Any) -> tf.Tensor:
    """Return zero, for a probe that has only penalties."""
    return tf.zeros((), tf.nest.flatten(outputs)[0].dtype)


class _Objective:
    """An objective around another; equal ones keep an optimizer's state.

    NengoDL keeps the state with the objective, which each call of ``sim.train`` builds anew.
    """

    __name__ = "penalized"  # a scope in the graph

    def __init__(self, inner: Any, penalties: Any = (), activity: Any = None) -> None:
        self.inner, self._penalties, self.activity = inner, penalties, activity

    @property
    def penalties(self) -> tuple[tf.Tensor, ...]:
        """The penalties that are added, without those that became steps of an optimizer."""
        return tuple(_counting(self._penalties))

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, _Objective) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple:
        return type(self), self.inner, self.penalties, self.activity

    def _total(self, loss: Any, outputs: Any) -> tf.Tensor:
        """Return the sum of ``loss``, as `sim.train` sums it, and of every penalty."""
        loss = tf.add_n([tf.reduce_sum(part) for part in tf.nest.flatten(loss)])
        penalties = list(self.penalties)
        if self.activity is not None:
            with use_step(tf.compat.v1.train.get_global_step()):
                penalties.append(self.activity(outputs))
        return tf.add_n([loss, *(tf.cast(penalty, loss.dtype) for penalty in penalties)])


class _KerasObjective(_Objective):
    """A Keras loss in NengoDL 2's order of arguments, averaged over all remaining axes."""

    def __call__(self, outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.keras.losses.get(self.inner)(targets, outputs))


class _PenalizedOutput(_Objective):
    """A loss of one argument plus penalties."""

    def __call__(self, outputs: Any) -> tf.Tensor:
        return self._total(self.inner(outputs), outputs)


class _PenalizedError(_Objective):
    """A loss of two arguments plus penalties."""

    def __call__(self, outputs: Any, targets: Any) -> tf.Tensor:
        return self._total(self.inner(outputs, targets), outputs)


def penalties_of_layers(sim: nengo_dl.Simulator) -> list[LayerPenalty]:
    """Return every regularization loss in the graph that layers or users added, checked."""
    graph = sim.tensor_graph.graph
    known, held = state.graph_state(graph).penalties, state.simulator_state(sim).settings_losses
    losses = [loss for loss in graph.get_collection(COLLECTION) if loss not in held]
    named = [(loss.op.name, loss) for loss in losses]
    with graph.as_default():
        return [known.get(n) or LayerPenalty(n, check_penalty(n, loss)) for n, loss in named]


def set_losses(sim: nengo_dl.Simulator, losses: list[Any]) -> None:
    """Replace the regularization losses of the graph, except those of layers."""
    kept, graph = state.simulator_state(sim), sim.tensor_graph.graph
    collection, of_graph = graph.get_collection_ref(COLLECTION), state.graph_state(graph)
    of_layers = [loss for loss in collection if loss not in kept.settings_losses]
    kept.settings_losses = [build(sim, loss) for loss in losses]
    of_graph.settings_loss_names.update(loss.op.name for loss in kept.settings_losses)
    collection[:] = of_layers + kept.settings_losses


def leave_out_parameters(sim: nengo_dl.Simulator) -> None:
    """Remove penalties on parameters from the losses, even in objectives that exist."""
    kept, of_graph = state.simulator_state(sim), state.graph_state(sim.tensor_graph.graph)
    kept.proximal, kept.left_out_parameters, kept.settings_losses = True, True, []
    on_variables = {name for name, one in of_graph.penalties.items() if one.variable is not None}
    of_graph.left_out.update(of_graph.settings_loss_names, on_variables)
    collection = sim.tensor_graph.graph.get_collection_ref(COLLECTION)
    collection[:] = _counting(collection)


def _counting(losses: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Return the losses that are not left out now."""
    return [loss for loss in losses if loss.op.name not in state.graph_state(loss.graph).left_out]


def count_default(sim: nengo_dl.Simulator, layer: Any, variable: Any, counts: bool) -> None:
    """Add a layer's penalty on a variable to the graph's regularization losses, or remove it."""
    move = keras2.take_back if counts else keras2.leave_out
    if not move(state.simulator_state(sim).left_out, layer, variable):
        return
    graph = sim.tensor_graph.graph
    collection, known = graph.get_collection_ref(COLLECTION), state.graph_state(graph).penalties
    (name,) = (name for name, penalty in known.items() if penalty.variable is variable)
    others = [loss for loss in collection if loss.op.name != name]
    loss = graph.get_tensor_by_name(f"{name}:0")
    collection[:] = _counting([*others, loss]) if counts else others
