"""Objectives of ``sim.compile``, to which Keras adds the model's losses by itself."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Sequence

import nengo
import nengo_dl
import tensorflow as tf

from nengo_wd import clock
from nengo_wd.seam import state
from nengo_wd.seam.nengo_dl3 import distributed
from nengo_wd.seam.nengo_dl3.values import step_counter, training_step
from nengo_wd.seam.penalized import Penalized

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
        shape = (sim.minibatch_size, 1, activity.probe.size_in)
        with clock.at(training_step(sim)):
            activity(tf.zeros(shape, sim.tensor_graph.dtype))


def penalized_objective(
    sim: nengo_dl.Simulator, objective: Any, by_probe: dict, activities: Sequence[Any]
) -> Any:
    """Return ``objective`` by probe: Keras adds the model's losses by itself.

    Where no probe has a loss, it is empty. Keras would ask for targets otherwise.
    """
    kept = state.of(sim)
    kept.activities = list(activities)
    if activities and kept.recorder is None:
        kept.recorder = sim.tensor_graph.call = _Recorder(sim, kept)
    if any(loss is not None for loss in by_probe.values()):
        return Penalized(sim, by_probe)
    _evaluate_to_list(sim.keras_model)
    return Penalized(sim, {})


def _evaluate_to_list(model: tf.keras.Model) -> None:
    """Have a model evaluate to a list, also of one number, which ``sim.evaluate`` fails on."""
    evaluate = model.evaluate

    @functools.wraps(evaluate)
    def evaluated(*args: Any, **kwargs: Any) -> Any:
        values = evaluate(*args, **kwargs)
        return values if isinstance(values, (list, dict)) else [values]

    if "evaluate" not in vars(model):
        model.evaluate = evaluated


class _Recorder:
    """The call of a simulator's TensorGraph, which adds losses on what probes record."""

    def __init__(self, sim: nengo_dl.Simulator, kept: state.SimulatorState) -> None:
        self.sim, self.kept = sim, kept
        self.probes, self.tensor_graph = sim.model.probes, sim.tensor_graph
        self.without = sim.tensor_graph.call

    def __call__(
        self, inputs: Any, training: Any = None, progress: Any = None, stateful: bool = False
    ) -> Any:
        """Simulate, and add the losses where Keras collects those of this call."""
        outputs = self.without(inputs, training=training, progress=progress, stateful=stateful)
        for activity in self.kept.activities if self.kept.penalized is not False else ():
            recorded = outputs[self.probes.index(activity.probe)]
            if activity.of_minibatch:
                recorded = distributed.over_replicas(recorded)
            # a loop of the user's own trains without a step that could be known
            with clock.at(step_counter(self.sim) if training else training_step(self.sim)):
                self.tensor_graph.add_loss(activity(recorded))
        return outputs
