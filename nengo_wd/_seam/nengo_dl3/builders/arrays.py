"""Signals in base arrays, read and written by slices, for what XLA compiles.

NengoDL keeps many signals in one array, and writes one of them by a scatter with an index for each
number. XLA runs a scatter number by number, and keeps the indices of each time step for the
gradients. Slices are copied as a whole.
"""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import tensorflow as tf

MOST_SLICES = 16  # XLA compiles each slice; for more, one gather or scatter takes all at once


def _gather(gather: Callable, signals: Any, source: Any, force_copy: bool = False) -> tf.Tensor:
    """Return the data of a signal by slices; NengoDL would gather each number."""
    if not 1 < len(source.slices) <= MOST_SLICES:
        return gather(source, force_copy)
    return tf.reshape(_read(signals.bases[source.key], source), source.full_shape)


def _scatter(
    scatter: Callable, signals: Any, target: Any, values: tf.Tensor, mode: str = "update"
) -> None:
    """Write the data of a signal, or add to it, by slices; NengoDL writes whole arrays itself."""
    base = signals.bases[target.key]
    shape = list(base if isinstance(base, tuple) else base.shape)
    is_whole = target.slices == ((0, shape[_axis(target)]),)
    if is_whole or values.dtype != signals.dtype:
        scatter(target, values, mode)
        return
    if len(target.slices) > MOST_SLICES or _overlap(target.slices):
        target._tf_indices_nd = tf.constant(_indices(target), tf.int32)  # no numbers of each step
        scatter(target, values, mode)
        return
    base = tf.zeros(shape, values.dtype) if isinstance(base, tuple) else base
    shape[_axis(target)] = target.shape[0]
    write = _add if mode == "inc" else _write
    signals.bases[target.key] = write(base, tf.reshape(values, shape), target)


def _overlap(slices: Any) -> bool:
    """Tell whether slices share elements, as when several rules change the same weights."""
    ordered = sorted(slices)
    return any(start < stop for (_, stop), (start, _) in zip(ordered, ordered[1:]))


def _axis(signal: Any) -> int:
    """Return the axis of the base array along which signals lie."""
    return int(signal.minibatched)


def _part(values: tf.Tensor, signal: Any, start: int, stop: int) -> tf.Tensor:
    return values[(slice(None),) * _axis(signal) + (slice(start, stop),)]


def _read(base: tf.Tensor, signal: Any) -> tf.Tensor:
    return tf.concat([_part(base, signal, *one) for one in signal.slices], _axis(signal))


def _write(base: tf.Tensor, values: tf.Tensor, signal: Any) -> tf.Tensor:
    """Return the base array, with new values of a signal."""
    if len(signal.slices) == 1:
        ends = np.array([[0, length] for length in base.shape]).T
        ends[:, _axis(signal)] = signal.slices[0]
        begin, end, strides = (tf.constant(one, tf.int32) for one in (*ends, np.ones_like(ends[0])))
        return tf.raw_ops.TensorStridedSliceUpdate(
            input=base, begin=begin, end=end, strides=strides, value=values
        )
    lengths = [stop - start for start, stop in signal.slices]
    parts = tf.split(values, lengths, _axis(signal))
    pieces, end, last = [], 0, base.shape[_axis(signal)]  # kept parts and new ones, in order
    for i in sorted(range(len(lengths)), key=signal.slices.__getitem__):
        start, stop = signal.slices[i]
        pieces += [_part(base, signal, end, start), parts[i]]
        end = stop
    pieces.append(_part(base, signal, end, last))
    return tf.concat([one for one in pieces if one.shape[_axis(signal)]], _axis(signal))


def _add(base: tf.Tensor, values: tf.Tensor, signal: Any) -> tf.Tensor:
    """Return the base array, with values added to a signal; gradients pass through unchanged."""

    @tf.custom_gradient
    def added(base: tf.Tensor, values: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        written = _write(base, _read(base, signal) + values, signal)
        return written, lambda upstream: (upstream, _read(upstream, signal))

    return added(base, values)


def _indices(signal: Any) -> np.ndarray:
    """Return the index of each number of a signal in its base array."""
    along = np.concatenate([np.arange(*one) for one in signal.slices])
    if not signal.minibatched:
        return along[:, None]
    return np.stack(np.meshgrid(np.arange(signal.minibatch_size), along, indexing="ij"), -1)
