"""Objectives of ``sim.compile``, to which Keras adds the model's losses by itself."""

from __future__ import annotations

import functools
import inspect
import threading
from typing import Any, Mapping, Sequence

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd import _clock as clock
from nengo_wd._seam import state
from nengo_wd._seam.nengo_dl3 import distributed
from nengo_wd._seam.nengo_dl3.values import step_counter, training_step

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


def check_objective(
    sim: nengo_dl.Simulator, objective: Any, by_probe: dict, activities: Sequence[Any]
) -> None:
    """Raise now, and not while Keras trains, if an activity has no scalar penalty."""
    for activity in activities:
        outputs = sim.keras_model.outputs[sim.model.probes.index(activity.probe)]
        shape = (sim.minibatch_size, 1, *outputs.shape[2:])
        with clock.at(training_step(sim)):
            activity(tf.zeros(shape, sim.tensor_graph.dtype))


def penalized_losses(
    sim: nengo_dl.Simulator, objective: Any, by_probe: dict, activities: Sequence[Any]
) -> dict:
    """Return ``objective`` by probe: Keras adds the model's losses by itself.

    Where no probe has a loss, it is empty. Keras would ask for targets otherwise.
    """
    if any(loss is not None for loss in by_probe.values()):
        return by_probe
    _evaluate_to_list(sim.keras_model)
    return {}


def _evaluate_to_list(model: tf.keras.Model) -> None:
    """Have a model evaluate to a list, also of one number, which ``sim.evaluate`` fails on."""
    evaluate = model.evaluate

    @functools.wraps(evaluate)
    def evaluated(*args: Any, **kwargs: Any) -> Any:
        values = evaluate(*args, **kwargs)
        return values if isinstance(values, (list, dict)) else [values]

    if "evaluate" not in vars(model):
        model.evaluate = evaluated


def count(sim: nengo_dl.Simulator, activities: Mapping[str, Any]) -> None:
    """Have penalties on what probes record be losses and, by their names, metrics of the model."""
    kept = state.of(sim)
    if activities and kept.recorder is None:
        kept.recorder = _Recorder(sim)
    if kept.recorder is not None:
        with distributed.scope(sim):
            kept.recorder.take(activities)


def build_again(sim: nengo_dl.Simulator) -> None:
    """Have what Keras has traced of training and evaluating be traced again."""
    model = sim.keras_model
    if model.train_function is not None:
        model.make_train_function(force=True)
    if model.test_function is not None:
        model.make_test_function(force=True)


def activity(sim: nengo_dl.Simulator, penalty: Any, recorded: np.ndarray) -> float:
    """Return the penalty on what a probe recorded, the mean over minibatches."""
    size = sim.minibatch_size
    batches = (recorded[start : start + size] for start in range(0, len(recorded), size))
    with clock.at(training_step(sim)):
        values = [penalty(tf.convert_to_tensor(batch)).numpy() for batch in batches]
    return float(np.mean(values, dtype=np.float64))


class _Here(threading.local):
    """The values of the last call, as a strategy traces its replicas in threads of their own."""

    def __init__(self) -> None:
        self.values: dict[str, tf.Tensor] = {}


class _Recorder:
    """Adds losses on what probes record to calls of a simulator's TensorGraph.

    Keras' model then shows each of them as a metric, which is a mean over minibatches as its loss
    is.
    """

    def __init__(self, sim: nengo_dl.Simulator) -> None:
        self.sim, self.tensor_graph, self.model = sim, sim.tensor_graph, sim.keras_model
        self.probes = sim.model.probes
        self.activities: Mapping[str, Any] = {}
        self.metrics: dict[str, tf.keras.metrics.Metric] = {}
        self._here = _Here()
        self._call, self._compute_metrics = self.tensor_graph.call, self.model.compute_metrics
        self.tensor_graph.call, self.model.compute_metrics = self, self.compute_metrics

    def take(self, activities: Mapping[str, Any]) -> None:
        """Take on penalties by name, in the place of those before."""
        before = {id(metric) for metric in self.metrics.values()}
        held = self.tensor_graph._metrics
        held[:] = [metric for metric in held if id(metric) not in before]
        self.activities = activities
        self.metrics = {name: tf.keras.metrics.Mean(name=name) for name in activities}
        held.extend(self.metrics.values())

    def __call__(
        self, inputs: Any, training: Any = None, progress: Any = None, stateful: bool = False
    ) -> Any:
        """Simulate, and add the losses where Keras collects those of this call."""
        outputs = self._call(inputs, training=training, progress=progress, stateful=stateful)
        self._here.values = {}
        for name, penalty in self.activities.items():
            recorded = outputs[self.probes.index(penalty.probe)]
            if penalty.of_minibatch:
                recorded = distributed.over_replicas(recorded)
            # a loop of the user's own trains without a step that could be known
            with clock.at(step_counter(self.sim) if training else training_step(self.sim)):
                self._here.values[name] = penalty(recorded)
            self.tensor_graph.add_loss(self._here.values[name])
        return outputs

    def compute_metrics(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Take on the losses of the last call, and return all metrics, as Keras' model does."""
        for name, value in self._here.values.items():
            self.metrics[name].update_state(value)
        self._here.values = {}  # which are tensors of a graph
        return self._compute_metrics(*args, **kwargs)
