"""Synapses and noise that NengoDL 3 runs in Python, in TensorFlow.

Processes with an input are linear filters. They run in TensorFlow whether XLA compiles them or not,
so that they have gradients. Processes without one are functions of time or random numbers, and run
in TensorFlow where XLA compiles them. Otherwise they stay with NengoDL, and so do their random
numbers.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

import numpy as np
import tensorflow as tf
from nengo.processes import FilteredNoise, Piecewise, PresentInput, WhiteNoise, WhiteSignal
from nengo.synapses import LinearFilter, Lowpass, Triangle
from nengo_dl.builder import OpBuilder
from nengo_dl.process_builders import GenericProcessBuilder

from nengo_wd._seam.nengo_dl3.builders import random_numbers
from nengo_wd._seam.nengo_dl3.builders.distributions import SAMPLERS
from nengo_wd._seam.state import is_compiling


def _init(init: Callable, builder: Any, ops: Any) -> None:
    """Choose what builds a group of operators of processes."""
    init(ops)
    if all(_is_filter(op.process) for op in ops):
        if not _are_right_in_nengo_dl(ops):
            builder.built_process = FilterBuilder(ops)
    elif all(_is_source(op.process) for op in ops):
        builder.built_process = SourceBuilder(ops)


def _is_filter(process: Any) -> bool:
    return type(process).make_step in FILTERS


def _are_right_in_nengo_dl(ops: Any) -> bool:
    """Tell whether NengoDL runs a group of filters correctly in TensorFlow.

    It takes each low-pass for one that holds its input. Steps of other filters must have one class.
    If that is of first order, the output must be an update.
    """
    if type(ops[0].process) is Lowpass:
        return all(op.process.analog and op.process.method == "zoh" for op in ops)
    if any(isinstance(op.process, Triangle) for op in ops):
        return False
    kinds = {type(_step_of(op.process, op.output.shape, op.process.default_dt)) for op in ops}
    is_first_order = any(issubclass(kind, LinearFilter.OneX) for kind in kinds)
    is_update = all(op.mode == "update" for op in ops)
    return len(kinds) == 1 and (is_update or not is_first_order)


def _is_source(process: Any) -> bool:
    make_source = SOURCES.get(type(process).make_step)
    values = process.data.values() if isinstance(process, Piecewise) else ()
    if make_source is None or any(callable(value) for value in values):
        return False
    if isinstance(process, FilteredNoise) and not _is_filter(process.synapse):
        return False
    return not hasattr(process, "dist") or type(process.dist) in SAMPLERS


class _States:
    """The states of a group of operators. Each operator has its own rows."""

    def __init__(self, ops: Any, signals: Any) -> None:
        self.names = list(ops[0].state)
        self.data = [signals.combine([op.state[name] for op in ops]) for name in self.names]
        self.sizes = [[op.state[name].shape[0] for op in ops] for name in self.names]

    def gather(self, signals: Any) -> list[dict[str, tf.Tensor]]:
        """Return the states of each operator, whose first axis is the minibatch."""
        parts = [
            tf.split(signals.gather(data), sizes, axis=1)
            for data, sizes in zip(self.data, self.sizes)
        ]
        return [dict(zip(self.names, of_op)) for of_op in zip(*parts)]

    def scatter(self, signals: Any, states: list[dict[str, tf.Tensor]]) -> None:
        """Give each operator its next states."""
        for name, data in zip(self.names, self.data):
            signals.scatter(data, tf.concat([one[name] for one in states], axis=1))


# -- filters -------------------------------------------------------------------------------


def _step_of(synapse: Any, shape: tuple[int, ...], dt: float) -> Any:
    return synapse.make_step(shape, shape, dt, None, synapse.make_state(shape, shape, dt))


def _linear(synapse: LinearFilter, shape: tuple[int, ...], dt: float, dtype: Any) -> Callable:
    """Return a time step of a linear filter, as Nengo discretizes it."""
    step = _step_of(synapse, shape, dt)
    if isinstance(step, LinearFilter.NoX):
        return lambda states, signal: (tf.cast(step.d, dtype) * signal, states)
    n, is_general = len(step.A), isinstance(step, LinearFilter.General)
    state_matrix, input_matrix, output_matrix, passthrough = (
        tf.constant(np.reshape(matrix, size), dtype)
        for matrix, size in ((step.A, (n, n)), (step.B, (n, 1)), (step.C, (1, n)), (step.D, ()))
    )

    def filtered(states: dict, signal: tf.Tensor) -> tuple[tf.Tensor, dict]:
        flat = tf.reshape(signal, (signal.shape[0], 1, -1))
        before = tf.reshape(states["X"], (flat.shape[0], n, flat.shape[2]))
        after = tf.matmul(state_matrix, before) + input_matrix * flat
        output = tf.matmul(output_matrix, before if is_general else after) + passthrough * flat
        return tf.reshape(output, signal.shape), {"X": tf.reshape(after, states["X"].shape)}

    return filtered


def _triangle(synapse: Triangle, shape: tuple[int, ...], dt: float, dtype: Any) -> Callable:
    """Return a time step of a triangular filter: a weighted sum over the last inputs.

    Nengo adds a difference to its last output at each step, whose errors of rounding stay. States
    are as Nengo has them, with the last input in the last row.
    """
    n_taps, _, slope = synapse._get_coefficients(dt)
    weights = np.arange(1, n_taps + 1).reshape((-1, *[1] * len(shape)))

    def filtered(states: dict, signal: tf.Tensor) -> tuple[tf.Tensor, dict]:
        last = tf.concat([states["X"][:, 1:], tf.cast(slope, dtype) * signal[:, None]], axis=1)
        output = tf.reduce_sum(tf.constant(weights, dtype) * last, axis=1)
        return output, {"X": last, "Y": output, "Xi": tf.fill(states["Xi"].shape, last_row)}

    last_row = tf.constant(n_taps - 1, dtype)
    return filtered


FILTERS = {LinearFilter.make_step: _linear, Triangle.make_step: _triangle}


def _filter(synapse: Any, shape: tuple[int, ...], dt: float, dtype: Any) -> Callable:
    return FILTERS[type(synapse).make_step](synapse, shape, dt, dtype)


class FilterBuilder(OpBuilder):
    """Builds a group of linear filters of any kinds."""

    def build_pre(self, signals: Any, config: Any) -> None:
        """Put together the signals of the group."""
        super().build_pre(signals, config)
        self.input = signals.combine([op.input for op in self.ops])
        self.output = signals.combine([op.output for op in self.ops])
        self.states = _States(self.ops, signals)
        self.filters = [
            _filter(op.process, op.output.shape, signals.dt_val, signals.dtype) for op in self.ops
        ]

    def build_step(self, signals: Any) -> None:
        """Filter the inputs of a time step."""
        sizes = [op.input.shape[0] for op in self.ops]
        inputs = tf.split(signals.gather(self.input), sizes, axis=1)
        states = self.states.gather(signals)
        stepped = [step(*args) for step, *args in zip(self.filters, states, inputs)]
        outputs, states = map(list, zip(*stepped))
        mode = "inc" if self.ops[0].mode == "inc" else "update"
        signals.scatter(self.output, tf.concat(outputs, axis=1), mode=mode)
        self.states.scatter(signals, states)


# -- sources -------------------------------------------------------------------------------


class Moment(NamedTuple):
    """A time step of a group of sources: its number, its seed, and the signals."""

    number: tf.Tensor
    seed: tf.Tensor
    signals: Any


def _white(op: Any, place: int, dt: float, dtype: Any, steps: list) -> Callable:
    """Return a function that draws white noise.

    If its process has a seed, the noise depends only on this seed and the time step, and is the
    same for all examples, as in NengoDL.
    """
    process, n = op.process, op.output.shape[0]
    scale = 1 / np.sqrt(dt) if process.scale else 1.0

    def draw(moment: Moment, states: dict) -> tuple[tf.Tensor, dict]:
        batch, seed = moment.signals.minibatch_size, random_numbers.folded(moment.seed, place)
        if process.seed is not None:
            batch, seed = 1, random_numbers.folded([process.seed & 0x7FFFFFFF, 0], moment.number)
        drawn = SAMPLERS[type(process.dist)](process.dist, (batch, n), seed, dtype) * scale
        return tf.broadcast_to(drawn, (moment.signals.minibatch_size, n)), states

    return draw


def _filtered_noise(op: Any, place: int, dt: float, dtype: Any, steps: list) -> Callable:
    draw = _white(op, place, dt, dtype, steps)
    step = _filter(op.process.synapse, op.output.shape, dt, dtype)
    return lambda moment, states: step(states, draw(moment, states)[0])


def _looked_up(rows: np.ndarray, row: Callable, dtype: Any) -> Callable:
    """Return a function that takes from a table, of shape (minibatch_size or 1, rows, size)."""
    with tf.init_scope():  # as an input of what XLA compiles, and not a constant in its code
        table = tf.constant(rows, dtype)

    def look_up(moment: Moment, states: dict) -> tuple[tf.Tensor, dict]:
        found = tf.gather(table, row(moment.number), axis=1)
        return tf.broadcast_to(found, (moment.signals.minibatch_size, found.shape[1])), states

    return look_up


def _white_signal(op: Any, place: int, dt: float, dtype: Any, steps: list) -> Callable:
    """Look up the signal that NengoDL has drawn for each example."""
    length = 2 * int(np.ceil(op.process.period / dt / 2.0))
    distinct = steps if op.process.seed is None else steps[:1]
    rows = np.array([[step(i * dt) for i in range(length)] for step in distinct])
    return _looked_up(rows, lambda number: number % length, dtype)


def _present_input(op: Any, place: int, dt: float, dtype: Any, steps: list) -> Callable:
    rows = op.process.inputs.reshape((1, len(op.process.inputs), -1))
    duration = float(op.process.presentation_time)

    def row(number: tf.Tensor) -> tf.Tensor:
        times = tf.cast(number, tf.float64) * dt  # as Nengo computes them
        return tf.cast((times - dt) / duration + 1e-7, tf.int32) % rows.shape[1]

    return _looked_up(rows, row, dtype)


def _piecewise(op: Any, place: int, dt: float, dtype: Any, steps: list) -> Callable:
    """Look up values between times. Interpolated ones have a row for each time step."""
    times, values = (np.array(one) for one in zip(*sorted(op.process.data.items())))
    if op.process.interpolation == "zero":
        rows = np.concatenate([np.zeros_like(values[:1], float), values])

        def row(number: tf.Tensor) -> tf.Tensor:
            time = tf.cast(number, tf.float64) * dt + 0.5 * dt
            return tf.reduce_sum(tf.cast(tf.constant(times, tf.float64) < time, tf.int32))

        return _looked_up(rows[None], row, dtype)
    # after the last time, it is as in the last row
    last = max(int(np.ceil(times[-1] / dt)), 0) + 1
    rows = np.array([steps[0](i * dt) for i in range(last + 1)])
    return _looked_up(rows[None], lambda number: tf.minimum(number, last), dtype)


# What makes a time step of a source, by Nengo's method for it. Subclasses may have another one.
SOURCES: dict[Callable, Callable] = {
    WhiteNoise.make_step: _white,
    FilteredNoise.make_step: _filtered_noise,
    WhiteSignal.make_step: _white_signal,
    PresentInput.make_step: _present_input,
    Piecewise.make_step: _piecewise,
}


class SourceBuilder(random_numbers.Drawing, GenericProcessBuilder):
    """Builds a group of processes without inputs, in TensorFlow where XLA compiles it."""

    in_python = False

    def build_pre(self, signals: Any, config: Any) -> None:
        """Put together the signals of the group, and make the sources if they are compiled."""
        super().build_pre(signals, config)
        if is_compiling():
            self.states = _States(self.ops, signals)
            self.sources = [
                SOURCES[type(op.process).make_step](op, i, signals.dt_val, signals.dtype, steps)
                for i, (op, steps) in enumerate(zip(self.ops, self.step_fs))
            ]

    def build_step(self, signals: Any) -> None:
        """Compute the outputs of a time step."""
        if not is_compiling():
            super().build_step(signals)
            return
        moment = Moment(self.steps_so_far(), random_numbers.seed_of_step(self), signals)
        states = self.states.gather(signals) or [{}] * len(self.ops)
        stepped = [source(moment, one) for source, one in zip(self.sources, states)]
        outputs, states = map(list, zip(*stepped))
        signals.scatter(self.output_data, tf.concat(outputs, axis=1), mode=self.mode)
        self.states.scatter(signals, states)
