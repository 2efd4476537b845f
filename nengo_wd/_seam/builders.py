"""What NengoDL's builders add to the time loop, in either generation."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import tensorflow as tf
from nengo_dl.builder import OpBuilder


class DecayOperators(OpBuilder):
    """Builds a group of operators of decaying weights as one."""

    axis: int  # of operators, and of rows of weights; the minibatch is before all axes or after

    def combine(self, ops: Any, signals: Any, constant: Callable) -> None:
        """Put the signals and constants of the group together."""
        self.change, beside = ops[0].change, 0 if self.axis else -1  # where the minibatch is
        for name in ("weights", "scale", "delta", "remainder"):
            setattr(self, name, signals.combine([getattr(op, name) for op in ops]))
        rates = np.array([-op.rate * signals.dt_val for op in ops])
        # in float64: an error would add up over time
        self.exponents = constant(np.expand_dims(rates, beside), tf.float64)
        rows = [op.weights.shape[0] for op in ops]
        self.owners = constant(np.repeat(np.arange(len(ops)), rows))  # the operator of each row
        self.initial = None
        if ops[0].initial is not None:
            initial = np.concatenate([op.initial for op in ops])
            self.initial = constant(np.expand_dims(initial, beside), signals.dtype)

    def build_step(self, signals: Any) -> None:
        """Compute the changes of a time step."""
        scale = tf.cast(tf.nn.relu(signals.gather(self.scale)), tf.float64)
        factors = tf.cast(tf.math.expm1(self.exponents * scale), signals.dtype)
        by_row = tf.expand_dims(tf.gather(factors, self.owners, axis=self.axis), self.axis + 1)
        weights, remainder = signals.gather(self.weights), signals.gather(self.remainder)
        made, remainder = self.change(weights, by_row, self.initial, remainder)
        signals.scatter(self.delta, made)
        signals.scatter(self.remainder, remainder)

    @staticmethod
    def mergeable(x: Any, y: Any) -> bool:
        """Tell whether two operators decay towards the same kind of values."""
        return (x.initial is None) == (y.initial is None)
