"""Operators that XLA or NengoDL 3 lack: products with sparse matrices, and Nengo's RLS."""

from __future__ import annotations

from typing import Any, Callable

import tensorflow as tf
from nengo_dl.builder import OpBuilder

# Dense matrices are quicker from this share of elements on, and are made up to this size. Measured
# on two cores, with minibatches of 16, for a time step in training: 300 by 300 elements take 97 us
# dense and 77 us sparse at 2 %, and 89 and 149 us at 5 %; 1,000 by 1,000 take 1.1 and 0.9 ms at
# 1 %, and 1.2 and 4.7 ms at 3 %.
DENSE_FROM, DENSE_UP_TO = 0.02, 2**24


def _build_sparse(build: Callable, builder: Any, signals: Any) -> None:
    """Multiply by a dense matrix, or by segment sums."""
    shape = sum(op.A.shape[0] for op in builder.ops), sum(op.A.shape[1] for op in builder.ops)
    entries, size = tf.get_static_value(builder.sparse_indices), shape[0] * shape[1]
    is_dense = size <= DENSE_UP_TO and len(entries) >= DENSE_FROM * size
    weights, inputs = signals.gather(builder.A_data), signals.gather(builder.X_data)
    product = (_dense if is_dense else _by_segments)(entries, shape, weights, inputs)
    signals.scatter(builder.Y_data, product, mode=builder.mode)


def _dense(entries: Any, shape: tuple[int, int], weights: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    return tf.matmul(x, tf.scatter_nd(entries, weights, shape), transpose_b=True)


def _by_segments(
    entries: Any, shape: tuple[int, int], weights: tf.Tensor, x: tf.Tensor
) -> tf.Tensor:
    rows, columns = entries.T
    products = tf.gather(tf.transpose(x), columns) * weights[:, None]
    return tf.transpose(tf.math.unsorted_segment_sum(products, rows, shape[0]))


class RLSBuilder(OpBuilder):
    """Builds a `nengo.RLS` operator, which NengoDL lacks."""

    def build_pre(self, signals: Any, config: Any) -> None:
        """Take the signals."""
        super().build_pre(signals, config)
        (op,) = self.ops
        names = ("pre_filtered", "error", "delta", "inv_gamma")
        self.data = {name: signals[getattr(op, name)] for name in names}

    def build_step(self, signals: Any) -> None:
        """Step the inverse of the activities' correlations, and compute the change of weights."""
        names = ("pre_filtered", "error", "inv_gamma")
        rates, error, inverse = (signals.gather(self.data[name]) for name in names)
        gain = tf.linalg.matvec(inverse, rates)
        scaled = gain / (1 + tf.reduce_sum(rates * gain, axis=-1, keepdims=True))
        signals.scatter(self.data["inv_gamma"], inverse - gain[:, :, None] * scaled[:, None])
        signals.scatter(self.data["delta"], -error[:, :, None] * scaled[:, None])
