"""What ``sim.compile`` trains on: objectives, and the losses of a simulator's Keras model."""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from typing import Any, Iterator, Mapping, Sequence

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd._checks import use_step
from nengo_wd._seam import keras2, state
from nengo_wd._seam.keras2 import LayerPenalty
from nengo_wd._seam.nengo_dl3 import distributed
from nengo_wd._seam.nengo_dl3.activities import _as_built
from nengo_wd._seam.nengo_dl3.values import _scope, step_counter, training_step

OBJECTIVE_ARGUMENTS = "(y_true, y_pred)"

TUPLES_OF_PROBES = False


def probe_names(sim: nengo_dl.Simulator) -> dict[str, nengo.Probe]:
    """Return the names that NengoDL takes in the place of probes."""
    return {sim.get_name(probe): probe for probe in sim.model.probes}


def is_loss(loss: Any) -> bool:
    """Tell whether Keras can call ``loss`` with ``(y_true, y_pred)``."""
    if loss is None:
        return True
    try:
        inspect.signature(tf.keras.losses.get(loss)).bind("y_true", "y_pred")
    except (TypeError, ValueError):
        return False
    return not isinstance(loss, type)


def check_objective(sim: nengo_dl.Simulator, by_probe: dict, activities: Sequence[Any]) -> None:
    """Raise now, instead of while Keras trains, if an activity has no scalar penalty."""
    for activity in activities:
        outputs = sim.keras_model.outputs[sim.model.probes.index(activity.probe)]
        shape = (sim.minibatch_size, 1, *outputs.shape[2:])
        with use_step(training_step(sim)):
            activity(tf.zeros(shape, sim.tensor_graph.dtype))


def penalized_losses(
    sim: nengo_dl.Simulator, objective: Any, by_probe: dict, activities: Sequence[Any]
) -> dict:
    """Return ``objective`` by probe, because Keras adds the model's losses itself.

    It is empty if no probe has a loss. Keras would ask for targets otherwise.
    """
    if any(loss is not None for loss in by_probe.values()):
        return by_probe
    model, evaluate = sim.keras_model, sim.keras_model.evaluate

    @functools.wraps(evaluate)
    def evaluated(*args: Any, **kwargs: Any) -> Any:
        values = evaluate(*args, **kwargs)
        return values if isinstance(values, (list, dict)) else [values]

    if "evaluate" not in vars(model):  # on whose single number sim.evaluate fails
        model.evaluate = evaluated
    return {}


def count_activities(sim: nengo_dl.Simulator, activities: Mapping[str, Any]) -> None:
    """Make penalties on what probes record losses and, by their names, metrics of the model."""
    kept = state.simulator_state(sim)
    if kept.activity_losses is None:
        kept.activity_losses = _ActivityLosses(sim)
    with _scope(sim):
        kept.activity_losses.update_values(activities)


def build_again(sim: nengo_dl.Simulator) -> None:
    """Have Keras trace the functions for training and evaluation again."""
    model = sim.keras_model
    if model.train_function is not None:
        model.make_train_function(force=True)
    if model.test_function is not None:
        model.make_test_function(force=True)


def activity_penalty(sim: nengo_dl.Simulator, penalty: Any, recorded: np.ndarray) -> float:
    """Return the penalty on what a probe recorded, the mean over minibatches."""
    size = sim.minibatch_size
    batches = (recorded[start : start + size] for start in range(0, len(recorded), size))
    with use_step(training_step(sim)):
        values = [penalty(tf.convert_to_tensor(batch)).numpy() for batch in batches]
    return float(np.mean(values, dtype=np.float64))


def compiled_losses(sim: nengo_dl.Simulator) -> tuple[dict, dict]:
    """Return the losses by probe that a simulator was compiled with, and their weights."""
    loss = getattr(sim.keras_model, "loss", None) or {}
    weights = keras2.loss_weights(sim.keras_model) or {}
    named = probe_names(sim).items()
    if not isinstance(loss, dict):  # by Keras itself, for all probes
        loss = dict.fromkeys((name for name, _ in named), loss)
    losses = {probe: loss[name] for name, probe in named if loss.get(name) is not None}
    known = isinstance(weights, dict)
    return losses, {p: weights[name] for name, p in named if known and name in weights}


def as_keras_loss(loss: Any) -> Any:
    """Return a loss of a probe as one that Keras takes."""
    return loss


@contextlib.contextmanager
def judging(sim: nengo_dl.Simulator) -> Iterator[None]:
    """Return the context in which Keras models judge what a simulator's probes recorded."""
    with _as_built(sim):
        yield


def check_callbacks() -> None:
    """Raise if trainings have no callbacks; in NengoDL 3 they have."""


class _ActivityLosses:
    """Adds losses on what probes record to calls of a simulator's TensorGraph.

    Keras' model shows each of them as a metric, the mean over minibatches, as it shows its loss.
    """

    def __init__(self, sim: nengo_dl.Simulator) -> None:
        self.sim, self.tensor_graph, self.model = sim, sim.tensor_graph, sim.keras_model
        self.probes = sim.model.probes
        self.activities: Mapping[str, Any] = {}
        self.metrics: dict[str, tf.keras.metrics.Metric] = {}
        self._here = threading.local()  # a strategy traces its replicas in threads of their own
        self._call, self._compute_metrics = self.tensor_graph.call, self.model.compute_metrics
        self.tensor_graph.call, self.model.compute_metrics = self, self.compute_metrics

    def update_values(self, activities: Mapping[str, Any]) -> None:
        """Replace the penalties, which are given by name."""
        before, self.activities = self.metrics, activities
        self.metrics = {name: tf.keras.metrics.Mean(name=name) for name in activities}
        keras2.exchange_metrics(self.tensor_graph, before.values(), self.metrics.values())

    def __call__(
        self, inputs: Any, training: Any = None, progress: Any = None, stateful: bool = False
    ) -> Any:
        """Simulate, and add the losses where Keras collects those of this call."""
        outputs = self._call(inputs, training=training, progress=progress, stateful=stateful)
        values = self._here.values = {}
        for name, penalty in self.activities.items():
            recorded = outputs[self.probes.index(penalty.probe)]
            if penalty.needs_whole_minibatch:
                recorded = distributed.gather_replicas(recorded)
            # a loop of the user's own trains without a step that could be known
            with use_step(step_counter(self.sim) if training else training_step(self.sim)):
                values[name] = penalty(recorded)
            self.tensor_graph.add_loss(values[name])
        return outputs

    def compute_metrics(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Update the metrics by the losses of the last call, and return all of the model's."""
        # not kept, since they are tensors of a graph
        for name, value in vars(self._here).pop("values", {}).items():
            self.metrics[name].update_state(value)
        return self._compute_metrics(*args, **kwargs)


def penalties_of_layers(sim: nengo_dl.Simulator) -> list[LayerPenalty]:
    """Return every penalty of the layers in ``sim.keras_model``, checked."""
    settings_loss = state.simulator_state(sim).settings_loss
    with use_step(training_step(sim)):
        return [
            penalty
            for layer in keras2.flat_layers(sim.keras_model)
            for penalty in keras2.layer_penalties(layer, skip=settings_loss)
        ]


def set_losses(sim: nengo_dl.Simulator, losses: list[Any]) -> None:
    """Add the sum of these to ``sim.keras_model.losses``, unless it is there."""
    with use_step(training_step(sim)):
        for loss in losses:
            loss()  # raises now what Keras would raise later
    kept = state.simulator_state(sim)
    if losses and kept.settings_loss is None:
        kept.settings_loss = _SettingsLoss(sim, kept)
        sim.tensor_graph.add_loss(kept.settings_loss)


def leave_out_parameters(sim: nengo_dl.Simulator) -> None:
    """Remove penalties on parameters from the losses, at the next compilation if there was one."""
    kept = state.simulator_state(sim)
    kept.proximal = True
    kept.left_out_parameters = kept.left_out_parameters or not kept.compiled


def count_default(sim: nengo_dl.Simulator, layer: Any, variable: Any, counts: bool) -> None:
    """Add a layer's penalty on a variable to ``sim.keras_model.losses``, or remove it."""
    move = keras2.take_back if counts else keras2.leave_out
    move(state.simulator_state(sim).left_out, layer, variable)


class _SettingsLoss:
    """Computes the sum of the penalties of settings on parameters that count now."""

    def __init__(self, sim: nengo_dl.Simulator, kept: state.SimulatorState) -> None:
        self.sim, self.kept = sim, kept

    def __call__(self) -> tf.Tensor | None:
        """Return the sum, a scalar tensor, or None if there are no losses."""
        installed = self.kept.installed
        if installed is None or self.kept.left_out_parameters or not installed.terms.expressions:
            return None
        with use_step(step_counter(self.sim)):
            return tf.add_n([loss() for loss in installed.terms.expressions])
