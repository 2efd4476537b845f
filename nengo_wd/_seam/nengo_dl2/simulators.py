"""Wrappers of methods of NengoDL 2's simulator and TensorGraph, saving, and builders."""

from __future__ import annotations

import inspect
from typing import Any, Callable, Sequence

import nengo_dl
import tensorflow as tf

from nengo_wd._seam import state
from nengo_wd._seam.builders import DecayOperators
from nengo_wd._seam.nengo_dl2.values import state_variable

AXIS = 0  # of neurons, in what is of shape (size, minibatch_size)
GATHERING = {"force_copy": True}  # options with which NengoDL gathers signals
TAKES_NEURONS = "make the simulator anew"  # for settings of neurons to count
STATES = ("refractory_data", "voltage_data")  # of NengoDL's builders of neurons


def is_compiled(sim: nengo_dl.Simulator) -> bool:
    """Return False, because each call of ``sim.train`` has its own objective."""
    return False


def optimizers_in_use(sim: nengo_dl.Simulator) -> list[Any]:
    """Return the optimizers that a simulator is trained with."""
    return list({id(optimizer): optimizer for optimizer, _ in sim.tensor_graph.optimizers}.values())


# -- wrappers, see `hooks` -----------------------------------------------------------------


def _make(init: Callable, watcher: Any, sim: Any, *args: Any, **kwargs: Any) -> None:
    init(*args, **kwargs)
    watcher.prepare(sim)


def _train(train: Callable, watcher: Any, sim: Any, *args: Any, **kwargs: Any) -> Any:
    given = inspect.signature(train).bind(*args, **kwargs).arguments
    watcher.check(sim, given.get("objective"), given["optimizer"])
    watcher.compiled(sim, given.get("objective"), given["optimizer"])
    watcher.check_shown(sim, given["data"])
    return train(*args, **kwargs)


def _loss(loss: Callable, watcher: Any, sim: Any, *args: Any, **kwargs: Any) -> Any:
    given = inspect.signature(loss).bind(*args, **kwargs).arguments
    watcher.check(sim, given.get("objective"), None)
    return loss(*args, **kwargs)


def _build_step(build: Callable, watcher: Any, graph: Any, *args: Any, **kwargs: Any) -> Any:
    watcher.expect_spikes(graph)
    recorded, side_effects = build(*args, **kwargs)
    return watcher.woken(graph, recorded), side_effects


def _build_neurons(build: Callable, builder: Any, signals: Any) -> None:
    step = _Step(build, builder, signals)
    step.how.build(step, signals.training)


class _Step:
    """A time step that NengoDL builds for both modes in the same signals, which are variables.

    So `read` has copies of their values, and operations that change them wait for it.
    """

    def __init__(self, build: Callable, builder: Any, signals: Any) -> None:
        self.build, self.signals, self.how = build, signals, state.for_spikes(builder)
        held = vars(builder.built_neurons)
        self.data = [held["output_data"], *(held[name] for name in STATES if name in held)]
        self.read: list[tf.Tensor] = []

    def predicted(self) -> list[tf.Tensor]:
        before = self._values()[1:]
        self._build(training=False)
        predicted = self._values()
        self.assign([predicted[0], *before])
        return predicted

    def trained(self) -> list[tf.Tensor]:
        self._build(training=True)
        return self._values()

    def assign(self, values: Sequence[tf.Tensor]) -> None:
        with tf.control_dependencies(self.read):
            for one, value in zip(self.data, values):
                self.signals.scatter(one, value)

    def noise(self, outputs: tf.Tensor) -> tf.Tensor:
        step, batch = tf.cast(self.signals.step, tf.int64), tf.compat.v1.train.get_global_step()
        seed = tf.compat.v1.get_default_graph().seed % 2**31 * 2**31
        seeds = tf.stack([batch * 2**16 + self.how.place, seed + step])
        return tf.random.stateless_normal(outputs.shape, seeds, dtype=outputs.dtype.base_dtype)

    def _values(self) -> list[tf.Tensor]:
        self.read = [self.signals.gather(one, **GATHERING) for one in self.data]
        return self.read

    def _build(self, training: bool) -> None:
        before, self.signals.training = self.signals.training, tf.constant(training)
        try:
            with tf.control_dependencies(self.read):
                self.build(self.signals)
        finally:
            self.signals.training = before


def writes(sim: nengo_dl.Simulator) -> bool:
    """Tell whether a simulator writes files."""
    return True


def keep_initial(
    sim: nengo_dl.Simulator, variable: tf.Variable, values: Any
) -> tuple[tf.Variable, Any]:
    """Return a variable with the initial values of another one, and these for later simulators."""
    return state_variable(sim, values), values


class DecayBuilder(DecayOperators):
    """Builds a group of operators that decay weights as one; the minibatch is the last axis."""

    axis = AXIS

    def __init__(self, ops: Any, signals: Any, config: Any) -> None:
        super().__init__(ops, signals, config)
        self.combine(ops, signals, signals.constant)
