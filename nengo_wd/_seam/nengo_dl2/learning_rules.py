"""Learning rules in the time loop of NengoDL 2, in which the last axis is the minibatch."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from nengo_dl.builder import OpBuilder


class DecayBuilder(OpBuilder):
    """Builds a group of operators of decaying weights as one."""

    def __init__(self, ops: Any, signals: Any, config: Any) -> None:
        super().__init__(ops, signals, config)
        self.change = ops[0].change
        self.weights = signals.combine([op.weights for op in ops])
        self.scale = signals.combine([op.scale for op in ops])
        self.delta = signals.combine([op.delta for op in ops])
        self.remainder = signals.combine([op.remainder for op in ops])
        exponents = np.array([[-op.rate * signals.dt_val] for op in ops])
        self.exponents = signals.constant(exponents, tf.float64)  # an error would add up over time
        rows = [op.weights.shape[0] for op in ops]
        self.owners = signals.constant(np.repeat(np.arange(len(rows)), rows))
        self.initial = None
        if ops[0].initial is not None:
            initial = np.concatenate([op.initial for op in ops])
            self.initial = signals.constant(initial[:, :, None], signals.dtype)

    def build_step(self, signals: Any) -> None:
        """Compute the changes of a time step."""
        scale = tf.cast(tf.nn.relu(signals.gather(self.scale)), tf.float64)
        factors = tf.cast(tf.math.expm1(self.exponents * scale), signals.dtype)
        made, remainder = self.change(
            signals.gather(self.weights),
            tf.gather(factors, self.owners)[:, None],
            self.initial,
            signals.gather(self.remainder),
        )
        signals.scatter(self.delta, made)
        signals.scatter(self.remainder, remainder)

    @staticmethod
    def mergeable(x: Any, y: Any) -> bool:
        """Tell whether two operators decay towards the same kind of values."""
        return (x.initial is None) == (y.initial is None)
