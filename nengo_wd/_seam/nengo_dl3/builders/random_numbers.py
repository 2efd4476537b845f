"""Random numbers of NengoDL 3's time loop, which are the same whether XLA compiles it or not.

XLA ignores the seeds of operations, so these draw from stateless seeds. Each depends on the seed of
the simulator, the place of the operator, the call of the graph and the time step. Calls in training
start from the optimizer's iterations, so a resumed training continues with the same numbers. Calls
outside of training are counted since the simulator was made or reset.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from typing import Any, Callable, Iterator

import numpy as np
import tensorflow as tf

from nengo_wd._seam import state
from nengo_wd._seam.nengo_dl3.values import _scope, step_of

LARGE = 10.0  # from this mean on, Poisson numbers are drawn by rejection
MOST = 100  # a Poisson number of a mean below LARGE is greater with probability 1e-60


class Drawing:
    """A mixin for builders that draw random numbers at each time step."""

    draws = True
    seed: tf.Tensor  # of the operators in this call, of shape (2,) and type int32
    steps_so_far: Callable  # returns the number of earlier time steps as a tensor


def seed_of_step(builder: Any) -> tf.Tensor:
    """Return the seed of a builder's operators at the time step that is being built."""
    return folded(builder.seed, builder.steps_so_far())


def folded(seed: Any, number: Any) -> tf.Tensor:
    """Return another seed, which depends on a seed and an integer."""
    return _integers((2,), seed, tf.int32) + tf.stack([0, tf.cast(number, tf.int32)])


# -- calls of a graph ----------------------------------------------------------------------


def follow(sim: Any) -> None:
    """Have the seeds of a simulator in training depend on its optimizer's iterations."""
    state.graph_state(sim.tensor_graph).simulator = weakref.ref(sim)
    with _scope(sim):
        _calls(sim.tensor_graph)


def begin_call(graph: Any) -> None:
    """Give each operator that draws its seed for this call of a graph, and count the call."""
    drawing = {
        place: state.built(builder)
        for place, builder in enumerate(graph.op_builder.op_builds.values())
        if state.is_drawing(builder)
    }
    seed = _seed_of_call(graph, next(iter(drawing.values())).config.training)

    def steps_so_far() -> tf.Tensor:
        return graph.signals.gather(graph.signals[graph.model.step])[0]

    for place, builder in drawing.items():
        builder.seed, builder.steps_so_far = folded(seed, place), steps_so_far


def _seed_of_call(graph: Any, training: Any) -> tf.Tensor:
    mode = tf.cast(training, tf.int64)  # which is a tensor while Keras makes the model
    counter = step_of(graph)
    iterations = mode * tf.cast(0 if counter is None else counter, tf.int64)
    replica = tf.distribute.get_replica_context()
    seed = tf.constant([np.uint32(graph.seed & 0xFFFFFFFF).astype(np.int32), 0])
    for number in (mode, iterations, _count(graph, mode, iterations)):
        seed = folded(seed, number)
    return folded(seed, 0 if replica is None else replica.replica_id_in_sync_group)


def _count(graph: Any, mode: tf.Tensor, iterations: tf.Tensor) -> tf.Tensor:
    """Return how many calls there were in this mode at these iterations, and count this one.

    So a training loop whose optimizer does not count has new numbers in each call.
    """
    calls = _calls(graph)
    rows = tf.convert_to_tensor(calls)
    last, count = tf.unstack(rows[mode])
    count = tf.where(last == iterations, count + 1, 0)
    is_mode = tf.range(2, dtype=tf.int64)[:, None] == mode
    calls.assign(tf.where(is_mode, tf.stack([iterations, count]), rows))
    return count


def _calls(graph: Any) -> tf.Variable:
    """Return the iterations of the last call, and its number, outside of and in training."""
    kept = state.graph_state(graph)
    if kept.calls is None:
        with tf.init_scope():
            kept.calls = tf.Variable(
                _no_calls(),
                trainable=False,
                # Each replica counts for itself. If replicas waited for each other during a call,
                # others would change the graph, which they share.
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
                name="calls_with_random_numbers",
            )
    return kept.calls


def _no_calls() -> np.ndarray:
    return np.full((2, 2), -1, np.int64)


def _build_post(build: Callable, graph: Any) -> None:
    """Count calls from zero in a new simulator, and after a reset."""
    build()
    _calls(graph).assign(_no_calls())


@contextlib.contextmanager
def calls_kept(graph: Any) -> Iterator[None]:
    """Put back the number of calls after the body."""
    before = _calls(graph).numpy()
    try:
        yield
    finally:
        _calls(graph).assign(before)


# -- distributions -------------------------------------------------------------------------


def _integers(shape: Any, seed: Any, dtype: Any) -> tf.Tensor:
    """Return random integers of all bits, the only numbers that XLA draws as TensorFlow does."""
    return tf.random.stateless_uniform(shape, seed, None, None, dtype, alg="philox")


def _bits(shape: Any, seed: Any, dtype: Any) -> tuple[tf.Tensor, int]:
    """Return random integers of both signs, with as many bits as ``dtype`` has, and that number."""
    kind, size, digits = (tf.int64, 64, 53) if dtype == tf.float64 else (tf.int32, 32, 24)
    return tf.bitwise.right_shift(_integers(shape, seed, kind), size - digits), digits


def uniform(shape: Any, seed: Any, dtype: Any = tf.float64) -> tf.Tensor:
    """Return random numbers from 0 to 1; 0 is possible, 1 is not."""
    bits, digits = _bits(shape, seed, dtype)
    positive = tf.bitwise.bitwise_and(bits, 2**digits - 1)
    return tf.cast(positive, dtype) * tf.constant(2.0**-digits, dtype)


def normal(shape: Any, seed: Any, dtype: Any = tf.float64) -> tf.Tensor:
    """Return random numbers of a normal distribution of variance 1: its quantiles."""
    return _quantiles(*_bits(shape, seed, dtype), dtype)


def noise(shape: Any, seed: Any, dtype: Any = tf.float64) -> tf.Tensor:
    """Return random numbers of a normal distribution from 65,536 values, in a third of the time.

    Their variance differs from 1 by 2e-5. Drawing integers takes most of the time, so two numbers
    share one integer. Each looks up its value in a table.
    """
    size = int(np.prod(shape))
    integers = _integers(((size + 1) // 2,), seed, tf.int32)
    places = tf.cast(tf.bitcast(integers, tf.uint16), tf.int32)
    numbers = tf.reshape(tf.gather(tf.constant(_table(), dtype), places), [-1])
    return tf.reshape(numbers[:size] if size % 2 else numbers, shape)


@functools.lru_cache()
def _table() -> np.ndarray:
    with tf.init_scope():
        return _quantiles(tf.range(-(2**15), 2**15), 16, tf.float64).numpy()


def _quantiles(bits: tf.Tensor, digits: int, dtype: Any) -> tf.Tensor:
    """Return the quantiles of a normal distribution in the middle between integers."""
    between = (tf.cast(bits, dtype) + 0.5) * tf.constant(2.0 ** (1 - digits), dtype)  # -1 and 1
    # only the lower tail is exact in TensorFlow, so it serves for both
    magnitudes = -tf.math.erfinv(-tf.abs(between))
    return tf.sign(between) * magnitudes * tf.constant(np.sqrt(2), dtype)


def poisson(means: tf.Tensor, seed: Any) -> tf.Tensor:
    """Return Poisson random numbers, exact up to rounding in float64, in which they are drawn.

    Means below 10 take inversion: the number of terms of the cumulative distribution that do not
    exceed a uniform number. Others take Hoermann's transformed rejection PTRS ("The transformed
    rejection method for generating Poisson random variables", Insurance: Mathematics and
    Economics 12, 1993), as in NumPy. Means that are not finite give NaN.
    """
    dtype, means = means.dtype, tf.cast(means, tf.float64)
    is_large = tf.math.is_finite(means) & (means >= LARGE)
    small = _inverted(tf.where(means < LARGE, means, 0.0), folded(seed, 0))
    counts = tf.where(is_large, _rejected(means, is_large, folded(seed, 1)), small)
    counts = tf.where(tf.math.is_finite(means), counts, np.nan)
    return tf.cast(tf.stop_gradient(counts), dtype)


def _inverted(means: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    term = tf.exp(-means)

    def next_term(k: tf.Tensor, term: tf.Tensor, rest: tf.Tensor, counts: tf.Tensor) -> tuple:
        term *= means / (k + 1)
        return k + 1, term, rest - term, counts + tf.cast(rest >= 0, tf.float64)

    _, _, _, counts = tf.while_loop(
        lambda k, term, rest, counts: tf.reduce_any(rest >= 0) & (k < MOST),
        next_term,
        (tf.zeros((), tf.float64), term, uniform(means.shape, seed) - term, tf.zeros_like(means)),
    )
    return counts


def _rejected(means: tf.Tensor, wanted: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Return numbers of large means where they are wanted."""
    means = tf.where(wanted, means, LARGE)

    def draw(trial: tf.Tensor, left: tf.Tensor, counts: tf.Tensor) -> tuple:
        numbers = uniform((2, *means.shape), folded(seed, trial))
        drawn, is_accepted = _proposed(means, numbers[0] - 0.5, numbers[1])
        return trial + 1, left & ~is_accepted, tf.where(left & is_accepted, drawn, counts)

    initial = (tf.zeros((), tf.int32), wanted, tf.zeros_like(means))
    return tf.while_loop(lambda trial, left, counts: tf.reduce_any(left), draw, initial)[2]


def _proposed(means: tf.Tensor, u: tf.Tensor, v: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return a proposal of PTRS from two uniform numbers, and whether it is accepted."""
    b = 0.931 + 2.53 * tf.sqrt(means)
    a = -0.059 + 0.02483 * b
    us = 0.5 - tf.abs(u)
    drawn = tf.floor((2 * a / us + b) * u + means + 0.43)
    at_once = (us >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))
    possible = (drawn >= 0) & ((us >= 0.013) | (v <= us))
    k = tf.maximum(drawn, 0.0)
    hat = tf.math.log(v * (1.1239 + 1.1328 / (b - 3.4)) / (a / us**2 + b))
    below = hat <= k * tf.math.log(means) - means - tf.math.lgamma(k + 1)
    return drawn, at_once | (possible & below)
